// SPDX-License-Identifier: LGPL-2.1-or-later
// A byte stream to a server, whatever carries it: a socket, TLS over one, a simulation.
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <span>

#include "nbd/fault.h"
#include "nbd/io_slice.h"

namespace wnbd::nbd {

struct IoResult {
    enum class Status : std::uint8_t { ok, would_block, closed, failed };
    Status status = Status::ok;
    std::size_t bytes = 0;
    int error = 0;  // the system's number, when failed
};

/// What a wait() is for, besides something to receive.
struct WaitFor {
    bool room = false;  // room to send, too
    /// Few answers are due, and who waits for them has nothing else to do: spinning may pay. With
    /// nothing or much in flight it does not.
    bool soon = false;
    /// More than 0: many answers are due, and few came last. A pause of this time first, where the
    /// system can make so short a one, lets them come together. The wait may end with it, and say
    /// readable of what is not there yet.
    std::chrono::microseconds pause{0};
    std::chrono::milliseconds time_max{-1};  // negative: for ever
};

struct Ready {
    bool readable = false;  // or closed, or failed: receive() tells
    bool writable = false;
    bool woken = false;
};

/// One thread may send while another receives and waits; shut_down() and wake() may come from any
/// thread. Nothing blocks but wait(). Nothing is allocated after the stream is open.
class Stream {
  public:
    /// The most slices that one send() or receive() takes.
    static constexpr std::size_t max_slices = 256;

    virtual ~Stream() = default;

    /// Gathers up to max_slices slices; may take a part of them. What is taken needs no memory of
    /// the caller's any more. What is not taken comes first in the next call, unchanged: TLS may
    /// have encrypted it already.
    [[nodiscard]] virtual IoResult send(std::span<const IoSlice> slices) noexcept = 0;
    /// Scatters what is there. `closed` when the peer has ended its side.
    [[nodiscard]] virtual IoResult receive(std::span<const IoSlice> slices) noexcept = 0;

    /// Waits until there is something to receive, or what else was asked for, or somebody called
    /// wake(), or the time is over (nothing is set then). May say readable when there is nothing:
    /// receive() tells. May spin for a bounded time before it sleeps. The receiving thread's.
    [[nodiscard]] virtual Ready wait(const WaitFor& what) noexcept = 0;
    /// Ends the present wait(), or the next one.
    virtual void wake() noexcept = 0;

    /// Ends both directions at once: send() and receive() fail or say closed from now on.
    virtual void shut_down() noexcept = 0;
    /// Says that nothing more will be sent (TLS: close_notify first).
    virtual void shut_down_send() noexcept = 0;

    /// Why send() or receive() failed, if more is known than the system's number; else the code is
    /// none. Thread-safe.
    [[nodiscard]] virtual Fault failure() const { return {}; }
    /// What the system says of a number that send() or receive() failed with. Any thread.
    [[nodiscard]] virtual FaultText explain(int /*error*/) const noexcept { return {}; }

    /// failure(), or else what the number tells; `step`: what was being done.
    [[nodiscard]] Fault failure_of(const IoResult& result, const char* step) const {
        auto known = failure();
        if (known.code != FaultCode::none) return known;
        return {.code = FaultCode::socket_failed,
                .got = static_cast<std::uint64_t>(result.error),
                .step = step,
                .text = explain(result.error)};
    }
};

}  // namespace wnbd::nbd
