// SPDX-License-Identifier: LGPL-2.1-or-later
// What can go wrong between us and an NBD server, named and with the numbers involved.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

namespace wnbd::nbd {

enum class FaultCode : std::uint8_t {
    none,
    // the server's bytes
    not_nbd,                  // no NBDMAGIC
    oldstyle,                 // the negotiation that the protocol deprecates
    bad_option_magic,         // neither newstyle nor oldstyle
    bad_reply_magic,          // an option reply or a reply starts wrong
    wrong_option_echo,        // an option reply names another option
    unexpected_option_reply,  // a reply type that the option cannot have
    oversized_option_reply,
    too_many_option_replies,
    short_info_reply,
    no_export_info,  // ACK without INFO_EXPORT
    bad_block_size,
    size_zero,
    size_too_large,
    refused,  // the server answers the option with an error
    structured_reply_unasked,
    unknown_handle,
    not_in_flight,
    // the way to it
    hang_up,
    timed_out,
    resolve_failed,
    connect_failed,
    socket_failed,
    // our side
    name_too_long,
    unsupported,
    closed,  // we closed it
};

/// A fault with its numbers. `got` and `expected` mean what describe() says for the code.
struct Fault {
    FaultCode code = FaultCode::none;
    std::uint64_t got = 0;
    std::uint64_t expected = 0;
    const char* step = "";  // a string literal: what was being done
    std::string text{};     // what the server or the system said, printable characters only
};

/// One line for a user, without a full stop or a line end.
[[nodiscard]] std::string describe(const Fault& fault);

/// Server text made printable: other bytes become '?'.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace wnbd::nbd
