// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/tls_stream.h"

#include <algorithm>
#include <utility>

#include "nbd/socket.h"
#include "nbd/tls_text.h"

namespace wnbd::nbd {
namespace {

using Status = IoResult::Status;
using Deadline = std::chrono::steady_clock::time_point;

std::size_t total(std::span<const IoSlice> slices) noexcept {
    std::size_t bytes = 0;
    for (const auto& slice : slices)
        bytes += slice.size;
    return bytes;
}

/// Sends what the session has for its peer, until the carrier is full.
IoResult send_output(Stream& carrier, TlsSession& session) noexcept {
    for (auto output = session.output(); !output.empty(); output = session.output()) {
        const IoSlice slice{const_cast<std::uint8_t*>(output.data()), output.size()};
        const auto sent = carrier.send({&slice, 1});
        if (sent.status != Status::ok) return sent;
        session.sent(sent.bytes);
    }
    return {};
}

/// The session's handshake over its carrier, step by step.
class Opening {
  public:
    Opening(Stream& carrier, TlsSession& session, Deadline deadline) noexcept
        : carrier_(carrier), session_(session), deadline_(deadline) {}

    Fault run() {
        for (;;) {
            const auto step = session_.handshake();
            if (!step) {
                // The alert that tells the server why: it goes if it can.
                (void)send_output(carrier_, session_);
                return step.error();
            }
            if (auto fault = send_all(); fault.code != FaultCode::none) return fault;
            if (step.value()) return {};
            // A server that talks without end gets no more time than one that is silent.
            if (std::chrono::steady_clock::now() >= deadline_) return timed_out();
            if (auto fault = receive_some(); fault.code != FaultCode::none) return fault;
        }
    }

  private:
    Fault send_all() {
        for (;;) {
            const auto sent = send_output(carrier_, session_);
            if (sent.status == Status::ok) return {};
            if (sent.status != Status::would_block) return carrier_fault(sent);
            if (auto fault = wait(true); fault.code != FaultCode::none) return fault;
        }
    }

    Fault receive_some() {
        for (;;) {
            const auto window = session_.receive_window();
            const IoSlice slice{window.data(), window.size()};
            const auto got = carrier_.receive({&slice, 1});
            if (got.status == Status::ok) {
                session_.received(got.bytes);
                return {};
            }
            if (got.status != Status::would_block) return carrier_fault(got);
            if (auto fault = wait(false); fault.code != FaultCode::none) return fault;
        }
    }

    Fault wait(bool room) {
        const auto left = std::chrono::ceil<std::chrono::milliseconds>(
            deadline_ - std::chrono::steady_clock::now());
        if (left.count() <= 0) return timed_out();
        const auto ready = carrier_.wait({.room = room, .time_max = left});
        if (ready.woken) return {.code = FaultCode::closed};
        return {};
    }

    [[nodiscard]] Fault timed_out() const {
        const auto patience =
            std::chrono::duration_cast<std::chrono::milliseconds>(deadline_ - began_);
        return {.code = FaultCode::timed_out,
                .expected = static_cast<std::uint64_t>(std::max<std::int64_t>(patience.count(), 0)),
                .step = "during the TLS handshake"};
    }

    [[nodiscard]] Fault carrier_fault(const IoResult& result) const {
        auto truncated = session_.truncated();
        if (result.status == Status::closed || tls::concerns_client_certificate(truncated))
            return truncated;
        if (auto fault = carrier_.failure(); fault.code != FaultCode::none) return fault;
        return {.code = FaultCode::socket_failed,
                .got = static_cast<std::uint64_t>(result.error),
                .step = "during the TLS handshake",
                .text = system_error_text(result.error)};
    }

