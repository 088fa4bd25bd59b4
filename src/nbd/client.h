// SPDX-License-Identifier: LGPL-2.1-or-later
// An export as one thing that takes requests: over one connection or several, through losses and
// reconnects. Passive: no thread, no socket, no clock. A shell brings streams, time and threads
// (client_shell.h), or a simulation does.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <vector>

#include "nbd/connection.h"
#include "nbd/recovery.h"
#include "nbd/request_chain.h"
#include "nbd/unflushed.h"
#include "nbd/write_guard.h"

namespace wnbd::nbd {

struct ClientLimits {
    std::uint32_t commands_max = 256;  // in flight on each connection
    unsigned connections = 1;          // at most; 1 to max_connections
    /// A request that is in flight for longer takes its connection for dead. 0: for ever.
    std::chrono::milliseconds request_time_max{0};
    /// A connection on which nothing came for so long is asked for a block. 0: never.
    std::chrono::milliseconds keep_alive{0};
    /// How long the end of the server's side is waited for when we end a connection.
    std::chrono::milliseconds linger{2'000};
    /// The same after NBD_CMD_DISC at close().
    std::chrono::milliseconds farewell{1'000};
    /// Whatever changes the export is stable before its `done`: by FUA where the server has it,
    /// else by a flush after each change.
    bool write_through = false;
    ReconnectPolicy reconnect{};
};

/// While online, a request goes to the connection of its place, or, when that connection's table
/// is full or its range overlaps a change in flight, into the *line*: first come, first served, and
/// nobody overtakes. While not online, all that are not acknowledged are in the line, those that
/// had been sent first; they go out again when a connection is back. When recovery gives up they
/// complete as disconnected. All connections are of one *incarnation*: when one is lost all are
/// ended, because only within one server's life a flush on one covers the writes of the others
/// (NBD_FLAG_CAN_MULTI_CONN).
///
/// Thread-safe. Locks: the state's, then the line's, then a connection's. None is held in `done`,
/// and none but the connection's is taken for a request while the line is empty.
class Client final : private ConnectionSink {
  public:
    static constexpr unsigned max_connections = 16;
    /// A server that answers ESHUTDOWN is left, and what it sent away is kept for its successor; so
    /// often, then the request fails with that error.
    static constexpr unsigned shutdowns_max = 5;
    /// A server may say CAN_MULTI_CONN and then not serve so many. When so many incarnations in a
    /// row have ended with a further connection that went at once and without a word, no more are
    /// asked for than were there before it.
    static constexpr unsigned stillborn_max = 2;

    /// `first`: what the disk is built on. `addresses`: how many the export has; `address`: the one
    /// that attach() will bring the first connection of.
    Client(const ClientLimits& limits, const Agreement& first, std::size_t addresses,
           std::size_t address);
    /// Closed and all connections detached, or never attached.
    ~Client();
    Client(const Client&) = delete;
    Client& operator=(const Client&) = delete;

    /// In order, sent together. The ranges lie within the export (what the server refuses comes
    /// back as its error).
    void submit(std::span<Request* const> requests) noexcept;

    [[nodiscard]] const Agreement& agreement() const noexcept { return first_; }  // the first one
    [[nodiscard]] std::uint64_t size() const noexcept { return size_.load(); }  // bytes; may change

    // The shell's side. For each connection: attach(), then on one thread wait() and step() until
    // it is over, then detached().

    [[nodiscard]] Connection& connection(unsigned index) noexcept {
        return *lanes_[index].connection;
    }
    /// A new incarnation begins with connection 0, or a further one joins it, in order. Refused
    /// when the export is not the one it was, or nobody waits for it any more. The time is the
    /// caller's in all that follows; it never goes back.
    [[nodiscard]] Fault attach(unsigned index, std::unique_ptr<Stream> stream,
                               const Agreement& agreement, TimePoint now);
    /// The connection's step() said that it is over.
    void detached(unsigned index, TimePoint now) noexcept;

    /// What is to be done next.
    struct Chore {
        /// Connect to this address for connection `index`; attach() or dial_failed() answers.
        std::optional<std::size_t> dial{};
        unsigned index = 0;
        /// Whatever is being dialled is of no use any more: dial_failed() at once, please.
        bool abandon_dial = false;
        /// Call again then at the latest, and after each detached(), attach() and dial_failed().
        std::optional<TimePoint> next{};
    };
    /// Connects, looks after deadlines, keep-alive, and endings.
    [[nodiscard]] Chore look_after(TimePoint now) noexcept;
    void dial_failed(Fault fault, TimePoint now) noexcept;

    enum class Phase : std::uint8_t {
        fresh,     // before the first attach()
        online,    // at least one connection is up
        breaking,  // one was lost: the others end
        down,      // none is left; recovery decides
        ended,     // gave up, or closed: for good
    };
    struct Status {
        Phase phase = Phase::fresh;
        Fault fault{};            // why it is not online; of an end, what led to it
        std::size_t address = 0;  // of the present incarnation, or the last one
        std::uint64_t reconnects = 0;
        unsigned attempts = 0;     // to reconnect, since the loss
        unsigned connections = 0;  // that are up
        std::uint64_t size = 0;    // bytes
        /// At the loss that the last reconnect has ended, something had been acknowledged that no
        /// flush covered: gone, if the server has lost its cache since.
        bool unflushed_at_loss = false;
    };
    [[nodiscard]] Status status() const noexcept;

    /// Takes nothing any more. What waits completes with error_shutdown; says DISC where nothing is
    /// in flight, else cuts, and what is in flight completes as disconnected. Idempotent. The
    /// connections still have to be stepped until they are detached.
    void close(TimePoint now) noexcept;
    /// No request is in flight or waits.
    [[nodiscard]] bool idle() noexcept;

  private:
    using Chain = RequestChain;
    using Mask = std::uint32_t;  // a bit for each connection
    struct Lane {
        std::unique_ptr<Connection> connection;
        // Which others have got requests within its present step: they are kicked at its end.
        alignas(64) Mask deferred = 0;
    };
    enum class WriteThrough : std::uint8_t { off, forced, flushed };
    [[nodiscard]] static WriteThrough write_through_for(const ExportInfo& info) noexcept;
    [[nodiscard]] static bool caches(const ClientLimits& limits, const ExportInfo& info) noexcept;

    void completed(Connection& connection, void* cookie, std::uint32_t error) noexcept override;
    void received_all(Connection& connection) noexcept override;

    // Requests.
    [[nodiscard]] unsigned index_of(const Request& request) const noexcept;
    [[nodiscard]] Command command_of(Request& request) const noexcept;
    [[nodiscard]] bool try_admit(Connection::Entrance& entrance, Request& request) noexcept;
    void wait_in_line(std::span<Request* const> requests) noexcept;
    [[nodiscard]] Mask admit_waiting(Chain& failed) noexcept;
    void pump(Mask touched = 0) noexcept;
    void kick(Mask touched) noexcept;
    [[nodiscard]] Lane* stepped_here() noexcept;
    void begin_flush(Request& request) noexcept;
    void note_success(const Request& request) noexcept;
    [[nodiscard]] bool keep(Request& request) noexcept;
    void finish(Request& request, Outcome outcome) noexcept;
    void finish_all(Chain& chain, Outcome outcome) noexcept;

    // Phases, under the state's lock.
    void note_loss_of(unsigned index, TimePoint now) noexcept;
    void break_off(const Fault& fault, TimePoint now) noexcept;
    void end_connections(const Fault& fault, Connection::Ending how) noexcept;
    void all_detached(Chain& over) noexcept;
    void end_line(Outcome outcome, Chain& over) noexcept;
    void advance_time(TimePoint now) noexcept;
    [[nodiscard]] Mask check_connections(TimePoint now) noexcept;
    [[nodiscard]] Mask look_after_online(Chore& chore, TimePoint now) noexcept;
    void join(Chore& chore, TimePoint now) noexcept;
    void look_after_breaking(Chore& chore, TimePoint now) noexcept;
    void look_after_down(Chore& chore, TimePoint now, Chain& over) noexcept;
    [[nodiscard]] Fault check_first(const Agreement& agreement, TimePoint now);
    [[nodiscard]] Fault check_join(unsigned index, const Agreement& agreement) const;

    const ClientLimits limits_;
    const Agreement first_;
    const WriteThrough write_through_;
    const bool caching_;                    // a change may be acknowledged before it is stable
    const bool guarding_;                   // there may be replays
    const std::chrono::milliseconds tick_;  // how often the time is told
    std::vector<Lane> lanes_;
    std::unique_ptr<WriteGuard> guard_;
    std::atomic<std::uint64_t> size_;
    std::atomic<unsigned> active_{0};  // connections that requests are spread over
    /// Writes whose flush is to come: only then is it counted (WriteThrough::flushed).
    std::atomic<std::uint32_t> unflushed_{0};
    Unflushed cached_;  // while caching_

    // How many wait in the line; the top bit is set while not online. It grows before a request is
    // first refused by a full table or by the guard, so that whoever makes room sees it.
    static constexpr std::uint32_t offline = 1U << 31;
    alignas(64) std::atomic<std::uint32_t> waiting_{offline};
    std::mutex line_lock_;
    Chain line_;                            // those that hold a range in the guard come first
    std::optional<Outcome> end_outcome_{};  // of all that come, for good

    mutable std::mutex state_lock_;  // of all that follows
    Phase phase_ = Phase::fresh;
    bool closing_ = false;
    bool dialling_ = false;   // a chore's dial is not answered
    bool joining_ = false;    // it is for a further connection
    TimePoint join_again_{};  // not before then
    unsigned attached_ = 0;   // connections; while online the first ones
    unsigned wanted_ = 1;     // connections, of this incarnation
    unsigned wanted_max_;     // of any: less than the lanes when the server has refused more
    unsigned stillborn_ = 0;  // incarnations in a row that a further connection has ended so
    TimePoint joined_at_{};   // the last further connection
    std::size_t address_;     // of this incarnation
    std::size_t dialled_;     // address of the present attempt
    Chain unanswered_;        // of this incarnation, by sequence
    TimePoint break_end_{};   // then the connections are cut
    Recovery recovery_;
    Fault fault_{};
    bool unflushed_at_loss_ = false;
    std::optional<TimePoint> looked_at_{};
    std::uint32_t time_ = 0;  // milliseconds in which somebody looked after us
};

}  // namespace wnbd::nbd
