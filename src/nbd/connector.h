// SPDX-License-Identifier: LGPL-2.1-or-later
// From an address to a stream in transmission: dialling, TLS, negotiation.
#pragma once

#include <atomic>
#include <cstddef>
#include <memory>

#include "base/result.h"
#include "nbd/client_options.h"
#include "nbd/dial.h"
#include "nbd/export_info.h"
#include "nbd/fault.h"
#include "nbd/stream.h"

namespace wnbd::nbd {

/// A stream in transmission, and what was agreed on.
struct Connected {
    std::unique_ptr<Stream> stream{};
    Agreement agreement{};
};

/// One attempt to connect, that another thread may end.
class Attempt {
  public:
    void abandon() noexcept {
        abandoned_ = true;
        dialer_.cancel();
    }

  private:
    friend class Connector;
    Dialer dialer_;
    std::atomic<bool> abandoned_{false};
};

/// Immutable; any thread may connect.
class Connector {
  public:
    /// Reads the files that TLS needs.
    [[nodiscard]] static Result<Connector, Fault> create(const ClientOptions& options);

    /// Blocks, for the options' times at most; an attempt that was abandoned ends soon.
    [[nodiscard]] Result<Connected, Fault> connect(const Address& address, Attempt& attempt) const;

  private:
    explicit Connector(const ClientOptions& options) : options_(options) {}

    ClientOptions options_;
};

}  // namespace wnbd::nbd
