// SPDX-License-Identifier: LGPL-2.1-or-later
// What to do when the way to the server is lost: when to try again, where, what to accept, when to
// give up. Decides only: no socket, no thread, no clock (the caller says what time it is).
#pragma once

#include <chrono>
#include <cstddef>
#include <cstdint>
#include <optional>

#include "nbd/fault.h"
#include "nbd/handshake.h"

namespace wnbd::nbd {

using TimePoint = std::chrono::steady_clock::time_point;

/// What becomes of requests when the server stays away for longer than the policy waits.
enum class OnTimeout : std::uint8_t {
    fail,  // they fail, and so does whatever comes later: the disk is lost
    hold,  // they wait for as long as it takes
};

struct ReconnectPolicy {
    /// Before the second round over the addresses, the first is made at once; doubled with each
    /// round, up to delay_max. At least 1 ms.
    std::chrono::milliseconds delay{1'000};
    std::chrono::milliseconds delay_max{30'000};
    /// From the loss on. 0: a lost connection is not opened again. Means nothing with hold.
    std::chrono::milliseconds timeout{60'000};
    OnTimeout on_timeout = OnTimeout::fail;
};

/// What a server that came back says of the export, compared with what the disk was built on.
struct Comparison {
    enum class Verdict : std::uint8_t { same, resized, refused };
    Verdict verdict = Verdict::same;
    Fault fault{};  // when refused: what has changed
};
/// Refused: read-only now, an ability gone that the disk offers (flush, FUA, trim, write zeroes), a
/// larger minimum block, another canonical name (where both servers said one). Any maximum payload,
/// and whether several connections are allowed, is no difference.
[[nodiscard]] Comparison compare_exports(const ExportInfo& before, const ExportInfo& now);

/// Not thread-safe.
class Recovery {
  public:
    enum class State : std::uint8_t {
        online,      // connected, or at first: connecting is the opener's matter
        waiting,     // for the next attempt's time
        attempting,  // due() was answered with an address, opened() or attempt_failed() follows
        gave_up,     // for good
    };

    /// A connection that held for so long was one, however long the policy's delay is.
    static constexpr std::chrono::milliseconds held_min{2'000};

    /// `addresses`: how many the export has, at least one; `current` is the one that is connected.
    Recovery(const ReconnectPolicy& policy, std::size_t addresses,
             std::size_t current = 0) noexcept;

    [[nodiscard]] State state() const noexcept { return state_; }
    /// The connection is lost. Ignored unless online. A connection that held for less than the
    /// policy's delay, and less than `held_min`, was none: the round goes on, and so does the
    /// time-out from the loss before it. So a server that dies of a request, again and again, is
    /// not asked for ever, and another address gets its turn.
    void lost(TimePoint now, const Fault& fault) noexcept;
    /// The address that must be tried now; nothing when it is not yet time. With the last good one
    /// begins each round; within a round there is no delay.
    [[nodiscard]] std::optional<std::size_t> due(TimePoint now) noexcept;
    /// Ignored unless attempting.
    void attempt_failed(TimePoint now, Fault fault) noexcept;
    /// False: it had given up meanwhile, the connection is of no use.
    [[nodiscard]] bool opened(TimePoint now) noexcept;
    /// Must be called when next() has come: gives up when the policy's time is over, also in the
    /// middle of an attempt.
    void tick(TimePoint now) noexcept;
    /// When due() or tick() has something new to say; nothing when it never will by itself.
    [[nodiscard]] std::optional<TimePoint> next() const noexcept;

    /// Since the last loss: when it gives up; nothing when it holds.
    [[nodiscard]] std::optional<TimePoint> gives_up_at() const noexcept;

    /// Why it is not online: the loss at first, then the last attempt's fault.
    [[nodiscard]] const Fault& fault() const noexcept { return fault_; }
    /// Since the loss.
    [[nodiscard]] unsigned attempts() const noexcept { return attempts_; }
    [[nodiscard]] std::uint64_t reconnects() const noexcept { return reconnects_; }

  private:
    void go_on(TimePoint now) noexcept;

    ReconnectPolicy policy_;
    std::size_t addresses_;
    std::size_t current_;     // the last address that held
    std::size_t offset_ = 0;  // of the round: address (current_ + offset_) % addresses_ is next
    State state_ = State::online;
    TimePoint lost_at_{};
    std::optional<TimePoint> opened_at_{};  // of the last reconnect
    TimePoint next_attempt_{};
    std::chrono::milliseconds delay_{0};  // before the next round
    unsigned attempts_ = 0;
    std::uint64_t reconnects_ = 0;
    Fault fault_{};
};

}  // namespace wnbd::nbd
