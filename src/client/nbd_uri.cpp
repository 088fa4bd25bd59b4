// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/nbd_uri.h"

#include <limits>

#include "client/text.h"

namespace wnbd::client {
namespace {

constexpr std::string_view scheme_end = "://";
constexpr auto none = std::string_view::npos;

std::optional<unsigned> hex_digit(char c) {
    if (c >= '0' && c <= '9') return static_cast<unsigned>(c - '0');
    if (c >= 'a' && c <= 'f') return static_cast<unsigned>(c - 'a') + 10;
    if (c >= 'A' && c <= 'F') return static_cast<unsigned>(c - 'A') + 10;
    return std::nullopt;
}

/// RFC 3986 2.1. A NUL is refused: names are NUL-terminated further on.
std::optional<std::string> percent_decoded(std::string_view text) {
    std::string decoded;
    for (std::size_t i = 0; i < text.size(); ++i) {
        if (text[i] != '%') {
            decoded += text[i];
            continue;
        }
        if (text.size() - i < 3) return std::nullopt;
        const auto high = hex_digit(text[i + 1]);
        const auto low = hex_digit(text[i + 2]);
        if (!high || !low || (*high == 0 && *low == 0)) return std::nullopt;
        decoded += static_cast<char>(*high * 16 + *low);
        i += 2;
    }
    return decoded;
}

}  // namespace

bool is_uri(std::string_view text) noexcept {
    return text.find(scheme_end) != none;
}

Result<NbdUri, std::string> parse_nbd_uri(std::string_view text) {
    const std::string whole(text);
    const auto fault = [&whole](std::string_view why) {
        return Failure{"Invalid NBD URI: " + whole + ": " + std::string(why) + "."};
    };
    const std::string_view scheme = text.substr(0, text.find(scheme_end));
    if (scheme != "nbd") return fault("only nbd:// is supported");
    text.remove_prefix(scheme.size() + scheme_end.size());
    if (text.find_first_of("?#") != none) return fault("it must not have a query or a fragment");

    const std::size_t slash = text.find('/');
    std::string_view authority = text.substr(0, slash);
    NbdUri uri;
    if (slash != none) {
        const auto decoded = percent_decoded(text.substr(slash + 1));
        if (!decoded) return fault("a malformed % escape");
        uri.export_name = *decoded;
    }
    if (authority.find('@') != none) return fault("it must not have a user name");

    std::string_view port;
    bool has_port = false;
    if (authority.starts_with('[')) {
        const std::size_t bracket = authority.find(']');
        if (bracket == none) return fault("a [ without its ]");
        uri.host = authority.substr(1, bracket - 1);
        authority.remove_prefix(bracket + 1);
        has_port = authority.starts_with(':');
        if (!authority.empty() && !has_port) return fault("something other than :port after the ]");
        port = authority.substr(has_port ? 1 : 0);
    } else {
        const std::size_t colon = authority.find(':');
        has_port = colon != none;
        const auto decoded = percent_decoded(authority.substr(0, colon));
        if (!decoded) return fault("a malformed % escape");
        uri.host = *decoded;
        if (has_port) port = authority.substr(colon + 1);
    }
    if (uri.host.empty()) return fault("the host is missing");
    if (has_port) {
        const auto value = parse_number(port, std::numeric_limits<std::uint32_t>::max());
        if (!value) return fault("the port is not a number");
        uri.port = static_cast<std::uint32_t>(*value);
    }
    return uri;
}

}  // namespace wnbd::client
