// SPDX-License-Identifier: LGPL-2.1-or-later
// NBD URIs ("The NBD URI format", RFC 3986): nbd://host[:port]/export and its three sisters, with
// parameters of the document's and of our own.
#pragma once

#include <chrono>
#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "nbd/recovery.h"
#include "nbd/tls.h"

namespace wnbd::nbd {

inline constexpr std::uint16_t default_port = 10809;
/// Addresses of one export, and connections to it, at most.
inline constexpr std::size_t max_addresses = 16;
inline constexpr unsigned max_connections = 16;

/// Where an export is.
struct Address {
    std::string host{};  // name, IPv4 or IPv6 address without brackets; empty: Unix socket
    std::uint16_t port = default_port;  // 1 to 65535
    std::string socket_path{};  // of a Unix socket, with a leading NUL an abstract one; empty: TCP
    std::string export_name{};  // UTF-8, at most max_export_name bytes, may be empty

    /// For messages: "host:port", "[v6]:port", the path, or "@name" of an abstract socket.
    [[nodiscard]] std::string endpoint() const;
};

/// A parameter as it is written behind the '?', %XX undone.
struct UriParameter {
    std::string name;
    std::string value;
};

/// A URI taken apart, nothing but its syntax checked. What a command line gives in other ways can
/// be added here, and is then checked with all the rest.
struct UriParts {
    bool tls = false;          // nbds, nbds+unix
    bool unix_socket = false;  // nbd+unix, nbds+unix
    std::string user{};
    std::string host{};  // without brackets
    std::optional<std::uint16_t> port{};
    std::string export_name{};
    std::vector<UriParameter> parameters{};  // in their order

    [[nodiscard]] bool has(std::string_view parameter) const;
};

/// What a URI means. What it does not say is empty; whoever opens it has the defaults.
struct Uri {
    std::vector<Address> addresses{};  // at least one, all of the same export
    TlsSettings tls{};
    std::string certificate_folder{};  // for TlsSettings::use_certificate_folder; may be empty
    std::optional<unsigned> connections{};
    std::optional<std::chrono::milliseconds> reconnect_delay{};
    std::optional<std::chrono::milliseconds> reconnect_timeout{};
    std::optional<OnTimeout> on_timeout{};
    std::optional<std::chrono::milliseconds> request_timeout{};
    std::optional<std::chrono::milliseconds> keep_alive{};
    bool write_through = false;
};

/// Reads a URI, or says in one line what is wrong with it. Opens no file.
[[nodiscard]] Result<Uri, std::string> parse_uri(std::string_view uri);

// The two halves of parse_uri, without the URI itself in their errors:
[[nodiscard]] Result<UriParts, std::string> split_uri(std::string_view uri);
[[nodiscard]] Result<Uri, std::string> interpret_uri(const UriParts& parts);

/// The URI that split_uri would take apart so.
[[nodiscard]] std::string join_uri(const UriParts& parts);

/// Whether a text is meant as a URI rather than as the name of a host, which has no "://".
[[nodiscard]] bool is_uri(std::string_view text) noexcept;

/// Reads a port number from 1 to 65535.
[[nodiscard]] Result<std::uint16_t, std::string> parse_port(std::string_view text);

/// Reads HOST, HOST:PORT, [V6] or [V6]:PORT, or says what is wrong with it. %XX is undone.
struct HostPort {
    std::string host;
    std::optional<std::uint16_t> port;
};
[[nodiscard]] Result<HostPort, std::string> parse_host_port(std::string_view text);

/// Undoes %XX (RFC 3986 2.1). An incomplete escape is refused, NUL is not.
[[nodiscard]] Result<std::string, std::string> percent_decode(std::string_view text);

}  // namespace wnbd::nbd
