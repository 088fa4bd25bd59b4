// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/connection.h"

#include <algorithm>
#include <array>
#include <utility>

namespace wnbd::nbd {
namespace {

using Status = IoResult::Status;
using std::chrono::milliseconds;

constexpr milliseconds goodbye_time_max{1'000};  // for the server to close after NBD_CMD_DISC

Fault socket_fault(const char* step, int error) {
    return {.code = FaultCode::socket_failed,
            .got = static_cast<std::uint64_t>(error),
            .step = step,
            .text = system_error_text(error)};
}

/// Sends what the negotiation has to say. False: no room in the socket.
Result<bool, Fault> send_output(Socket& socket, Handshake& handshake) {
    while (!handshake.output().empty()) {
        const auto output = handshake.output();
        // The slice is only read: one slice type serves both directions.
        const IoSlice slice{const_cast<std::uint8_t*>(output.data()), output.size()};
        const auto sent = socket.send({&slice, 1});
        if (sent.status == Status::would_block) return false;
        if (sent.status != Status::ok) return Failure{socket_fault(handshake.step(), sent.error)};
        handshake.sent(sent.bytes);
    }
    return true;
}

/// Drives the negotiation until it is done. No byte beyond it is received: a server that sends more
/// than it was asked for is found out by the transmission phase.
Result<ExportInfo, Fault> negotiate(Socket& socket, std::string_view export_name,
                                    milliseconds time_max) {
    const auto deadline = Clock::now() + time_max;
    Handshake handshake({.export_name = std::string(export_name),
                         .structured_replies = false,
                         .extended_headers = false});
    while (!handshake.done() && !handshake.failed()) {
        const auto sent = send_output(socket, handshake);
        if (!sent) return Failure{sent.error()};
        const auto left = std::chrono::duration_cast<milliseconds>(deadline - Clock::now());
        if (left.count() <= 0)
            return Failure{Fault{.code = FaultCode::timed_out,
                                 .expected = static_cast<std::uint64_t>(time_max.count()),
                                 .step = handshake.step()}};
        if (!wait_for(socket, true, !sent.value(), nullptr, left).readable) continue;
        std::array<std::uint8_t, 512> bytes;
        const IoSlice slice{bytes.data(), std::min(bytes.size(), handshake.needed())};
        const auto got = socket.receive({&slice, 1});
        if (got.status == Status::would_block) continue;
        if (got.status == Status::closed) return Failure{handshake.hang_up()};
        if (got.status == Status::failed) return Failure{socket_fault(handshake.step(), got.error)};
        handshake.receive(std::span(bytes).first(got.bytes));
    }
    if (handshake.done()) return handshake.agreement().info;
    // An abort that does not go out at once is not worth waiting for.
    (void)send_output(socket, handshake);
    return Failure{handshake.fault()};
}

}  // namespace

Result<std::unique_ptr<Connection>, Fault> Connection::open(const Address& address,
                                                            const ConnectOptions& options,
                                                            CompletionSink& sink) {
    auto socket = connect_to(address, Clock::now() + options.connect_time_max);
    if (!socket) return Failure{socket.error()};
    ExportInfo info;
    if (options.skip_handshake) {
        info = *options.skip_handshake;
        if (auto fault = check_export(info); fault.code != FaultCode::none) return Failure{fault};
    } else {
        auto negotiated =
            negotiate(socket.value(), address.export_name, options.handshake_time_max);
        if (!negotiated) return Failure{negotiated.error()};
        info = negotiated.value();
    }
    auto waker = Waker::create();
    if (!waker) return Failure{waker.error()};
    return std::unique_ptr<Connection>(
        new Connection(std::move(socket.value()), std::move(waker.value()), info, options, sink));
}

Connection::Connection(Socket socket, std::unique_ptr<Waker> waker, const ExportInfo& info,
                       const ConnectOptions& options, CompletionSink& sink)
    : info_(info),
      sink_(sink),
      socket_(std::move(socket)),
      waker_(std::move(waker)),
      table_(options.commands_max, WireTerms::of({.info = info})),
      parser_(table_, *this) {
    // Under the lock, so that the reader and every later caller of kick() see the id.
    const std::lock_guard lock(lock_);
    reader_ = std::thread([this] { read_until_end(); });
    reader_id_ = reader_.get_id();
}

Connection::~Connection() {
    close();
}

Fault Connection::fault() const {
    const std::lock_guard lock(lock_);
    return fault_;
}

// Sending.

Connection::Admission Connection::admit(const Command& command) noexcept {
    const std::lock_guard lock(lock_);
    if (fault_.code != FaultCode::none || closing_) return Admission::gone;
    return table_.admit(command) ? Admission::accepted : Admission::full;
}

void Connection::kick() noexcept {
    std::unique_lock lock(lock_);
    // The reader sends when it has parsed everything; a sender takes the new work along.
    if (reader_id_ == std::this_thread::get_id()) return;
    send_queued(lock);
}

void Connection::send_queued(std::unique_lock<std::mutex>& lock) noexcept {
    if (sending_ || send_full_) return;
    sending_ = true;
    while (fault_.code == FaultCode::none) {
        if (batch_.empty()) {
            if (!table_.anything_to_send()) break;
            batch_.fill(table_);
        }
        if (!send_batch(lock)) break;
    }
    sending_ = false;
    if (fault_.code != FaultCode::none) changed_.notify_all();
}

/// One system call. False: no room, or the end.
bool Connection::send_batch(std::unique_lock<std::mutex>& lock) noexcept {
    lock.unlock();
    const auto sent = socket_.send(batch_.slices());
    if (sent.status == Status::ok)
        batch_.advance(sent.bytes, [this](Slot& slot) { hand_over(slot); });
    lock.lock();
    if (sent.status == Status::ok) return true;
    if (sent.status == Status::would_block) {
        send_full_ = true;
        if (reader_id_ != std::this_thread::get_id()) waker_->wake();
    } else {
        declare_end(lock, socket_fault("while sending", sent.error));
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
        std::unique_lock lock(lock_);
        if (error == 0 && table_.continue_command(slot)) {
            // The reader sends after parsing; a foreign sender's loop sees the queue again.
            return;
        }
        table_.retire(slot);
        if (draining_ && table_.admitted() == 0) changed_.notify_all();
    }
    sink_.completed(cookie, {.error = error});
}

bool Connection::receive_once() noexcept {
    const auto plan = parser_.plan();
    const auto got = socket_.receive(std::span(plan.slices).first(plan.count));
    std::unique_lock lock(lock_, std::defer_lock);
    switch (got.status) {
        case Status::would_block: return true;
        case Status::closed:
            lock.lock();
            declare_end(lock, {.code = closing_ ? FaultCode::closed : FaultCode::hang_up,
                               .step = parser_.at_boundary() ? "in transmission"
                                                             : "in the middle of a reply"});
            return false;
        case Status::failed:
            lock.lock();
            declare_end(lock, socket_fault("while receiving", got.error));
            return false;
        case Status::ok: break;
    }
    const auto& fault = parser_.received(got.bytes);
    lock.lock();
    if (fault.code != FaultCode::none) {
        declare_end(lock, fault);
        return false;
    }
    send_queued(lock);
    return fault_.code == FaultCode::none;
}

void Connection::read_until_end() noexcept {
    std::unique_lock lock(lock_);
    while (fault_.code == FaultCode::none) {
        const bool wait_for_room = send_full_;
        lock.unlock();
        const auto ready = wait_for(socket_, true, wait_for_room, waker_.get(), milliseconds(-1));
        if (ready.woken) waker_->drain();
        const bool alive = !ready.readable || receive_once();
        lock.lock();
        if (!alive) break;
        if (ready.writable && send_full_) {
            send_full_ = false;
            send_queued(lock);
        }
    }
    // A sender may still be at work on buffers that are about to be given back.
    changed_.wait(lock, [this] { return !sending_; });
    batch_.abandon();
    lock.unlock();
    complete_all_disconnected();
}

// The end.

void Connection::declare_end(std::unique_lock<std::mutex>&, Fault fault) noexcept {
    if (fault_.code != FaultCode::none) return;
    fault_ = std::move(fault);
    socket_.shutdown_both();
    waker_->wake();
    changed_.notify_all();
}

void Connection::complete_all_disconnected() noexcept {
    for (auto& slot : table_.slots()) {
        void* cookie = nullptr;
        {
            const std::lock_guard lock(lock_);
            if (!slot.admitted) continue;
            cookie = slot.command.cookie;
            table_.retire(slot);
            if (draining_ && table_.admitted() == 0) changed_.notify_all();
        }
        sink_.completed(cookie, {.disconnected = true});
    }
}

bool Connection::drain(Clock::time_point deadline) noexcept {
    std::unique_lock lock(lock_);
    draining_ = true;
    const bool drained =
        changed_.wait_until(lock, deadline, [this] { return table_.admitted() == 0; });
    draining_ = false;
    return drained;
}

void Connection::close() noexcept {
    {
        std::unique_lock lock(lock_);
        closing_ = true;
        if (fault_.code == FaultCode::none && table_.admitted() == 0) say_goodbye(lock);
        declare_end(lock, {.code = FaultCode::closed});
    }
    if (reader_.joinable()) reader_.join();
}

/// Nothing is in flight, so nobody else sends. The server closes its side when it has read the
/// message; the reader then declares the end.
void Connection::say_goodbye(std::unique_lock<std::mutex>& lock) noexcept {
    std::array<std::uint8_t, extended_request_size> message;
    const auto size =
        encode_request(message, table_.terms().format, {.type = CommandType::disconnect});
    const IoSlice slice{message.data(), size};
    // 28 bytes into an idle socket: if they do not fit, the server is past caring.
    if (socket_.send({&slice, 1}).status != Status::ok) return;
    socket_.shutdown_send();
    changed_.wait_until(lock, Clock::now() + goodbye_time_max,
                        [this] { return fault_.code != FaultCode::none; });
}

}  // namespace wnbd::nbd
