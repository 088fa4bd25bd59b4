// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/connection.h"

#include <algorithm>
#include <array>
#include <chrono>
#include <utility>

namespace wnbd::nbd {
namespace {

using Status = IoResult::Status;

/// So few requests in flight, with so little to copy, that their answers are worth spinning for.
constexpr std::uint32_t few_in_flight = 4;
constexpr std::uint64_t little_payload = 256U << 10;  // bytes
/// So many that more replies have probably come while the last ones were served.
constexpr std::uint32_t many_in_flight = 16;
/// Of many replies that are due so few came that a pause before the next receive saves more than it
/// costs: less than one of four, and no large payload, whose bytes are work for themselves.
constexpr std::uint32_t few_replies = 4;
constexpr std::size_t large_receive = 32U << 10;  // bytes
/// The deeper the queue, the longer the server has work without us: a microsecond for each request,
/// up to this.
constexpr std::uint32_t pause_max = 100;  // us
/// Receives in one step, at most: what completions admit must go out at last.
constexpr unsigned receives_max = 4;

}  // namespace

Connection::Connection(std::uint32_t commands_max, ConnectionSink& sink)
    : sink_(sink),
      table_(commands_max),
      probe_buffer_(largest_minimum_block),
      parser_(table_, *this) {}

Connection::~Connection() = default;

void Connection::attach(std::unique_ptr<Stream> stream, const Agreement& agreement,
                        std::uint32_t time) {
    const std::lock_guard lock(lock_);
    table_.begin(WireTerms::of(agreement));
    table_.set_time(time);
    parser_.begin();
    batch_.abandon();
    probe_size_ = agreement.info.minimum_block;
    time_.store(time, std::memory_order_relaxed);
    heard_.store(time, std::memory_order_relaxed);
    fault_ = {};
    send_full_ = ended_ = farewell_ = farewell_said_ = false;
    heard_anything_ = false;
    stream_ = std::move(stream);
    open_ = true;
}

Fault Connection::fault() const {
    const std::lock_guard lock(lock_);
    return fault_;
}

std::uint32_t Connection::in_flight() const noexcept {
    const std::lock_guard lock(lock_);
    return stream_ != nullptr ? table_.admitted() - (probing_ ? 1 : 0) : 0;
}

// Time.

void Connection::set_time(std::uint32_t time) noexcept {
    time_.store(time, std::memory_order_relaxed);
    const std::lock_guard lock(lock_);
    table_.set_time(time);
}

std::optional<std::uint32_t> Connection::oldest_age() noexcept {
    const std::lock_guard lock(lock_);
    if (stream_ == nullptr || table_.admitted() == 0) return std::nullopt;
    const auto now = time_.load(std::memory_order_relaxed);
    std::uint32_t oldest = 0;
    for (const auto& slot : table_.slots())
        if (slot.admitted) oldest = std::max(oldest, now - slot.time);
    return oldest;
}

void Connection::probe() noexcept {
    {
        const std::lock_guard lock(lock_);
        if (!open_ || table_.admitted() != 0) return;
        if (!table_.admit({.type = CommandType::read,
                           .length = probe_size_,
                           .data = probe_buffer_.data(),
                           .cookie = this}))
            return;
        probing_ = true;
    }
    kick();
}

// Sending.

Connection::Admission Connection::Entrance::admit(const Command& command) noexcept {
    if (!connection_.open_) return Admission::gone;
    if (!connection_.table_.admit(command)) return Admission::full;
    ++connection_.sequence_;
    return Admission::accepted;
}

void Connection::kick() noexcept {
    if (stepped_here()) return;
    std::unique_lock lock(lock_);
    send_queued(lock);
}

void Connection::send_queued(std::unique_lock<std::mutex>& lock) noexcept {
    if (sending_ || send_full_ || !open_) return;
    sending_ = true;
    while (open_) {
        if (batch_.empty()) {
            if (!table_.anything_to_send()) break;
            batch_.fill(table_);
        }
        if (!send_batch(lock)) break;
    }
    sending_ = false;
    if (open_) return;
    if (farewell_ && !ended_) say_farewell();
    // The stepping thread may have waited for us to be gone.
    stream_->wake();
}

/// One system call. False: no room, or the end.
bool Connection::send_batch(std::unique_lock<std::mutex>& lock) noexcept {
    // detach() waits for the sender to be gone.
    Stream& stream = *stream_;
    lock.unlock();
    const auto sent = stream.send(batch_.slices());
    if (sent.status == Status::ok)
        batch_.advance(sent.bytes, [this](Slot& slot) { hand_over(slot); });
    lock.lock();
    if (sent.status == Status::ok) return true;
    if (sent.status == Status::would_block) {
        send_full_ = true;
        if (stepper_.load(std::memory_order_relaxed) != std::this_thread::get_id()) stream.wake();
    } else {
        declare_end(stream.failure_of(sent, "while sending"), Ending::hard);
    }
    return false;
}

/// The payload is out of our hands. If the reply came before this news, nobody has completed it
/// yet.
void Connection::hand_over(Slot& slot) noexcept {
    if (slot.payload.exchange(Slot::Payload::sent, std::memory_order_acq_rel) ==
        Slot::Payload::replied)
        finish(slot, slot.error);
}

// Receiving.

void Connection::replied(Slot& slot, std::uint32_t error) noexcept {
    ++arrived_replies_;
    if (slot.payload.load(std::memory_order_relaxed) != Slot::Payload::none) {
        slot.error = error;
        if (slot.payload.exchange(Slot::Payload::replied, std::memory_order_acq_rel) ==
            Slot::Payload::sending)
            return;
    }
    finish(slot, error);
}

void Connection::finish(Slot& slot, std::uint32_t error) noexcept {
    void* const cookie = slot.command.cookie;
    {
        const std::lock_guard lock(lock_);
        // The stepping thread sends after parsing; a foreign sender's loop sees the queue again.
        if (error == 0 && table_.continue_command(slot)) return;
        table_.retire(slot);
        if (cookie == this) return probe_answered();
    }
    sink_.completed(*this, cookie, error);
}

WaitFor Connection::wants() noexcept {
    const std::lock_guard lock(lock_);
    const auto in_flight = table_.admitted();
    const bool few_came = in_flight >= many_in_flight && arrived_bytes_ > 0 &&
                          arrived_bytes_ < large_receive && !parser_.in_payload() &&
                          arrived_replies_ < in_flight / few_replies;
    const std::chrono::microseconds pause{few_came ? std::min(in_flight, pause_max) : 0};
    // Where bytes stream, the next ones come by themselves, and the server needs the CPU.
    const bool streaming = send_full_ || parser_.in_payload() || table_.payload() >= little_payload;
    return {.room = send_full_,
            .soon = in_flight > 0 && in_flight <= few_in_flight && !streaming,
            .pause = pause};
}

Connection::Step Connection::step(Ready ready) noexcept {
    const auto self = std::this_thread::get_id();
    if (stepper_.load(std::memory_order_relaxed) != self)
        stepper_.store(self, std::memory_order_relaxed);
    if (ready.readable) {
        in_step_ = true;
        receive();
        sink_.received_all(*this);
        in_step_ = false;
    }
    std::unique_lock lock(lock_);
    if (ready.writable) send_full_ = false;
    send_queued(lock);
    if (!ended_) return Step::goes_on;
    if (!sending_) return Step::over;
    // A sender is still at work on buffers that are about to be given back: it will fail soon.
    return Step::ending;
}

void Connection::receive() noexcept {
    arrived_replies_ = 0;
    arrived_bytes_ = 0;
    for (unsigned round = 0; round < receives_max; ++round) {
        {
            const std::lock_guard lock(lock_);
            if (ended_) return;
            // More has probably come only where much came at once.
            const bool much = arrived_bytes_ >= large_receive &&
                              (table_.admitted() >= many_in_flight || parser_.in_payload());
            if (round > 0 && !much) return;
        }
        const auto plan = parser_.plan();
        const auto got = stream_->receive(std::span(plan.slices).first(plan.count));
        if (got.status == Status::would_block) return;
        if (got.status != Status::ok) return receive_ended(got);
        arrived_bytes_ += got.bytes;
        heard_anything_ = true;
        heard_.store(time_.load(std::memory_order_relaxed), std::memory_order_relaxed);
        const auto& fault = parser_.received(got.bytes);
        if (fault.code == FaultCode::none) continue;
        const std::lock_guard lock(lock_);
        return declare_end(fault, Ending::hard);
    }
}

void Connection::receive_ended(const IoResult& got) noexcept {
    const std::lock_guard lock(lock_);
    if (got.status == Status::closed)
        declare_end(
            {.code = FaultCode::hang_up,
             .step = parser_.at_boundary() ? "in transmission" : "in the middle of a reply"},
            Ending::hard);
    else
        declare_end(stream_->failure_of(got, "while receiving"), Ending::hard);
}

// The end.

void Connection::end(Fault fault, Ending how) noexcept {
    const std::lock_guard lock(lock_);
    if (stream_ != nullptr) declare_end(std::move(fault), how);
}

void Connection::declare_end(Fault fault, Ending how) noexcept {
    if (ended_) return;
    if (fault_.code == FaultCode::none) fault_ = std::move(fault);
    open_ = false;
    if (how == Ending::hard) {
        ended_ = true;
        stream_->shut_down();
    } else {
        farewell_ = true;
        if (!sending_) say_farewell();
    }
    stream_->wake();
}

void Connection::probe_answered() noexcept {
    probing_ = false;
    if (farewell_ && !ended_ && !sending_) say_farewell();
}

/// As the sender. The server closes its side when it has read this, and all that came before.
void Connection::say_farewell() noexcept {
    // "The client MAY issue a soft disconnect at any time, but SHOULD wait until there are no
    // inflight requests first" (Terminating the transmission phase).
    if (probing_ && table_.admitted() == 1 && !table_.anything_to_send() && batch_.empty()) return;
    if (std::exchange(farewell_said_, true)) return;
    if (batch_.empty() && table_.admitted() == (probing_ ? 1 : 0)) {
        std::array<std::uint8_t, extended_request_size> message;
        const auto size =
            encode_request(message, table_.terms().format, {.type = CommandType::disconnect});
        const IoSlice slice{message.data(), size};
        // 28 bytes into an idle stream: if they do not fit, the server is past caring.
        (void)stream_->send({&slice, 1});
    }
    batch_.abandon();
    stream_->shut_down_send();
}

}  // namespace wnbd::nbd
