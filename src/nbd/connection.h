// SPDX-License-Identifier: LGPL-2.1-or-later
// A connection in transmission: requests in, replies out, over any stream. Passive: no thread, no
// clock, no dialling; whoever owns it calls step() when the stream has something.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "nbd/export_info.h"
#include "nbd/fault.h"
#include "nbd/reply_parser.h"
#include "nbd/request_table.h"
#include "nbd/send_batch.h"
#include "nbd/stream.h"

namespace wnbd::nbd {

class Connection;

/// Who hears of replies: on the thread in step(), or on a sending one if a reply overtook the news
/// that its payload had been sent. May admit further commands; no lock is held.
class ConnectionSink {
  public:
    /// The server has answered; `error` is of the protocol, 0: done.
    virtual void completed(Connection& connection, void* cookie, std::uint32_t error) noexcept = 0;
    /// step() has completed all that it received, and sends what was admitted meanwhile next.
    virtual void received_all(Connection& connection) noexcept = 0;

  protected:
    ~ConnectionSink() = default;
};

/// Who may do what while a stream is attached:
/// - any thread admits commands and kicks; `lock_` guards the table, the queue and the flags;
/// - one thread at a time is the sender (`sending_`): it alone touches `batch_` and sends, without
///   the lock. Who kicks becomes the sender if there is none, else the present one takes the new
///   work along;
/// - one thread waits for the stream and steps: it receives, parses and completes. What its
///   completions admit goes out together after it has parsed everything it received: that is where
///   requests become batches. It also takes the sending over when the stream is full, because it
///   can wait for room;
/// - any thread may declare the end. The stepping thread learns of it, and takes back what is
///   unanswered when no sender is left.
/// An object serves one stream after another; those who admit need not know when.
class Connection final : private ReplySink {
  public:
    Connection(std::uint32_t commands_max, ConnectionSink& sink);
    ~Connection();
    Connection(const Connection&) = delete;
    Connection& operator=(const Connection&) = delete;

    /// Begins with a stream that is in transmission. Only when none is attached. `time`: see
    /// set_time().
    void attach(std::unique_ptr<Stream> stream, const Agreement& agreement, std::uint32_t time);

    enum class Admission : std::uint8_t { accepted, full, gone };

    /// The lock, held for several admissions.
    class Entrance {
      public:
        /// Takes a command: it is completed, or taken back by detach(), exactly once if accepted.
        /// Nothing is sent before kick(). The command's data stay the caller's and must live until
        /// then.
        [[nodiscard]] Admission admit(const Command& command) noexcept;
        /// The number of the command that is admitted next: they only grow.
        [[nodiscard]] std::uint64_t next_sequence() const noexcept {
            return connection_.sequence_ + 1;
        }

      private:
        friend class Connection;
        explicit Entrance(Connection& connection) noexcept
            : connection_(connection), lock_(connection.lock_) {}
        Connection& connection_;
        std::unique_lock<std::mutex> lock_;
    };
    /// No other call to this connection while the Entrance lives.
    [[nodiscard]] Entrance enter() noexcept { return Entrance(*this); }
    [[nodiscard]] Admission admit(const Command& command) noexcept {
        return enter().admit(command);
    }
    /// Sends what was admitted. Cheap when somebody else will do so: a sender, or step().
    void kick() noexcept;

    // The waiting thread's.

