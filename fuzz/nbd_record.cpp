// SPDX-License-Identifier: LGPL-2.1-or-later
// Records what a server says to the fuzzer's session, as an input of nbd_fuzz.
//
// usage: nbd_record SOCKET PLAN OUTPUT: a Unix socket, the plan in hexadecimal, a file
#include <sys/socket.h>
#include <sys/time.h>
#include <sys/un.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>
#include <string>

#include "nbd_session.h"

namespace {

using namespace wnbd::nbd;

int connect_to(const std::string& path) {
    const int server = ::socket(AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un address{};
    address.sun_family = AF_UNIX;
    if (path.size() >= sizeof address.sun_path) return -1;
    path.copy(address.sun_path, path.size());
    // A server that says nothing more has said all.
    const timeval patience{2, 0};
    ::setsockopt(server, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    const auto* const generic = reinterpret_cast<const sockaddr*>(&address);
    return ::connect(server, generic, sizeof address) == 0 ? server : -1;
}

bool say(int server, std::vector<std::uint8_t>& words) {
    std::size_t sent = 0;
    while (sent < words.size()) {
        const auto count = ::send(server, words.data() + sent, words.size() - sent, MSG_NOSIGNAL);
        if (count <= 0) return false;
        sent += static_cast<std::size_t>(count);
    }
    words.clear();
    return true;
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 4 || std::strlen(argv[2]) != 2 * SessionPlan::size) {
        std::fputs("usage: nbd_record SOCKET PLAN OUTPUT\n", stderr);
        return 2;
    }
    std::array<std::uint8_t, SessionPlan::size> header{};
    for (std::size_t i = 0; i < header.size(); ++i)
        header[i] =
            static_cast<std::uint8_t>(std::stoul(std::string(argv[2] + 2 * i, 2), nullptr, 16));
    const int server = connect_to(argv[1]);
    if (server < 0) {
        std::perror("nbd_record: cannot connect");
        return 1;
    }
    const SessionPlan plan(header);
    Session session(plan, 0);
    std::vector<std::uint8_t> recorded(header.begin(), header.end());
    while (!session.over() && !session.idle() && say(server, session.result().said)) {
        std::array<std::uint8_t, 4096> bytes;
        const auto count = ::recv(server, bytes.data(), bytes.size(), 0);
        if (count <= 0) break;
        const auto words = std::span(bytes).first(static_cast<std::size_t>(count));
        recorded.insert(recorded.end(), words.begin(), words.end());
        session.receive(words);
    }
    ::close(server);
    std::ofstream(argv[3], std::ios::binary)
        .write(reinterpret_cast<const char*>(recorded.data()),
               static_cast<std::streamsize>(recorded.size()));
    const auto result = session.finish();
    std::printf("%zu bytes, %zu ends, fault %u\n", recorded.size(), result.ends.size(),
                static_cast<unsigned>(result.fault));
    return 0;
}
