// SPDX-License-Identifier: LGPL-2.1-or-later
// A connection to one export: the protocol core with a socket and a thread around it.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "base/result.h"
#include "nbd/fault.h"
#include "nbd/handshake.h"
#include "nbd/reply_parser.h"
#include "nbd/request_table.h"
#include "nbd/send_batch.h"
#include "nbd/socket.h"

namespace wnbd::nbd {

/// Who hears of completions: the reader's thread, or a sending one. May admit further commands.
class CompletionSink {
  public:
    virtual void completed(void* cookie, Outcome outcome) noexcept = 0;

  protected:
    ~CompletionSink() = default;
};

struct ConnectOptions {
    std::chrono::milliseconds connect_time_max{10'000};
    std::chrono::milliseconds handshake_time_max{10'000};
    std::uint32_t commands_max = 256;  // in flight
    /// Skips the negotiation: the server must be in transmission at once, and this is what it
    /// serves.
    std::optional<ExportInfo> skip_handshake{};
};

/// Who may do what:
/// - any thread admits commands and kicks; `lock_` guards the table, the queue and the flags;
/// - one thread at a time is the sender (`sending_`): it alone touches `batch_` and sends, without
/// the
///   lock. Who kicks becomes the sender if there is none, else the present one takes the new work
///   along;
/// - the reader's thread receives, parses and completes. What its completions admit goes out
/// together
///   after it has parsed everything it received: that is where requests become batches. It also
///   takes the sending over when the socket is full, because it can wait for room;
/// - the end (`fault_`) is declared once, by whoever meets it; the reader then completes what is
/// left.
class Connection final : private ReplySink {
  public:
    /// Connects and negotiates. `sink` outlives the connection.
    [[nodiscard]] static Result<std::unique_ptr<Connection>, Fault> open(
        const Address& address, const ConnectOptions& options, CompletionSink& sink);
    ~Connection();

    [[nodiscard]] const ExportInfo& export_info() const noexcept { return info_; }

    enum class Admission : std::uint8_t { accepted, full, gone };
    /// Takes a command; its completion follows, exactly once, if accepted. Nothing is sent before
    /// kick(). The command's data stay the caller's and must live until then.
    [[nodiscard]] Admission admit(const Command& command) noexcept;
    /// Sends what was admitted. Cheap when somebody else will do so.
    void kick() noexcept;

    /// Waits until nothing is in flight; false when the deadline came first. Not from a completion.
    [[nodiscard]] bool drain(Clock::time_point deadline) noexcept;
    /// Says NBD_CMD_DISC if nothing is in flight, else cuts the connection; waits for the reader.
    /// Commands in flight complete as disconnected. Idempotent; not from a completion.
    void close() noexcept;

    /// Why the connection ended; the code is none while it lives.
    [[nodiscard]] Fault fault() const;

  private:
    Connection(Socket socket, std::unique_ptr<Waker> waker, const ExportInfo& info,
               const ConnectOptions& options, CompletionSink& sink);

    void replied(Slot& slot, std::uint32_t error) noexcept override;
    void finish(Slot& slot, std::uint32_t error) noexcept;
    void complete_all_disconnected() noexcept;

    void send_queued(std::unique_lock<std::mutex>& lock) noexcept;
    bool send_batch(std::unique_lock<std::mutex>& lock) noexcept;
    void hand_over(Slot& slot) noexcept;
    void declare_end(std::unique_lock<std::mutex>& lock, Fault fault) noexcept;

    void read_until_end() noexcept;
    [[nodiscard]] bool receive_once() noexcept;
    void say_goodbye(std::unique_lock<std::mutex>& lock) noexcept;

    const ExportInfo info_;
    CompletionSink& sink_;
    Socket socket_;
    const std::unique_ptr<Waker> waker_;

    mutable std::mutex lock_;  // of everything down to the blank line
    RequestTable table_;
    bool sending_ = false;    // somebody is the sender
    bool send_full_ = false;  // the batch waits for the reader to see room in the socket
    bool draining_ = false;   // somebody waits on changed_ for an empty table
    bool closing_ = false;
    Fault fault_;
    std::condition_variable changed_;

    SendBatch batch_;     // the sender's
    ReplyParser parser_;  // the reader's
    std::thread reader_;
    std::thread::id reader_id_;
};

}  // namespace wnbd::nbd
