// SPDX-License-Identifier: LGPL-2.1-or-later
// An NBD server that answers as fast as its socket allows: one thread, many requests per system
// call, data sent from where they are, writes received and forgotten. What a client reaches against
// it is the client's own limit.
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/uio.h>
#include <sys/un.h>
#include <unistd.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <array>
#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <memory>
#include <span>
#include <stdexcept>
#include <string>
#include <vector>

#include "base/big_endian.h"
#include "nbd/protocol.h"

namespace {

using namespace wnbd;
using namespace wnbd::nbd;

struct Export {
    std::uint64_t size = 0;               // bytes
    bool structured = false;              // offer structured replies
    std::vector<std::uint8_t> content{};  // every read is served from its start
};

/// Gives up by throwing: the client has gone or is none.
void receive_all(int socket, std::span<std::uint8_t> bytes) {
    while (!bytes.empty()) {
        const auto got = ::recv(socket, bytes.data(), bytes.size(), 0);
        if (got <= 0) throw std::runtime_error("the client went away in its negotiation");
        bytes = bytes.subspan(static_cast<std::size_t>(got));
    }
}

void send_all(int socket, std::span<const std::uint8_t> bytes) {
    while (!bytes.empty()) {
        const auto sent = ::send(socket, bytes.data(), bytes.size(), MSG_NOSIGNAL);
        if (sent <= 0) throw std::runtime_error("the client went away in its negotiation");
        bytes = bytes.subspan(static_cast<std::size_t>(sent));
    }
}

/// Big-endian numbers, one after the other.
class Message {
  public:
    template <typename T>
    Message& add(T value) {
        const auto at = bytes_.size();
        bytes_.resize(at + sizeof value);
        store_big_endian<T>(&bytes_[at], value);
        return *this;
    }
    [[nodiscard]] std::span<const std::uint8_t> bytes() const { return bytes_; }

  private:
    std::vector<std::uint8_t> bytes_;
};

void answer(int socket, std::uint32_t option, OptionReply reply, std::uint32_t length = 0) {
    send_all(socket, Message()
                         .add(option_reply_magic)
                         .add(option)
                         .add(static_cast<std::uint32_t>(reply))
                         .add(length)
                         .bytes());
}

constexpr std::uint16_t transmission_flags = transmission_has_flags | transmission_send_flush |
                                             transmission_send_fua | transmission_send_trim |
                                             transmission_can_multi_conn;

/// Returns whether structured replies were agreed on. Blocks: this is a benchmark's server.
bool negotiate(int socket, const Export& disk) {
    send_all(socket, Message()
                         .add(init_magic)
                         .add(option_magic)
                         .add<std::uint16_t>(flag_fixed_newstyle | flag_no_zeroes)
                         .bytes());
    std::array<std::uint8_t, 4> client_flags;
    receive_all(socket, client_flags);
    bool structured = false;
    for (;;) {
        std::array<std::uint8_t, 16> header;
        receive_all(socket, header);
        const auto option = load_big_endian<std::uint32_t>(&header[8]);
        const auto length = load_big_endian<std::uint32_t>(&header[12]);
        if (load_big_endian<std::uint64_t>(header.data()) != option_magic ||
            length > max_option_reply)
            throw std::runtime_error("this is no NBD client");
        std::vector<std::uint8_t> data(length);
        receive_all(socket, data);
        switch (static_cast<Option>(option)) {
            case Option::info:
            case Option::go:
                answer(socket, option, OptionReply::info, 12);
                send_all(socket,
                         Message().add(info_export).add(disk.size).add(transmission_flags).bytes());
                answer(socket, option, OptionReply::ack);
                if (static_cast<Option>(option) == Option::go) return structured;
                break;
            case Option::structured_reply:
                structured = disk.structured;
                answer(socket, option,
                       structured ? OptionReply::ack : OptionReply::error_unsupported);
                break;
            case Option::abort:
                answer(socket, option, OptionReply::ack);
                throw std::runtime_error("the client took its leave");
            default: answer(socket, option, OptionReply::error_unsupported); break;
        }
    }
}

/// One client in transmission.
class Client {
  public:
    Client(int socket, const Export& disk, bool structured)
        : disk_(disk), socket_(socket), structured_(structured), received_(receive_size) {}
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;
    ~Client() { ::close(socket_); }

    [[nodiscard]] int socket() const noexcept { return socket_; }
    [[nodiscard]] bool full() const noexcept { return first_ != last_; }

