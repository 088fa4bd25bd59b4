// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/interop/server_process.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <stdexcept>
#include <thread>
#include <utility>

namespace wnbd::test {
namespace {

sockaddr_in loopback(std::uint16_t port) {
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(port);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return address;
}

/// Whether somebody listens. Looked up, not tried: some servers serve one connection and end.
bool listening(const std::string& socket_path, std::uint16_t port) {
    std::ifstream table(socket_path.empty() ? "/proc/net/tcp" : "/proc/net/unix");
    char wanted[16];
    std::snprintf(wanted, sizeof wanted, ":%04X ", port);
    std::string line;
    while (std::getline(table, line)) {
        if (socket_path.empty()) {
            // "sl: local_address:PORT remote_address:0000 0A": 0A is LISTEN.
            const auto at = line.find(wanted);
            if (at < 20 && line.find(":0000 0A ", at) != std::string::npos) return true;
        } else if (line.ends_with(" " + socket_path) &&
                   // the flag of a listening socket
                   line.find(" 00010000 ") != std::string::npos) {
            return true;
        }
    }
    return false;
}

/// In the child: never returns.
[[noreturn]] void become(const std::vector<std::string>& command, pid_t parent) {
    std::vector<char*> arguments;
    arguments.reserve(command.size() + 1);
    for (const auto& word : command)
        arguments.push_back(const_cast<char*>(word.c_str()));
    arguments.push_back(nullptr);
    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (::getppid() != parent) ::_exit(126);
    ::setpgid(0, 0);
    const int null = ::open("/dev/null", O_RDWR);
    if (null < 0) ::_exit(125);
    ::dup2(null, 0);
    ::dup2(null, 1);
    // Servers tell the faults that tests provoke: only a person who looks for something wants them.
    if (std::getenv("WNBD_TEST_VERBOSE") == nullptr) ::dup2(null, 2);
    ::execvp(arguments[0], arguments.data());
    ::_exit(127);
}

}  // namespace

TemporaryDirectory::TemporaryDirectory()
    : TemporaryDirectory(std::filesystem::temp_directory_path().string()) {}

TemporaryDirectory::TemporaryDirectory(const std::string& parent) {
    auto name = parent + "/wnbd-test-XXXXXX";
    if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("mkdtemp failed");
    path_ = name;
}

TemporaryDirectory::~TemporaryDirectory() {
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
}

std::uint16_t free_port() {
    const int probe = ::socket(AF_INET, SOCK_STREAM, 0);
    auto address = loopback(0);
    socklen_t length = sizeof address;
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    if (probe < 0) throw std::runtime_error("no socket to look for a free TCP port");
    const bool bound =
        ::bind(probe, generic, length) == 0 && ::getsockname(probe, generic, &length) == 0;
    ::close(probe);
    if (!bound) throw std::runtime_error("no free TCP port");
    return ntohs(address.sin_port);
}

ServerProcess::ServerProcess(const std::vector<std::string>& command, std::string socket_path,
                             std::uint16_t port)
    : socket_path_(std::move(socket_path)), port_(port) {
    const pid_t parent = ::getpid();
    process_ = ::fork();
    if (process_ < 0) throw std::runtime_error("fork failed");
    if (process_ == 0) become(command, parent);
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(20);
    while (!listening(socket_path_, port_)) {
        const bool ended = ::waitpid(process_, nullptr, WNOHANG) == process_;
        if (ended || std::chrono::steady_clock::now() > deadline) {
            if (ended) process_ = -1;
            kill();
            throw std::runtime_error(command[0] + (ended ? " ended at once" : " does not answer"));
        }
        std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
}

ServerProcess::~ServerProcess() {
    kill();
}

void ServerProcess::kill() noexcept {
    if (process_ < 0) return;
    // The whole group: a server may have children.
    ::kill(-process_, SIGKILL);
    ::kill(process_, SIGKILL);
    ::waitpid(process_, nullptr, 0);
    process_ = -1;
}

std::string ServerProcess::uri(const std::string& export_name) const {
    if (socket_path_.empty()) return "nbd://127.0.0.1:" + std::to_string(port_) + "/" + export_name;
    return "nbd+unix:///" + export_name + "?socket=" + socket_path_;
}

}  // namespace wnbd::test
