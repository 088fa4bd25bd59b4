// SPDX-License-Identifier: LGPL-2.1-or-later
// From an address to a stream in transmission: dialling, TLS, negotiation.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>
#include <utility>

#include "base/result.h"
#include "nbd/client_options.h"
#include "nbd/dial.h"
#include "nbd/export_info.h"
#include "nbd/fault.h"
#include "nbd/handshake.h"
#include "nbd/negotiation.h"
#include "nbd/stream.h"
#include "nbd/tls.h"

namespace wnbd::nbd {

/// A stream in transmission, and what was agreed on.
struct Connected {
    std::unique_ptr<Stream> stream{};
    Agreement agreement{};
};

/// One attempt to connect, that another thread may end.
class Attempt {
  public:
    /// Any thread, at any time.
    void abandon() noexcept {
        abandoned_ = true;
        dialer_.cancel();
        const std::lock_guard lock(lock_);
        if (stream_ != nullptr) stream_->wake();
    }

    /// Goes to this one of the host's addresses instead of any: peer() of an earlier attempt.
    /// Empty: any. Before it begins.
    void pin(std::string peer) { pinned_ = std::move(peer); }
    /// Which one it was, in numbers; empty for a Unix socket. Once connected.
    [[nodiscard]] const std::string& peer() const noexcept { return peer_; }

  private:
    friend class Connector;
    /// The stream whose waiting abandon() ends, for as long as this lives: an exception ends it,
    /// too.
    class Watch {
      public:
        Watch(Attempt& attempt, Stream& stream) noexcept : attempt_(attempt) {
            const std::lock_guard lock(attempt_.lock_);
            attempt_.stream_ = &stream;
            if (attempt_.abandoned_) stream.wake();
        }
        Watch(const Watch&) = delete;
        Watch& operator=(const Watch&) = delete;
        ~Watch() {
            const std::lock_guard lock(attempt_.lock_);
            attempt_.stream_ = nullptr;
        }

      private:
        Attempt& attempt_;
    };

    Dialer dialer_;
    std::string pinned_;
    std::string peer_;
    std::atomic<bool> abandoned_{false};
    std::mutex lock_;
    Stream* stream_ = nullptr;
};

/// Immutable; any thread may connect.
class Connector {
  public:
    /// Reads the files that TLS needs.
    [[nodiscard]] static Result<Connector, Fault> create(const ClientOptions& options);

    /// Blocks, for the options' times at most; an attempt that was abandoned ends soon.
    [[nodiscard]] Result<Connected, Fault> connect(const Address& address, Attempt& attempt) const;

    /// The same for a negotiation of the caller's, to its end. The stream is what it ran over.
    [[nodiscard]] Result<std::unique_ptr<Stream>, Fault> negotiate_with(const Address& address,
                                                                        Attempt& attempt,
                                                                        Handshake& handshake) const;

  private:
    explicit Connector(const ClientOptions& options) : options_(options) {}

    [[nodiscard]] Result<std::unique_ptr<Stream>, Fault> dial(const Address& address,
                                                              Attempt& attempt) const;
    /// Puts TLS over the stream; returns what TLS it is.
    [[nodiscard]] Result<std::string, Fault> secure(std::unique_ptr<Stream>& stream,
                                                    const Address& address,
                                                    const NegotiationLimits& limits,
                                                    Attempt& attempt) const;

    ClientOptions options_;
    std::shared_ptr<const TlsCredentials> credentials_;
};

}  // namespace wnbd::nbd
