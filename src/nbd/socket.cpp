// SPDX-License-Identifier: LGPL-2.1-or-later
#if defined(_WIN32)
#include <winsock2.h>
#include <ws2tcpip.h>
#else
#include <netdb.h>
#include <sys/socket.h>
#endif

#include <string>
#include <utility>

#include "nbd/socket.h"
#include "nbd/socket_system.h"

namespace wnbd::nbd {

Socket::Socket(Socket&& other) noexcept : native_(std::exchange(other.native_, invalid)) {}

Socket& Socket::operator=(Socket&& other) noexcept {
    std::swap(native_, other.native_);
    return *this;
}

std::string Socket::peer_host() const {
    sockaddr_storage address{};
    auto* const generic = reinterpret_cast<sockaddr*>(&address);
    socklen_t length = sizeof address;
    if (::getpeername(native_, generic, &length) != 0) return {};
    if (address.ss_family != AF_INET && address.ss_family != AF_INET6) return {};
    char host[NI_MAXHOST];
    if (::getnameinfo(generic, length, host, sizeof host, nullptr, 0, NI_NUMERICHOST) != 0)
        return {};
    return host;
}

Socket::~Socket() {
    if (open()) system::close(native_);
}

}  // namespace wnbd::nbd
