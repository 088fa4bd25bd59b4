// SPDX-License-Identifier: LGPL-2.1-or-later
// From an address to a connected socket.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"
#include "nbd/fault.h"
#include "nbd/resolver.h"
#include "nbd/socket.h"
#include "nbd/uri.h"

namespace wnbd::nbd {

namespace system {
class ConnectWatch;
}

/// One thread dials; any thread may cancel.
class Dialer {
  public:
    Dialer();
    Dialer(const Dialer&) = delete;
    Dialer& operator=(const Dialer&) = delete;
    ~Dialer();

    /// Resolves the name and connects to whichever of its addresses answers first: an address that
    /// is silent does not hold the next one up. TCP_NODELAY and keep-alive are set. Ends at the
    /// deadline (FaultCode::timed_out) and at cancel() (FaultCode::closed), the system's resolver
    /// notwithstanding: its thread is left behind then.
    [[nodiscard]] Result<Socket, Fault> dial(const Address& address, Clock::time_point deadline);

    /// The part of it that comes after the name.
    [[nodiscard]] Result<Socket, Fault> connect_any(const addrinfo* first,
                                                    Clock::time_point deadline);

    /// Ends the present dial() and every later one.
    void cancel() noexcept;

  private:
    [[nodiscard]] Result<Socket, Fault> connect_unix(const std::string& path,
                                                     Clock::time_point deadline);

    Resolver resolver_;
    std::unique_ptr<system::ConnectWatch> watch_;
    int watch_error_ = 0;  // why there is none
};

}  // namespace wnbd::nbd
