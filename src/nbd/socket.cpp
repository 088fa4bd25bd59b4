// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/socket.h"

#include <utility>

#include "nbd/dial.h"
#include "nbd/socket_system.h"

namespace wnbd::nbd {

Socket::Socket(Socket&& other) noexcept : native_(std::exchange(other.native_, invalid)) {}

Socket& Socket::operator=(Socket&& other) noexcept {
    std::swap(native_, other.native_);
    return *this;
}

Socket::~Socket() {
    if (open()) system::close(native_);
}

Waker::~Waker() {
    system::close(native_);
}

Result<Socket, Fault> connect_to(const Address& address, Clock::time_point deadline) {
    Dialer dialer;
    return dialer.dial(address, deadline);
}

}  // namespace wnbd::nbd
