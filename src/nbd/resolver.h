// SPDX-License-Identifier: LGPL-2.1-or-later
// Names to addresses, with a deadline that the system's resolver does not have.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"
#include "nbd/fault.h"

struct addrinfo;

namespace wnbd::nbd {

using AddressList = std::unique_ptr<addrinfo, void (*)(addrinfo*)>;

/// One thread asks; any thread may cancel.
class Resolver {
  public:
    Resolver();
    Resolver(const Resolver&) = delete;
    Resolver& operator=(const Resolver&) = delete;
    ~Resolver();

    /// At least one address for stream sockets. FaultCode::timed_out at the deadline, closed after
    /// cancel(): the system's resolver goes on in a thread of its own then, and is left behind.
    [[nodiscard]] Result<AddressList, Fault> find(const std::string& host, std::uint16_t port,
                                                  std::chrono::steady_clock::time_point deadline);
    /// Ends the present find() and every later one.
    void cancel() noexcept;

  private:
    struct Question;

    std::mutex lock_;
    std::shared_ptr<Question> question_;  // that is being asked
    bool cancelled_ = false;
};

}  // namespace wnbd::nbd