    /// Valid from attach() to detach().
    [[nodiscard]] Stream& stream() noexcept { return *stream_; }
    /// What its next wait is for.
    [[nodiscard]] WaitFor wants() noexcept;
    enum class Step : std::uint8_t { goes_on, ending, over };
    /// Receives, parses, completes, sends. Ending: another thread is about to leave; step again
    /// soon. Over: nothing more will happen; call detach() next.
    [[nodiscard]] Step step(Ready ready) noexcept;
    /// True within step(), on its thread.
    [[nodiscard]] bool stepped_here() const noexcept {
        return stepper_.load(std::memory_order_relaxed) == std::this_thread::get_id() && in_step_;
    }
    /// Gives the stream away and the cookie of each command that was not answered, in the order of
    /// admission, under the lock.
    /// After step() said over.
    template <typename Each>
    [[nodiscard]] std::unique_ptr<Stream> detach(Each&& each) noexcept {
        const std::lock_guard lock(lock_);
        table_.take_back([&](const Command& command) {
            if (command.cookie != this) each(command.cookie);
        });
        batch_.abandon();
        open_ = false;
        probing_ = false;
        return std::move(stream_);
    }

    enum class Ending : std::uint8_t {
        orderly,  // nothing more is sent (DISC, if nothing is in flight; after a probe's answer);
                  // replies are still taken until the server ends its side
        hard,     // both directions at once
    };
    /// Takes nothing any more. The first fault counts, hard overrules orderly. Any thread.
    void end(Fault fault, Ending how) noexcept;

    /// Why it ended; the code is none while it lives.
    [[nodiscard]] Fault fault() const;
    /// Commands in flight, a probe not among them.
    [[nodiscard]] std::uint32_t in_flight() const noexcept;

    /// The time, as somebody tells it now and then: in whatever unit, wrapping around.
    void set_time(std::uint32_t time) noexcept;
    /// Whether a byte has come since attach(). The waiting thread's.
    [[nodiscard]] bool heard_anything() const noexcept { return heard_anything_; }
    /// When a byte came last.
    [[nodiscard]] std::uint32_t heard() const noexcept {
        return heard_.load(std::memory_order_relaxed);
    }
    /// The age of the request that has waited longest for its reply (a long command is many
    /// requests, one after the other); nothing when none does.
    [[nodiscard]] std::optional<std::uint32_t> oldest_age() noexcept;
    /// Asks the server for the export's first block, into a buffer of the connection's own, if
    /// nothing is in flight. Nobody hears of the answer but heard().
    void probe() noexcept;

  private:
    void replied(Slot& slot, std::uint32_t error) noexcept override;
    void finish(Slot& slot, std::uint32_t error) noexcept;

    void send_queued(std::unique_lock<std::mutex>& lock) noexcept;
    bool send_batch(std::unique_lock<std::mutex>& lock) noexcept;
    void hand_over(Slot& slot) noexcept;

    void receive() noexcept;
    void receive_ended(const IoResult& got) noexcept;
    // Under the lock:
    void declare_end(Fault fault, Ending how) noexcept;
    void say_farewell() noexcept;
    void probe_answered() noexcept;

    ConnectionSink& sink_;

    mutable std::mutex lock_;  // of everything down to the blank line
    std::unique_ptr<Stream> stream_;
    RequestTable table_;
    bool open_ = false;           // takes commands
    bool sending_ = false;        // somebody is the sender
    bool send_full_ = false;      // the batch waits for the stepping thread to see room
    bool ended_ = false;          // nothing more will be received
    bool farewell_ = false;       // nothing more is to be sent
    bool farewell_said_ = false;  // and the server knows
    bool probing_ = false;        // a probe is in flight
    std::uint64_t sequence_ = 0;
    Fault fault_;
    std::vector<std::uint8_t> probe_buffer_;  // there before it is needed
    std::size_t probe_size_ = 0;              // bytes

    SendBatch batch_;                    // the sender's
    ReplyParser parser_;                 // the stepping thread's
    bool in_step_ = false;               // the same, and what follows
    std::uint32_t arrived_replies_ = 0;  // with the last step that received
    std::size_t arrived_bytes_ = 0;
    bool heard_anything_ = false;
    // Hardly ever written, read by all who kick.
    alignas(64) std::atomic<std::thread::id> stepper_{};
    std::atomic<std::uint32_t> time_{0};
    std::atomic<std::uint32_t> heard_{0};
};

}  // namespace wnbd::nbd
