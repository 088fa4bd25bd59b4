// SPDX-License-Identifier: LGPL-2.1-or-later
// The options about an NBD server, which several commands share. Each but --write-through has the
// name and the values of a parameter of NBD URIs (nbd/uri.h).
#pragma once

#include <array>
#include <cstddef>
#include <string_view>

#include "client/command_table.h"

namespace wnbd::client {

inline constexpr std::array<std::string_view, 2> on_timeout_values{"fail", "hold"};
inline constexpr std::array<std::string_view, 3> tls_values{"require", "prefer", "off"};
inline constexpr std::array<std::string_view, 2> verify_values{"0", "1"};

inline constexpr std::array server_option_table{
    OptionSpec{
        .name = "host",
        .kind = ValueKind::text,
        .description = "Another address of the same export, HOST or HOST:PORT, to go to when the "
                       "server is lost. Can be given several times.",
        .exact_only = true,
        .repeatable = true,
    },
    OptionSpec{
        .name = "connections",
        .kind = ValueKind::number32,
        .description = "Connections to the server at most, 1 to 16, if it allows several. Default: "
                       "half of the processors, 1 to 4.",
        .exact_only = true,
    },
    OptionSpec{
        .name = "reconnect-delay",
        .kind = ValueKind::text,
        .description = "Seconds before the second attempt to connect to a server that was lost; "
                       "doubled with each round. Default: 1.",
        .exact_only = true,
    },
    OptionSpec{
        .name = "reconnect-timeout",
        .kind = ValueKind::text,
        .description = "Seconds that I/O waits for a server that was lost. 0: not at all. Default: "
                       "60.",
        .exact_only = true,
    },
    OptionSpec{
        .name = "on-timeout",
        .kind = ValueKind::text,
        .description = "When the server does not come back in time: \"fail\" (default) gives the "
                       "disk up, \"hold\" goes on waiting.",
        .exact_only = true,
        .choices = on_timeout_values,
    },
    OptionSpec{
        .name = "request-timeout",
        .kind = ValueKind::text,
        .description = "Seconds without an answer to a request after which the connection is taken "
                       "for dead. 0: never. Default: 30.",
        .exact_only = true,
    },
    OptionSpec{
        .name = "keep-alive",
        .kind = ValueKind::text,
        .description = "Seconds of silence after which the server is asked for a sign of life. 0: "
                       "never. Default: 15.",
        .exact_only = true,
    },
    OptionSpec{
        .name = "write-through",
        .description = "Acknowledge a write only when it is on stable storage.",
        .exact_only = true,
    },
    OptionSpec{
        .name = "tls",
        .kind = ValueKind::text,
        .description = "TLS to the server: \"require\", \"prefer\" (if it has it) or \"off\".",
        .exact_only = true,
        .choices = tls_values,
    },
    OptionSpec{
        .name = "tls-certificates",
        .kind = ValueKind::text,
        .description = "The folder of ca-cert.pem and, where the server asks for them, "
                       "client-cert.pem and client-key.pem.",
        .exact_only = true,
        .source = ValueSource::file,
    },
    OptionSpec{
        .name = "tls-psk-file",
        .kind = ValueKind::text,
        .description = "A file of pre-shared keys, lines of user:key, instead of certificates.",
        .exact_only = true,
        .source = ValueSource::file,
    },
    OptionSpec{
        .name = "tls-username",
        .kind = ValueKind::text,
        .description = "The line of --tls-psk-file.",
        .exact_only = true,
    },
    OptionSpec{
        .name = "tls-hostname",
        .kind = ValueKind::text,
        .description = "The name that the server's certificate must have. Default: the host.",
        .exact_only = true,
    },
    OptionSpec{
        .name = "tls-verify-peer",
        .kind = ValueKind::text,
        .description = "0 takes any certificate. Default: 1.",
        .exact_only = true,
        .choices = verify_values,
    },
};

/// Two tables as one.
template <std::size_t First, std::size_t Second>
[[nodiscard]] constexpr std::array<OptionSpec, First + Second> joined(
    const std::array<OptionSpec, First>& first, const std::array<OptionSpec, Second>& second) {
    std::array<OptionSpec, First + Second> all{};
    for (std::size_t i = 0; i < First; ++i)
        all[i] = first[i];
    for (std::size_t i = 0; i < Second; ++i)
        all[First + i] = second[i];
    return all;
}

}  // namespace wnbd::client
