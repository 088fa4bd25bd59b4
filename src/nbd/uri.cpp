// SPDX-License-Identifier: LGPL-2.1-or-later
// The syntax of RFC 3986. Beyond it are taken, because people type them: bytes above 127 where
// they make UTF-8 (RFC 3987), and backslashes, in Windows's paths.
#include "nbd/uri.h"

#include <algorithm>
#include <charconv>

#include "nbd/protocol.h"
#include "nbd/utf8.h"

namespace wnbd::nbd {
namespace {

using std::string;
using std::string_view;
using Reason = string;  // empty: all is well

constexpr auto none = string_view::npos;
constexpr string_view scheme_end = "://";

int hex_digit(char digit) {
    if (digit >= '0' && digit <= '9') return digit - '0';
    if (digit >= 'a' && digit <= 'f') return digit - 'a' + 10;
    if (digit >= 'A' && digit <= 'F') return digit - 'A' + 10;
    return -1;
}

bool is_control(char character) {
    return static_cast<unsigned char>(character) < 0x20 || character == 0x7f;
}

/// Splits at the first separator; the second part is empty when there is none.
struct Split {
    string_view before;
    string_view after;
    bool found;
};
Split split(string_view text, char separator) {
    const auto at = text.find(separator);
    if (at == none) return {text, {}, false};
    return {text.substr(0, at), text.substr(at + 1), true};
}

/// What no URI may have as it stands, for whatever reader it would change its meaning.
Reason strange_character(string_view uri) {
    for (const char character : uri) {
        if (is_control(character)) return "control characters must be written as %XX";
        if (character == ' ') return "a space must be written as %20";
        if (string_view("\"<>^`{|}").find(character) != none)
            return string("the character ") + character + " must be written as %XX";
    }
    if (uri.find('#') != none) return "fragments (#) have no meaning in an NBD URI";
    return {};
}

/// Decoded text that goes on as a string with a NUL at its end.
Result<string, string> decode_text(string_view text, const char* what) {
    auto decoded = percent_decode(text);
    if (!decoded) return decoded;
    if (decoded.value().find('\0') != none) return Failure{string("%00 is not allowed in ") + what};
    if (!is_utf8(decoded.value())) return Failure{string(what) + " is not valid UTF-8"};
    return decoded;
}

Reason read_scheme(string_view scheme, UriParts& parts) {
    string lower(scheme);
    for (char& character : lower)
        if (character >= 'A' && character <= 'Z') character = static_cast<char>(character | 0x20);
    parts.tls = lower.starts_with("nbds");
    parts.unix_socket = lower.ends_with("+unix");
    for (const char* const known : {"nbd", "nbds", "nbd+unix", "nbds+unix"})
        if (lower == known) return {};
    return "the scheme '" + string(scheme) + "' is not nbd, nbds, nbd+unix or nbds+unix";
}

Reason read_authority(string_view authority, UriParts& parts) {
    const auto user_end = authority.rfind('@');
    if (user_end != none) {
        const auto user = authority.substr(0, user_end);
        if (user.find(':') != none) return "a password has no meaning in an NBD URI";
        auto decoded = decode_text(user, "the user name");
        if (!decoded) return decoded.error();
        if (decoded.value().empty()) return "the user name is empty";
        parts.user = std::move(decoded.value());
        authority.remove_prefix(user_end + 1);
    }
    if (parts.unix_socket)
        return authority.empty()
                   ? Reason()
                   : "a Unix socket takes no host: write " + string(parts.tls ? "nbds" : "nbd") +
                         "+unix:///export?socket=/path";
    auto place = parse_host_port(authority);
    if (!place) return place.error();
    parts.host = std::move(place.value().host);
    parts.port = place.value().port;
    return {};
}

Reason read_query(string_view query, UriParts& parts) {
    while (!query.empty()) {
        const auto parameter = split(query, '&');
        query = parameter.after;
        if (parameter.before.empty()) continue;
        const auto pair = split(parameter.before, '=');
        auto name = decode_text(pair.before, "a parameter's name");
        if (!name) return name.error();
        auto value = percent_decode(pair.after);
        if (!value) return value.error();
        parts.parameters.push_back({std::move(name.value()), std::move(value.value())});
    }
    return {};
}

/// RFC 3986 3.2.2, and RFC 6874 for the zone behind the address.
Result<string, string> read_ipv6(string_view text) {
    const auto zone = text.find('%');
    const auto address = text.substr(0, zone);
    const auto in_address = [](char character) {
        return hex_digit(character) >= 0 || character == ':' || character == '.';
    };
    if (address.find(':') == none || !std::ranges::all_of(address, in_address))
        return Failure{"'" + string(text) + "' is no IPv6 address"};
    if (zone == none) return string(address);
    // A bare % is what systems print; the URI's own form is %25.
    auto name = text.substr(zone + 1);
    if (name.starts_with("25") && name.size() > 2) name.remove_prefix(2);
    auto decoded = decode_text(name, "the IPv6 address's zone");
    if (!decoded) return decoded;
    if (decoded.value().empty()) return Failure{string("the IPv6 address's zone is empty")};
    return string(address) + "%" + decoded.value();
}

Reason check_host(string_view host) {
    if (host.empty()) return "the host is missing";
    const auto strange = [](char character) {
        return is_control(character) || string_view(" /\\?#@[]:").find(character) != none;
    };
    if (std::ranges::any_of(host, strange)) return "the host has a character that none may have";
    return {};
}

/// `plain` are the characters beside letters, digits, "-._~" that may stay as they are.
void append_encoded(string& to, string_view text, string_view plain) {
    constexpr string_view digits = "0123456789ABCDEF";
    for (const char character : text) {
        const bool letter = (character >= 'a' && character <= 'z') ||
                            (character >= 'A' && character <= 'Z') ||
                            (character >= '0' && character <= '9');
        if (letter || string_view("-._~").find(character) != none ||
            plain.find(character) != none) {
            to += character;
            continue;
        }
        const auto byte = static_cast<std::uint8_t>(character);
        to += '%';
        to += digits[byte >> 4];
        to += digits[byte & 15];
    }
}

void append_host(string& to, string_view host) {
    if (host.find(':') == none) return append_encoded(to, host, "!$&'()*+,;=");
    const auto zone = split(host, '%');
    to.append("[").append(zone.before);
    if (zone.found) append_encoded(to.append("%25"), zone.after, "");
    to += ']';
}

}  // namespace

bool is_uri(string_view text) noexcept {
    return text.find(scheme_end) != none;
}

string Address::endpoint() const {
    if (socket_path.starts_with('\0')) return "@" + socket_path.substr(1);
    if (!socket_path.empty()) return socket_path;
    const auto shown = host.find(':') == string::npos ? host : "[" + host + "]";
    return shown + ":" + std::to_string(port);
}

bool UriParts::has(string_view parameter) const {
    return std::ranges::any_of(parameters,
                               [&](const UriParameter& one) { return one.name == parameter; });
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
        decoded += static_cast<char>(high * 16 + low);
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

Result<HostPort, string> parse_host_port(string_view text) {
    HostPort place;
    string_view port;
    if (text.starts_with('[')) {
        const auto end = text.find(']');
        if (end == none) return Failure{string("the IPv6 address lacks its ']'")};
        auto address = read_ipv6(text.substr(1, end - 1));
        if (!address) return Failure{address.error()};
        place.host = std::move(address.value());
        port = text.substr(end + 1);
        if (!port.empty() && port[0] != ':')
            return Failure{string("after the ']' of the IPv6 address only a port may follow")};
        if (!port.empty()) port.remove_prefix(1);
    } else {
        const auto pair = split(text, ':');
        if (pair.after.find(':') != none)
            return Failure{string("an IPv6 address must be put in brackets")};
        auto host = decode_text(pair.before, "the host's name");
        if (!host) return Failure{host.error()};
        if (auto why = check_host(host.value()); !why.empty()) return Failure{std::move(why)};
        place.host = std::move(host.value());
        port = pair.after;
    }
    // RFC 3986 3.2.3: an empty port is none.
    if (port.empty()) return place;
    const auto number = parse_port(port);
    if (!number) return Failure{number.error()};
    place.port = number.value();
    return place;
}

namespace {

Result<UriParts, string> take_apart(string_view uri) {
    const auto colon = uri.find(scheme_end);
    if (colon == none) return Failure{string("it does not start with nbd://")};
    UriParts parts;
    if (auto why = read_scheme(uri.substr(0, colon), parts); !why.empty())
        return Failure{std::move(why)};
    if (auto why = strange_character(uri); !why.empty()) return Failure{std::move(why)};

    const auto query = split(uri.substr(colon + scheme_end.size()), '?');
    const auto path = split(query.before, '/');
    if (auto why = read_authority(path.before, parts); !why.empty()) return Failure{std::move(why)};
    auto export_name = decode_text(path.after, "the export's name");
    if (!export_name) return Failure{export_name.error()};
    if (export_name.value().size() > max_export_name)
        return Failure{"the export name has " + std::to_string(export_name.value().size()) +
                       " bytes; at most " + std::to_string(max_export_name) + " are allowed"};
    parts.export_name = std::move(export_name.value());
    if (auto why = read_query(query.after, parts); !why.empty()) return Failure{std::move(why)};
    return parts;
}

}  // namespace

Result<UriParts, string> split_uri(string_view uri) {
    auto parts = take_apart(uri);
    if (!parts) return Failure{in_one_line(parts.error())};
    return parts;
}

string join_uri(const UriParts& parts) {
    string uri = parts.tls ? "nbds" : "nbd";
    uri += parts.unix_socket ? "+unix://" : "://";
    if (!parts.user.empty()) {
        append_encoded(uri, parts.user, "");
        uri += '@';
    }
    if (!parts.unix_socket) append_host(uri, parts.host);
    if (parts.port) uri += ":" + std::to_string(*parts.port);
    uri += '/';
    append_encoded(uri, parts.export_name, "/:@!$&'()*+,;=");
    char separator = '?';
    for (const UriParameter& parameter : parts.parameters) {
        uri += separator;
        append_encoded(uri, parameter.name, "");
        uri += '=';
        append_encoded(uri, parameter.value, "/:@");
        separator = '&';
    }
    return uri;
}

Result<Uri, string> parse_uri(string_view uri) {
    const auto bad = [&](const string& why) {
        return Failure{"bad URI '" + in_one_line(uri.substr(0, 200)) + "': " + why};
    };
    const auto parts = split_uri(uri);
    if (!parts) return bad(parts.error());
    auto meaning = interpret_uri(parts.value());
    if (!meaning) return bad(meaning.error());
    return meaning;
}

}  // namespace wnbd::nbd
