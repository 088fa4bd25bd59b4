// SPDX-License-Identifier: LGPL-2.1-or-later
// NBD URIs, from wherever a user was given them.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <string>
#include <string_view>

#include "nbd/protocol.h"
#include "nbd/uri.h"
#include "nbd/utf8.h"

namespace {

using namespace wnbd::nbd;

void require(bool condition) {
    if (!condition) std::abort();
}

bool one_line(const std::string& text) {
    return !text.empty() && text == in_one_line(text);
}

/// What is joined is split into the same parts again.
void check_joining(const UriParts& parts) {
    const auto again = split_uri(join_uri(parts));
    require(again.ok());
    const UriParts& same = again.value();
    require(same.tls == parts.tls && same.unix_socket == parts.unix_socket);
    require(same.user == parts.user && same.host == parts.host && same.port == parts.port);
    require(same.export_name == parts.export_name);
    require(std::equal(same.parameters.begin(), same.parameters.end(), parts.parameters.begin(),
                       parts.parameters.end(), [](const auto& left, const auto& right) {
                           return left.name == right.name && left.value == right.value;
                       }));
}

void check_meaning(const UriParts& parts, const Uri& uri) {
    require(!uri.addresses.empty() && uri.addresses.size() <= max_addresses);
    for (const Address& address : uri.addresses) {
        require(address.port != 0);
        require(address.export_name.size() <= max_export_name && is_utf8(address.export_name));
        require(address.host.empty() != address.socket_path.empty());
        require(parts.unix_socket == address.host.empty());
        require(address.host.find('\0') == std::string::npos);
        require(address.socket_path.find('\0', 1) == std::string::npos);
        require(!address.endpoint().empty());
    }
    require(!parts.tls || uri.tls.mode == TlsMode::require);
    require(uri.connections.value_or(1) >= 1 && uri.connections.value_or(1) <= max_connections);
    for (const auto& time :
         {uri.reconnect_delay, uri.reconnect_timeout, uri.request_timeout, uri.keep_alive})
        require(!time || (time->count() >= 0 && time->count() < 365LL * 24 * 3600 * 1000 + 1000));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view text(reinterpret_cast<const char*>(data), size);
    const auto parts = split_uri(text);
    const auto whole = parse_uri(text);
    if (!parts) {
        require(!whole.ok() && one_line(parts.error()) && one_line(whole.error()));
        return 0;
    }
    check_joining(parts.value());
    const auto uri = interpret_uri(parts.value());
    require(uri.ok() == whole.ok());
    if (uri)
        check_meaning(parts.value(), uri.value());
    else
        require(one_line(uri.error()) && one_line(whole.error()));
    return 0;
}