    Stream& carrier_;
    TlsSession& session_;
    const Deadline deadline_;
    const Deadline began_ = std::chrono::steady_clock::now();
};

}  // namespace

Result<std::unique_ptr<TlsStream>, Fault> TlsStream::open(
    std::unique_ptr<Stream>&& carrier, std::shared_ptr<const TlsCredentials> credentials,
    const std::string& hostname, std::chrono::steady_clock::time_point deadline) {
    auto session = TlsSession::create(std::move(credentials), hostname);
    if (!session) return Failure{session.error()};
    if (auto fault = Opening(*carrier, *session.value(), deadline).run();
        fault.code != FaultCode::none)
        return Failure{std::move(fault)};
    return std::make_unique<TlsStream>(std::move(carrier), std::move(session.value()));
}

TlsStream::TlsStream(std::unique_ptr<Stream> carrier, std::unique_ptr<TlsSession> session) noexcept
    : carrier_(std::move(carrier)), session_(std::move(session)) {}

TlsStream::~TlsStream() = default;

IoResult TlsStream::send(std::span<const IoSlice> slices) noexcept {
    if (const auto flushed = send_output(*carrier_, *session_); flushed.status != Status::ok)
        return carrier_failed(flushed);
    if (encrypted_ == 0) {
        auto taken = session_->encrypt(slices);
        if (!taken) return fail(taken.error());
        encrypted_ = taken.value();
        // While a part of it is still here nothing counts as taken: so the caller knows that there
        // is something left to send, and the same bytes come again when there is room.
        if (const auto flushed = send_output(*carrier_, *session_); flushed.status != Status::ok)
            return carrier_failed(flushed);
    }
    const auto bytes = std::min(encrypted_, total(slices));
    encrypted_ -= bytes;
    return {.bytes = bytes};
}

IoResult TlsStream::receive(std::span<const IoSlice> slices) noexcept {
    if (total(slices) == 0) return {};
    for (;;) {
        auto got = session_->decrypt(slices);
        if (!got) return fail(got.error());
        maybe_more_ = got.value().more;
        if (got.value().state == TlsSession::Incoming::data) return {.bytes = got.value().bytes};
        if (got.value().state == TlsSession::Incoming::closed) {
            if (refused()) return {.status = Status::failed};
            return {.status = Status::closed};
        }

        const auto window = session_->receive_window();
        const IoSlice slice{window.data(), window.size()};
        const auto received = carrier_->receive({&slice, 1});
        if (received.status == Status::closed) return fail(session_->truncated());
        if (received.status == Status::failed) return carrier_failed(received);
        if (received.status != Status::ok) return received;
        session_->received(received.bytes);
    }
}

Ready TlsStream::wait(const WaitFor& what) noexcept {
    if (!maybe_more_) return carrier_->wait(what);
    Ready ready;
    if (what.room) ready = carrier_->wait({.room = true, .time_max = std::chrono::milliseconds(0)});
    ready.readable = true;
    return ready;
}

void TlsStream::wake() noexcept {
    carrier_->wake();
}
void TlsStream::shut_down() noexcept {
    carrier_->shut_down();
}

void TlsStream::shut_down_send() noexcept {
    // Behind what is not out yet there is no farewell: a server must not take a torn stream for an
    // ended one.
    if (send_output(*carrier_, *session_).status == Status::ok) {
        session_->close();
        (void)send_output(*carrier_, *session_);
    }
    carrier_->shut_down_send();
}

/// A server that verifies after the handshake hangs up, be it by a reset or with a farewell.
bool TlsStream::refused() noexcept {
    auto fault = session_->truncated();
    if (!tls::concerns_client_certificate(fault)) return false;
    (void)fail(std::move(fault));
    return true;
}

IoResult TlsStream::carrier_failed(const IoResult& result) noexcept {
    if (result.status == Status::failed) (void)refused();
    return result;
}

IoResult TlsStream::fail(Fault fault) noexcept {
    const std::lock_guard lock(fault_lock_);
    if (fault_.code == FaultCode::none) fault_ = std::move(fault);
    return {.status = Status::failed};
}

Fault TlsStream::failure() const {
    {
        const std::lock_guard lock(fault_lock_);
        if (fault_.code != FaultCode::none) return fault_;
    }
    return carrier_->failure();
}

}  // namespace wnbd::nbd
