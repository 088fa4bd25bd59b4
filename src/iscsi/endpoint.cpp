// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/endpoint.h"

#include <algorithm>
#include <asio/error.hpp>
#include <asio/io_context.hpp>
#include <asio/ip/tcp.hpp>

#include "nbd/socket.h"

namespace wnbd::iscsi {

std::string portal_text(std::string_view address, std::uint16_t port) {
    const bool v6 = address.find(':') != std::string_view::npos;
    std::string text(v6 ? "[" : "");
    text += address;
    return text + (v6 ? "]:" : ":") + std::to_string(port);
}

Result<std::vector<Endpoint>, std::string> resolve(const std::string& host, std::uint16_t port) {
    asio::io_context context;
    asio::ip::tcp::resolver resolver(context);
    std::error_code error;
    const auto found =
        resolver.resolve(host, std::to_string(port), asio::ip::resolver_base::passive, error);
    if (error) return Failure{"cannot find the address '" + host + "': " + error_text(error)};
    std::vector<Endpoint> endpoints;
    for (const auto& entry : found) {
        const asio::ip::address address = entry.endpoint().address();
        Endpoint endpoint{
            .address = address.to_string(), .port = port, .loopback = address.is_loopback()};
        const bool known = std::ranges::any_of(
            endpoints, [&](const Endpoint& other) { return other.address == endpoint.address; });
        if (!known) endpoints.push_back(std::move(endpoint));
    }
    if (endpoints.empty()) return Failure{"'" + host + "' has no address"};
    return endpoints;
}

std::string error_text(const std::error_code& error) {
    // Asio's own is in the user's language and code page on Windows, or missing.
    return error.category() == asio::error::get_system_category()
               ? nbd::system_error_text(error.value())
               : error.message();
}

}  // namespace wnbd::iscsi
