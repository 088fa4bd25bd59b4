// SPDX-License-Identifier: LGPL-2.1-or-later
// A stream whose other end is the test itself: no thread, no socket, no time. For tests.
#pragma once

#include <algorithm>
#include <cstring>
#include <deque>
#include <functional>
#include <memory>
#include <vector>

#include "base/big_endian.h"
#include "nbd/protocol.h"
#include "nbd/stream.h"
#include "nbd/test_wire.h"

namespace wnbd::nbd::test {

/// What both ends see of a stream; outlives it.
struct FakeWire {
    struct Request {
        std::uint16_t flags = 0;
        CommandType type = CommandType::read;
        std::uint64_t handle = 0;
        std::uint64_t offset = 0;
        std::uint32_t length = 0;
        std::vector<std::uint8_t> payload{};
    };

    std::vector<std::uint8_t> to_server;
    std::deque<std::uint8_t> to_client;
    bool server_ended = false;  // the client reads an end after the last byte
    bool sending_over = false;  // the client's shut_down_send()
    bool shut_down = false;
    std::size_t room = ~std::size_t{0};  // bytes that send() still takes
    std::function<void()> on_close;      // the client gives its stream away

    /// The next whole request with simple framing, taken off; false when there is none.
    bool take(Request& request) {
        if (to_server.size() < request_size) return false;
        request.flags = load_big_endian<std::uint16_t>(&to_server[4]);
        request.type = static_cast<CommandType>(load_big_endian<std::uint16_t>(&to_server[6]));
        request.handle = load_big_endian<std::uint64_t>(&to_server[8]);
        request.offset = load_big_endian<std::uint64_t>(&to_server[16]);
        request.length = load_big_endian<std::uint32_t>(&to_server[24]);
        const std::size_t payload = request.type == CommandType::write ? request.length : 0;
        if (to_server.size() < request_size + payload) return false;
        const auto begin = to_server.begin() + request_size;
        const auto end = begin + static_cast<std::ptrdiff_t>(payload);
        request.payload.assign(begin, end);
        to_server.erase(to_server.begin(), end);
        return true;
    }
    std::vector<Request> take_all() {
        std::vector<Request> all;
        for (Request request; take(request);)
            all.push_back(request);
        return all;
    }
    void say(const Wire& wire) {
        to_client.insert(to_client.end(), wire.bytes().begin(), wire.bytes().end());
    }
    void answer(const Request& request, std::uint32_t error = 0, std::uint8_t fill = 0) {
        auto reply = simple_reply(request.handle, error);
        if (request.type == CommandType::read && error == 0) reply.fill(request.length, fill);
        say(reply);
    }
};

class FakeStream final : public Stream {
  public:
    explicit FakeStream(std::shared_ptr<FakeWire> wire) : wire_(std::move(wire)) {}
    ~FakeStream() override {
        if (wire_->on_close) wire_->on_close();
    }

    IoResult send(std::span<const IoSlice> slices) noexcept override {
        if (wire_->shut_down || wire_->sending_over)
            return {.status = IoResult::Status::failed, .error = 32};
        std::size_t sent = 0;
        for (const auto& slice : slices) {
            const auto count = std::min(slice.size, wire_->room);
            wire_->to_server.insert(wire_->to_server.end(), slice.data, slice.data + count);
            wire_->room -= count;
            sent += count;
        }
        if (sent == 0) return {.status = IoResult::Status::would_block};
        return {.bytes = sent};
    }
    IoResult receive(std::span<const IoSlice> slices) noexcept override {
        std::size_t got = 0;
        for (const auto& slice : slices)
            for (std::size_t i = 0; i < slice.size && !wire_->to_client.empty(); ++i, ++got) {
                slice.data[i] = wire_->to_client.front();
                wire_->to_client.pop_front();
            }
        if (got > 0) return {.bytes = got};
        if (wire_->server_ended || wire_->shut_down) return {.status = IoResult::Status::closed};
        return {.status = IoResult::Status::would_block};
    }
    Ready wait(const WaitFor& what) noexcept override {
        return {.readable = true, .writable = what.room && wire_->room > 0};
    }
    void wake() noexcept override {}
    void shut_down() noexcept override { wire_->shut_down = true; }
    void shut_down_send() noexcept override { wire_->sending_over = true; }

  private:
    std::shared_ptr<FakeWire> wire_;
};

}  // namespace wnbd::nbd::test
