// SPDX-License-Identifier: LGPL-2.1-or-later
// The client with everything around it: threads, sockets, TLS, the clock.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <optional>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "nbd/client.h"
#include "nbd/client_options.h"
#include "nbd/connector.h"

namespace wnbd::nbd {

/// What a user may want to read or act upon.
struct ClientEvent {
    enum class Kind : std::uint8_t {
        lost,            // the fault says why; reconnecting begins, if the policy has it
        attempt_failed,  // not each one: the first, then when the fault changes or time has passed
        returned,        // online again
        resized,         // the export has another size
        gave_up,         // for good
        unflushed,       // closed, and what was written may not be stable
    };
    Kind kind = Kind::lost;
    std::uint64_t size = 0;      // bytes, of the export as it is now
    bool may_have_lost = false;  // returned, unflushed: something that was acknowledged
    std::string text{};          // one line in plain words, with the server's endpoint
};

class ClientObserver {
  public:
    /// One at a time, on a thread of the shell's, losses and returns in turn. May not close the
    /// shell.
    virtual void happened(const ClientEvent& event) noexcept = 0;

  protected:
    ~ClientObserver() = default;
};

/// A reader's thread for each connection, one that looks after the client, and one that dials.
class ClientShell {
  public:
    /// Connects and negotiates, the addresses in turn; the fault is the last one's.
    [[nodiscard]] static Result<std::unique_ptr<ClientShell>, Fault> open(ClientOptions options);
    /// Closes.
    ~ClientShell();
    ClientShell(const ClientShell&) = delete;
    ClientShell& operator=(const ClientShell&) = delete;

    /// Who hears of events from now on; nullptr: nobody, and nobody is being told when this
    /// returns.
    void observe(ClientObserver* observer) noexcept;

    void submit(std::span<Request* const> requests) noexcept;
    [[nodiscard]] const Agreement& agreement() const noexcept;  // the first one
    [[nodiscard]] std::uint64_t size() const noexcept;          // bytes; may change
    [[nodiscard]] Client::Status status() const;

    /// Waits for what is in flight, at most the options' time and not at all while no server is
    /// there; flushes if asked to; says goodbye. Idempotent; not from a completion.
    void close(bool flush) noexcept;

  private:
    struct Reader {
        std::thread thread;
        bool attached = false;  // and not yet seen by the thread
    };
    struct Dial {
        std::size_t address = 0;
        unsigned index = 0;
    };

    ClientShell(ClientOptions options, Connector connector);

    void begin(Connected first, std::size_t address, const Attempt& attempt);
    void read(unsigned index) noexcept;
    void keep() noexcept;
    [[nodiscard]] bool ask_for_dial(const Dial& job) noexcept;
    void dial_when_asked() noexcept;
    void dial(const Dial& job, Attempt& attempt) noexcept;
    [[nodiscard]] Fault dial_once(const Dial& job, Attempt& attempt);
    [[nodiscard]] Fault adopt(unsigned index, Connected connected);
    void poke() noexcept;
    [[nodiscard]] bool drain(Clock::time_point deadline) noexcept;

    void report_state(const Client::Status& status) noexcept;
    void report_return(const Client::Status& status) noexcept;
    void report_size(std::uint64_t size) noexcept;
    void report_loss(const Client::Status& status) noexcept;
    void report_failed_attempt(const Dial& job, const Fault& fault);
    void report_unflushed() noexcept;
    template <typename Compose>
    void tell(ClientEvent event, Compose&& compose) noexcept;

    const ClientOptions options_;
    const Connector connector_;
    std::unique_ptr<Client> client_;

    std::mutex close_lock_;  // one close() at a time; rank: before the others

    std::mutex lock_;  // of what follows, with all threads waiting on changed_
    std::condition_variable changed_;
    bool poked_ = false;  // the keeper shall look again
    bool stopping_ = false;
    bool closed_ = false;
    std::vector<Reader> readers_;       // by connection
    std::optional<Dial> dial_job_;      // not yet begun
    std::shared_ptr<Attempt> attempt_;  // the present dial, or the last one
    // Of the present incarnation: a name may stand for several servers, and all connections must go
    // to one.
    std::string peer_;

    std::mutex observer_lock_;  // held while it is told; of the rest down to the blank line
    ClientObserver* observer_ = nullptr;
    Client::Phase told_phase_ = Client::Phase::online;
    std::uint64_t told_size_ = 0;
    std::uint64_t told_reconnects_ = 0;
    Clock::time_point lost_at_{};
    Clock::time_point told_attempt_at_{};
    std::string told_attempt_;

    std::thread keeper_;
    std::thread dialler_;
};

}  // namespace wnbd::nbd