    /// Receives, answers, sends, as far as it goes without waiting. False: it is over.
    bool serve() {
        for (bool drained = false;;) {
            if (full() && !send()) return false;
            if (full()) return true;
            if (last_batch_full_) {
                if (!parse()) return false;
                continue;
            }
            // What the socket had was taken: the next receive would only say so.
            if (drained) return true;
            const auto got =
                ::recv(socket_, received_.data() + end_, received_.size() - end_, MSG_DONTWAIT);
            if (got < 0 && (errno == EAGAIN || errno == EINTR)) return true;
            if (got <= 0) return false;
            end_ += static_cast<std::size_t>(got);
            drained = end_ < received_.size();
            if (!parse()) return false;
        }
    }

  private:
    static constexpr std::size_t receive_size = 256U << 10;
    static constexpr std::size_t replies_max = 256;  // in one system call

    /// Answers what has been received. False: the client takes its leave, or speaks nonsense.
    bool parse() {
        first_ = last_ = replies_ = 0;
        std::size_t begin = 0;
        last_batch_full_ = false;
        for (;;) {
            const auto skipped = std::min<std::uint64_t>(payload_left_, end_ - begin);
            begin += skipped;
            payload_left_ -= skipped;
            if (payload_left_ != 0) break;
            if (writing_) reply(handle_, 0);
            writing_ = false;
            if (end_ - begin < request_size) break;
            if (replies_ + 1 >= replies_max) {
                last_batch_full_ = true;
                break;
            }
            if (!request(received_.data() + begin)) return false;
            begin += request_size;
        }
        if (begin != 0) std::memmove(received_.data(), received_.data() + begin, end_ - begin);
        end_ -= begin;
        return true;
    }

    bool request(const std::uint8_t* bytes) {
        if (load_big_endian<std::uint32_t>(bytes) != request_magic) return false;
        std::uint64_t handle = 0;
        std::memcpy(&handle, bytes + 8, sizeof handle);
        const auto length = load_big_endian<std::uint32_t>(bytes + 24);
        switch (static_cast<CommandType>(load_big_endian<std::uint16_t>(bytes + 6))) {
            case CommandType::read:
                if (length > disk_.content.size()) return false;
                reply(handle, length);
                return true;
            case CommandType::write:
                writing_ = true;
                handle_ = handle;
                payload_left_ = length;
                return true;
            case CommandType::disconnect: return false;
            default: reply(handle, 0); return true;
        }
    }

    void reply(std::uint64_t handle, std::uint32_t payload) {
        auto& header = headers_[replies_++];
        std::size_t size = simple_reply_size;
        if (structured_ && payload != 0) {
            // One chunk with data, which is the last.
            size = structured_reply_size + sizeof(std::uint64_t);
            store_big_endian<std::uint32_t>(&header[0], structured_reply_magic);
            store_big_endian<std::uint16_t>(&header[4], reply_flag_done);
            store_big_endian<std::uint16_t>(&header[6],
                                            static_cast<std::uint16_t>(ReplyType::offset_data));
            std::memcpy(&header[8], &handle, sizeof handle);
            store_big_endian<std::uint32_t>(&header[16], payload + 8);
            store_big_endian<std::uint64_t>(&header[20], 0);
        } else {
            store_big_endian<std::uint32_t>(&header[0], simple_reply_magic);
            store_big_endian<std::uint32_t>(&header[4], 0);
            std::memcpy(&header[8], &handle, sizeof handle);
        }
        vectors_[last_++] = {header.data(), size};
        // Only read from.
        if (payload != 0)
            vectors_[last_++] = {const_cast<std::uint8_t*>(disk_.content.data()), payload};
    }

    bool send() {
        while (first_ < last_) {
            msghdr message{};
            message.msg_iov = &vectors_[first_];
            message.msg_iovlen = last_ - first_;
            const auto sent = ::sendmsg(socket_, &message, MSG_NOSIGNAL | MSG_DONTWAIT);
            if (sent < 0) return errno == EAGAIN || errno == EINTR;
            auto count = static_cast<std::size_t>(sent);
            while (first_ < last_ && count >= vectors_[first_].iov_len)
                count -= vectors_[first_++].iov_len;
            if (first_ == last_) break;
            auto& vector = vectors_[first_];
            vector.iov_base = static_cast<std::uint8_t*>(vector.iov_base) + count;
            vector.iov_len -= count;
        }
        return true;
    }

