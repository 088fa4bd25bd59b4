// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/uri.h"

#include <charconv>

#include "nbd/protocol.h"

namespace wnbd::nbd {
namespace {

using std::string;
using std::string_view;

int hex_digit(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    return -1;
}

bool equal_ignoring_case(string_view left, string_view right) {
    if (left.size() != right.size()) return false;
    for (std::size_t i = 0; i < left.size(); ++i)
        if ((left[i] | 0x20) != (right[i] | 0x20)) return false;
    return true;
}

/// Splits at the first separator; the second part is empty when there is none.
struct Split {
    string_view before;
    string_view after;
    bool found;
};
Split split(string_view text, char separator) {
    const auto at = text.find(separator);
    if (at == string_view::npos) return {text, {}, false};
    return {text.substr(0, at), text.substr(at + 1), true};
}

Result<Address, string> parse_authority(string_view authority, Address address) {
    if (authority.find('@') != string_view::npos)
        return Failure{string("user names are not supported in NBD URIs")};
    string_view host = authority;
    Split port{};
    if (authority.starts_with('[')) {
        const auto end = authority.find(']');
        if (end == string_view::npos) return Failure{string("the IPv6 address lacks its ']'")};
        host = authority.substr(1, end - 1);
        const auto rest = authority.substr(end + 1);
        if (!rest.empty() && rest[0] != ':')
            return Failure{string("after the ']' of the IPv6 address only a port may follow")};
        port = {{}, rest.empty() ? rest : rest.substr(1), !rest.empty()};
    } else {
        port = split(authority, ':');
        host = port.before;
        if (port.after.find(':') != string_view::npos)
            return Failure{string("an IPv6 address must be put in brackets")};
    }
    if (host.empty()) return Failure{string("the host is missing")};
    auto decoded = percent_decode(host);
    if (!decoded) return Failure{decoded.error()};
    address.host = decoded.value();
    if (port.found) {
        const auto number = parse_port(port.after);
        if (!number) return Failure{number.error()};
        address.port = number.value();
    }
    return address;
}

Result<Address, string> parse_query(string_view query, Address address, bool unix_socket) {
    while (!query.empty()) {
        const auto parameter = split(query, '&');
        query = parameter.after;
        if (parameter.before.empty()) continue;
        const auto pair = split(parameter.before, '=');
        if (!unix_socket || pair.before != "socket")
            return Failure{"unknown parameter '" + string(pair.before) + "'"};
        auto path = percent_decode(pair.after);
        if (!path) return Failure{path.error()};
        address.socket_path = path.value();
    }
    if (unix_socket && address.socket_path.empty())
        return Failure{string("nbd+unix needs the parameter socket=/path")};
    return address;
}

Result<Address, string> parse(string_view uri) {
    const auto colon = uri.find("://");
    if (colon == string_view::npos) return Failure{string("it does not start with nbd://")};
    const auto scheme = uri.substr(0, colon);
    if (equal_ignoring_case(scheme, "nbds") || equal_ignoring_case(scheme, "nbds+unix"))
        return Failure{string("TLS (nbds) is not supported yet")};
    const bool unix_socket = equal_ignoring_case(scheme, "nbd+unix");
    if (!unix_socket && !equal_ignoring_case(scheme, "nbd"))
        return Failure{"the scheme '" + string(scheme) + "' is not nbd or nbd+unix"};
    if (uri.find('#') != string_view::npos)
        return Failure{string("fragments (#) have no meaning in an NBD URI")};

    const auto query = split(uri.substr(colon + 3), '?');
    const auto path = split(query.before, '/');
    Address address;
    auto export_name = percent_decode(path.after);
    if (!export_name) return Failure{export_name.error()};
    if (export_name.value().size() > max_export_name)
        return Failure{"the export name has " + std::to_string(export_name.value().size()) +
                       " bytes; at most " + std::to_string(max_export_name) + " are allowed"};
    address.export_name = export_name.value();
    if (unix_socket) {
        if (!path.before.empty())
            return Failure{string("nbd+unix takes no host: write nbd+unix:///export?socket=/path")};
    } else {
        auto with_host = parse_authority(path.before, address);
        if (!with_host) return with_host;
        address = with_host.value();
    }
    return parse_query(query.after, address, unix_socket);
}

}  // namespace

std::string Address::endpoint() const {
    if (!socket_path.empty()) return socket_path;
    const auto shown = host.find(':') == string::npos ? host : "[" + host + "]";
    return shown + ":" + std::to_string(port);
}

Result<string, string> percent_decode(string_view text) {
    string decoded;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            decoded += text[i];
            continue;
        }
        const int high = i + 2 < text.size() ? hex_digit(text[i + 1]) : -1;
        const int low = high >= 0 ? hex_digit(text[i + 2]) : -1;
        if (low < 0) return Failure{string("a % is not followed by two hexadecimal digits")};
        const auto byte = static_cast<char>(high * 16 + low);
        if (byte == 0) return Failure{string("%00 is not allowed")};
        decoded += byte;
        i += 2;
    }
    return decoded;
}

Result<std::uint16_t, string> parse_port(string_view text) {
    std::uint32_t port = 0;
    const char* const begin = text.data();
    const char* const end = begin + text.size();
    const auto read = std::from_chars(begin, end, port);
    if (text.empty() || read.ptr != end || read.ec != std::errc{} || port == 0 || port > 65535)
        return Failure{"the port '" + string(text) + "' is not a number from 1 to 65535"};
    return static_cast<std::uint16_t>(port);
}

Result<Address, string> parse_uri(string_view uri) {
    auto address = parse(uri);
    if (!address)
        return Failure{"bad URI '" + string(uri.substr(0, 200)) + "': " + address.error()};
    return address;
}

}  // namespace wnbd::nbd
