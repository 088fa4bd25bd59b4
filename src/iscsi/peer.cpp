// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/peer.h"

#include <algorithm>
#include <asio/post.hpp>
#include <utility>

#include "iscsi/endpoint.h"
#include "iscsi/loop.h"

namespace wnbd::iscsi {
namespace {

/// Receiving or sending buffers where they lie: Asio copies the view, not what it shows.
template <typename Buffer>
struct BufferView {
    const Buffer* first = nullptr;
    const Buffer* last = nullptr;
    [[nodiscard]] const Buffer* begin() const noexcept { return first; }
    [[nodiscard]] const Buffer* end() const noexcept { return last; }
};

/// Hands out one piece of memory that is there already. Whoever uses it has one use at a time.
template <typename T>
class InPlace {
  public:
    using value_type = T;

    explicit InPlace(std::span<std::byte> memory) noexcept : memory_(memory) {}
    template <typename U>
    explicit InPlace(const InPlace<U>& other) noexcept : memory_(other.memory_) {}

    [[nodiscard]] T* allocate(std::size_t count) const {
        if (count * sizeof(T) > memory_.size()) throw std::bad_alloc();
        return reinterpret_cast<T*>(memory_.data());
    }
    void deallocate(T* /*memory*/, std::size_t /*count*/) const noexcept {}
    template <typename U>
    bool operator==(const InPlace<U>& other) const noexcept {
        return memory_.data() == other.memory_.data();
    }

  private:
    template <typename U>
    friend class InPlace;
    std::span<std::byte> memory_;
};

template <typename Function>
struct InPlaceHandler {
    using allocator_type = InPlace<std::byte>;
    Function function;
    allocator_type allocator;
    [[nodiscard]] allocator_type get_allocator() const noexcept { return allocator; }
    void operator()() { function(); }
};

}  // namespace

Peer::Peer(Loop& loop, asio::ip::tcp::socket socket, std::string name, std::string portal)
    : loop_(loop),
      socket_(std::move(socket)),
      name_(std::move(name)),
      connection_(loop.target(), *this, name_, std::move(portal), Loop::now_ms()) {}

void Peer::start() noexcept {
    settle();
}

void Peer::receive() noexcept {
    receiving_ = true;
    const auto done = [this](std::error_code error, std::size_t count) {
        receive_done(error, count);
    };
    if (state_ == State::lingering) {
        socket_.async_read_some(asio::buffer(loop_.waste().data(), loop_.waste().size()), done);
        return;
    }
    if (connection_.expects_more() && loop_.load.load(std::memory_order_relaxed) == 1)
        Loop::pause();
    // Asio tries to receive at once before it waits.
    const auto room = connection_.receive_room();
    receiving_ = !room.empty();
    if (!receiving_) return;
    const std::size_t count = std::min(room.size(), receive_slices_.size());
    for (std::size_t i = 0; i < count; ++i)
        receive_slices_[i] = asio::buffer(room[i].data, room[i].size);
    socket_.async_read_some(
        BufferView<asio::mutable_buffer>{receive_slices_.data(), receive_slices_.data() + count},
        done);
}

void Peer::receive_done(std::error_code error, std::size_t count) noexcept {
    receiving_ = false;
    if (state_ == State::open) {
        if (error == asio::error::eof) {
            end("the initiator closed the connection");
        } else if (error) {
            end("receiving failed: " + error_text(error));
        } else {
            connection_.received(count, Loop::now_ms());
        }
    } else if (state_ == State::lingering && error) {
        end({});
    }
    settle();
}

void Peer::send() noexcept {
    while (state_ == State::open && !sending_) {
        const auto slices = connection_.to_send();
        if (slices.empty()) return;
        const std::size_t count = std::min(slices.size(), send_slices_.size());
        for (std::size_t i = 0; i < count; ++i)
            send_slices_[i] = asio::buffer(slices[i].data, slices[i].size);
        const BufferView<asio::const_buffer> view{send_slices_.data(), send_slices_.data() + count};
        std::error_code error;
        const std::size_t sent = socket_.write_some(view, error);
        if (!error) {
            connection_.sent(sent);
        } else if (error == asio::error::would_block || error == asio::error::try_again) {
            sending_ = true;
            socket_.async_write_some(view, [this](std::error_code failure, std::size_t written) {
                send_done(failure, written);
            });
        } else {
            end("sending failed: " + error_text(error));
        }
    }
}

void Peer::send_done(std::error_code error, std::size_t count) noexcept {
    sending_ = false;
    if (state_ == State::open) {
        if (error) {
            end("sending failed: " + error_text(error));
        } else {
            connection_.sent(count);
        }
    }
    settle();
}

void Peer::wake() noexcept {
    if (woken_.exchange(true, std::memory_order_acq_rel)) return;
    // From here to the end of post() only what the handler's memory is made of is touched.
    const auto handler = [this] { woken(); };
    asio::post(loop_.context(), InPlaceHandler<decltype(handler)>{
                                    handler, InPlace<std::byte>(std::span(wake_memory_))});
}

void Peer::woken() noexcept {
    // An exchange: whoever still finds it set has posted before this, and that is taken in now.
    static_cast<void>(woken_.exchange(false, std::memory_order_acq_rel));
    connection_.process_completions();
    settle();
}

void Peer::tick(std::uint64_t now_ms) noexcept {
    if (state_ == State::open) connection_.tick(now_ms);
    if (state_ == State::lingering && --ticks_left_ == 0) end({});
    settle();
}

void Peer::ask_for_logout(std::uint16_t within_seconds) noexcept {
    if (state_ == State::open) connection_.ask_for_logout(within_seconds);
    settle();
}

void Peer::close(const std::string& why) noexcept {
    if (state_ != State::closed) end(why);
    settle();
}

/// A socket that is closed while there is something to be received takes back what was sent.
void Peer::linger() noexcept {
    const std::string& reason = connection_.reason();
    loop_.log().write(reason.empty() ? Log::Level::info : Log::Level::warning,
                      name_ + ": " + (reason.empty() ? "connection closed" : reason));
    state_ = State::lingering;
    // The other side does not read what is being sent: it would not learn of the end either.
    if (sending_) return end({});
    std::error_code error;
    socket_.shutdown(asio::ip::tcp::socket::shutdown_send, error);
    if (error) end({});
}

void Peer::end(const std::string& why) noexcept {
    if (!why.empty()) loop_.log().write(Log::Level::info, name_ + ": " + why);
    state_ = State::closed;
    std::error_code ignored;
    socket_.close(ignored);
}

void Peer::settle() noexcept {
    if (state_ == State::open) send();
    if (state_ == State::open && connection_.finished()) linger();
    if (state_ != State::closed && !receiving_) receive();
    if (state_ != State::closed || receiving_ || sending_) return;
    // The system has let go of the buffers.
    if (!detached_) {
        detached_ = true;
        connection_.detach();
    }
    if (connection_.drained() && !woken_.load(std::memory_order_acquire)) loop_.remove(*this);
}

}  // namespace wnbd::iscsi
