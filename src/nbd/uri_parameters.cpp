// SPDX-License-Identifier: LGPL-2.1-or-later
// What the parts of a URI mean together.
#include <charconv>

#include "nbd/uri.h"
#include "nbd/utf8.h"

namespace wnbd::nbd {
namespace {

using std::string;
using std::string_view;
using std::chrono::milliseconds;
using Reason = string;  // empty: all is well

#if defined(_WIN32)
constexpr bool on_windows = true;
#else
constexpr bool on_windows = false;
#endif

constexpr std::uint64_t seconds_max = 365ULL * 24 * 3600;
constexpr milliseconds reconnect_delay_min{10};  // a server that is down is not to be hammered

/// What was said of TLS, before it is known whether it fits together.
struct TlsWords {
    string mode;
    string type;
    string user;
};

/// Seconds with up to three decimals.
std::optional<milliseconds> read_seconds(string_view text) {
    const auto point = text.find('.');
    const auto whole = text.substr(0, point);
    auto decimals = point == string_view::npos ? string_view("0") : text.substr(point + 1);
    if (whole.empty() || decimals.empty() || decimals.size() > 3) return std::nullopt;
    std::uint64_t seconds = 0;
    std::uint64_t thousandths = 0;
    const auto number = [](string_view digits, std::uint64_t& value) {
        const auto read = std::from_chars(digits.data(), digits.data() + digits.size(), value);
        return read.ec == std::errc{} && read.ptr == digits.data() + digits.size();
    };
    if (!number(whole, seconds) || !number(decimals, thousandths) || seconds > seconds_max)
        return std::nullopt;
    for (auto digits = decimals.size(); digits < 3; ++digits)
        thousandths *= 10;
    return milliseconds(seconds * 1000 + thousandths);
}

Reason read_time(const UriParameter& parameter, std::optional<milliseconds>& time,
                 milliseconds time_min = milliseconds(0)) {
    time = read_seconds(parameter.value);
    if (time && *time >= time_min) return {};
    return "'" + parameter.value + "' is not a number of seconds" +
           (time_min.count() > 0 ? " of at least 0.01" : "");
}

Reason read_switch(const UriParameter& parameter, bool& value) {
    if (parameter.value != "0" && parameter.value != "1")
        return "it takes 0 or 1, not '" + parameter.value + "'";
    value = parameter.value == "1";
    return {};
}

/// Windows knows no /C:/folder, which other programs make of C:\folder.
Reason read_path(const UriParameter& parameter, string& path) {
    path = parameter.value;
    const bool drive = on_windows && path.size() > 2 && path[0] == '/' && path[2] == ':';
    if (drive) path.erase(0, 1);
    return path.empty() ? "it needs a path" : Reason();
}

Reason read_text(const UriParameter& parameter, string& text) {
    text = parameter.value;
    return text.empty() ? "it needs a value" : Reason();
}

Reason read_connections(const UriParameter& parameter, std::optional<unsigned>& count) {
    unsigned value = 0;
    const char* const end = parameter.value.data() + parameter.value.size();
    const auto read = std::from_chars(parameter.value.data(), end, value);
    if (read.ec != std::errc{} || read.ptr != end || value == 0 || value > max_connections)
        return "'" + parameter.value + "' is not a number from 1 to " +
               std::to_string(max_connections);
    count = value;
    return {};
}

Reason read_on_timeout(const UriParameter& parameter, Uri& uri) {
    if (parameter.value != "fail" && parameter.value != "hold")
        return "it takes fail or hold, not '" + parameter.value + "'";
    uri.on_timeout = parameter.value == "fail" ? OnTimeout::fail : OnTimeout::hold;
    return {};
}

/// "Other NBD URI query parameters".
bool is_experimental(string_view name) {
    return name.starts_with("x-");
}

Reason add_address(const UriParameter& parameter, const UriParts& parts, Uri& uri) {
    if (uri.addresses.size() == max_addresses)
        return "an export has at most " + std::to_string(max_addresses) + " addresses";
    Address address{.export_name = parts.export_name};
    if (parts.unix_socket) {
        if (parameter.value.empty() || parameter.value == string_view("\0", 1))
            return "it needs a path";
        if (parameter.value.find('\0', 1) != string::npos)
            return "%00 may stand at its beginning only";
        if (auto why = read_path(parameter, address.socket_path); !why.empty()) return why;
    } else {
        auto place = parse_host_port(parameter.value);
        if (!place) return place.error();
        address.host = std::move(place.value().host);
        // All servers of one export are likely to listen at the port of the first.
        address.port = place.value().port.value_or(parts.port.value_or(default_port));
    }
    uri.addresses.push_back(std::move(address));
    return {};
}

Reason read_tls_parameter(const UriParameter& parameter, Uri& uri, TlsWords& words) {
    if (parameter.name == "tls") return read_text(parameter, words.mode);
    if (parameter.name == "tls-type") return read_text(parameter, words.type);
    if (parameter.name == "tls-certificates") return read_path(parameter, uri.certificate_folder);
    if (parameter.name == "tls-psk-file") return read_path(parameter, uri.tls.psk_file);
    if (parameter.name == "tls-username") return read_text(parameter, words.user);
    if (parameter.name == "tls-hostname") return read_text(parameter, uri.tls.hostname);
    if (parameter.name == "tls-verify-peer") return read_switch(parameter, uri.tls.verify_peer);
    return "it is not known";
}

Reason read_parameter(const UriParameter& parameter, const UriParts& parts, Uri& uri,
                      TlsWords& words) {
    const string& name = parameter.name;
    if (name == (parts.unix_socket ? "socket" : "host")) return add_address(parameter, parts, uri);
    if (name == "socket") return "it goes with nbd+unix:// only";
    if (name == "host") return "a Unix socket takes no host";
    // Another client's experiments are none of ours: "other" parameters are to be diagnosed.
    if (is_experimental(name)) return {};
    if (parameter.value.find('\0') != string::npos) return "%00 is not allowed";
    if (!is_utf8(parameter.value)) return "it is not valid UTF-8";
    if (name == "connections") return read_connections(parameter, uri.connections);
    if (name == "reconnect-delay")
        return read_time(parameter, uri.reconnect_delay, reconnect_delay_min);
    if (name == "reconnect-timeout") return read_time(parameter, uri.reconnect_timeout);
    if (name == "on-timeout") return read_on_timeout(parameter, uri);
    if (name == "request-timeout") return read_time(parameter, uri.request_timeout);
    if (name == "keep-alive") return read_time(parameter, uri.keep_alive);
    if (name == "write-through") return read_switch(parameter, uri.write_through);
    return read_tls_parameter(parameter, uri, words);
}

Reason settle_mode(const UriParts& parts, const string& mode, bool tls_said, TlsSettings& tls) {
    if (mode.empty()) {
        // nbd:// is opportunistic only where something says how to trust the server.
        tls.mode = parts.tls ? TlsMode::require : tls_said ? TlsMode::prefer : TlsMode::off;
        return {};
    }
    if (mode != "require" && mode != "prefer" && mode != "off")
        return "tls takes require, prefer or off, not '" + mode + "'";
    if (parts.tls && mode != "require")
        return "tls=" + mode + " contradicts nbds, which always requires TLS";
    if (mode == "off" && tls_said)
        return string("tls=off leaves no use for the other TLS parameters");
    tls.mode = mode == "require"  ? TlsMode::require
               : mode == "prefer" ? TlsMode::prefer
                                  : TlsMode::off;
    return {};
}

Reason settle_tls(const UriParts& parts, const TlsWords& words, Uri& uri) {
    TlsSettings& tls = uri.tls;
    if (!words.user.empty() && !parts.user.empty() && words.user != parts.user)
        return "the user name before the @ and tls-username differ";
    tls.psk_user = words.user.empty() ? parts.user : words.user;
    if (!words.type.empty() && words.type != "x509" && words.type != "psk")
        return words.type == "anon"
                   ? "tls-type=anon is not supported: it does not tell who the server is"
                   : "tls-type takes x509 or psk, not '" + words.type + "'";
    if (words.type == "psk" && tls.psk_file.empty()) return "tls-type=psk needs tls-psk-file";
    if (!uri.certificate_folder.empty() && !tls.psk_file.empty())
        return "tls-certificates and tls-psk-file cannot be combined";
    if (words.type == "x509" && !tls.psk_file.empty()) return "tls-psk-file needs tls-type=psk";
    const bool said = !words.type.empty() || !tls.psk_user.empty() || !tls.psk_file.empty() ||
                      !uri.certificate_folder.empty() || !tls.hostname.empty() || !tls.verify_peer;
    return settle_mode(parts, words.mode, said, tls);
}

bool repeatable(string_view name) {
    return name == "host" || name == "socket" || is_experimental(name);
}

Result<Uri, string> give_meaning(const UriParts& parts) {
    Uri uri;
    TlsWords words;
    if (!parts.unix_socket)
        uri.addresses.push_back({.host = parts.host,
                                 .port = parts.port.value_or(default_port),
                                 .export_name = parts.export_name});
    for (std::size_t i = 0; i < parts.parameters.size(); ++i) {
        const UriParameter& parameter = parts.parameters[i];
        for (std::size_t j = 0; j < i && !repeatable(parameter.name); ++j)
            if (parts.parameters[j].name == parameter.name)
                return Failure{"parameter '" + parameter.name + "': it is given twice"};
        if (auto why = read_parameter(parameter, parts, uri, words); !why.empty())
            return Failure{"parameter '" + parameter.name + "': " + why};
    }
    if (uri.addresses.empty())
        return Failure{string("a Unix socket needs the parameter socket=/path")};
    if (auto why = settle_tls(parts, words, uri); !why.empty()) return Failure{std::move(why)};
    if (uri.on_timeout == OnTimeout::hold && uri.reconnect_timeout == milliseconds(0))
        return Failure{
            string("on-timeout=hold contradicts reconnect-timeout=0: one waits for "
                   "ever, the other not at all")};
    return uri;
}

}  // namespace

Result<Uri, string> interpret_uri(const UriParts& parts) {
    auto uri = give_meaning(parts);
    if (!uri) return Failure{in_one_line(uri.error())};
    return uri;
}

}  // namespace wnbd::nbd