    const Export& disk_;
    int socket_;
    bool structured_;
    std::vector<std::uint8_t> received_;
    std::size_t end_ = 0;             // of what is not yet parsed
    std::uint64_t payload_left_ = 0;  // of the write that is being received
    std::uint64_t handle_ = 0;        // of it, as it came
    bool writing_ = false;
    bool last_batch_full_ = false;
    std::array<std::array<std::uint8_t, 32>, replies_max> headers_;
    std::array<iovec, 2 * replies_max> vectors_;
    std::size_t replies_ = 0;
    std::size_t first_ = 0;  // of vectors_: what is still to be sent
    std::size_t last_ = 0;
};

int listen_at(const std::string& path, std::uint16_t port) {
    const int socket = ::socket(path.empty() ? AF_INET : AF_UNIX, SOCK_STREAM, 0);
    sockaddr_un local{};
    local.sun_family = AF_UNIX;
    if (path.size() >= sizeof local.sun_path) throw std::runtime_error("the path is too long");
    std::memcpy(local.sun_path, path.data(), path.size());
    sockaddr_in loopback{};
    loopback.sin_family = AF_INET;
    loopback.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    loopback.sin_port = htons(port);
    const int on = 1;
    ::setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    const auto* const address = path.empty() ? reinterpret_cast<const sockaddr*>(&loopback)
                                             : reinterpret_cast<const sockaddr*>(&local);
    const auto size = static_cast<socklen_t>(path.empty() ? sizeof loopback : sizeof local);
    if (::bind(socket, address, size) != 0 || ::listen(socket, 16) != 0)
        throw std::runtime_error(std::string("cannot listen: ") + std::strerror(errno));
    return socket;
}

class Server {
  public:
    Server(int listener, const Export& disk)
        : listener_(listener), epoll_(::epoll_create1(0)), disk_(disk) {
        watch(EPOLL_CTL_ADD, listener_, EPOLLIN, nullptr);
    }

    void run() {
        for (;;) {
            std::array<epoll_event, 16> events;
            const int count = ::epoll_wait(epoll_, events.data(), events.size(), -1);
            for (int i = 0; i < count; ++i) {
                auto* const client =
                    static_cast<Client*>(events[static_cast<std::size_t>(i)].data.ptr);
                if (client == nullptr)
                    accept();
                else
                    serve(*client);
            }
        }
    }

  private:
    void watch(int operation, int socket, std::uint32_t what, Client* client) const {
        epoll_event event{.events = what, .data = {.ptr = client}};
        if (::epoll_ctl(epoll_, operation, socket, &event) != 0)
            throw std::runtime_error("epoll_ctl failed");
    }

    void accept() {
        const int socket = ::accept(listener_, nullptr, nullptr);
        if (socket < 0) return;
        try {
            const int on = 1;
            ::setsockopt(socket, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
            clients_.push_back(std::make_unique<Client>(socket, disk_, negotiate(socket, disk_)));
            watch(EPOLL_CTL_ADD, socket, EPOLLIN, clients_.back().get());
        } catch (const std::exception&) {
            ::close(socket);  // whoever only looked whether we listen
        }
    }

    void serve(Client& client) {
        const bool was_full = client.full();
        if (!client.serve()) {
            std::erase_if(clients_, [&](const auto& each) { return each.get() == &client; });
            return;
        }
        if (client.full() != was_full)
            watch(EPOLL_CTL_MOD, client.socket(), client.full() ? EPOLLOUT : EPOLLIN, &client);
    }

    int listener_;
    int epoll_;
    const Export& disk_;
    std::vector<std::unique_ptr<Client>> clients_;
};

}  // namespace

int main(int argument_count, char** arguments) try {
    std::string path;
    std::uint16_t port = 0;
    Export disk{.size = 256U << 20};
    CLI::App application{"An NBD server that stores nothing and answers at once"};
    application.add_option("--unix", path, "listen on this Unix socket");
    application.add_option("--port", port, "or on this TCP port of the loopback");
    application.add_option("--size", disk.size, "bytes the export claims");
    application.add_flag("--structured", disk.structured, "offer structured replies");
    CLI11_PARSE(application, argument_count, arguments);
    if (path.empty() == (port == 0)) throw std::runtime_error("give either --unix or --port");

    ::prctl(PR_SET_PDEATHSIG, SIGKILL);
    disk.content.assign(std::size_t{default_maximum_payload}, 0x5a);
    Server(listen_at(path, port), disk).run();
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "nbd_null_server: %s\n", error.what());
    return 1;
}
