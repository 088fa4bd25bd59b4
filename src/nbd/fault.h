// SPDX-License-Identifier: LGPL-2.1-or-later
// What can go wrong between us and an NBD server, named and with the numbers involved.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "nbd/fault_text.h"

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
    malformed_option_reply,  // a length that its type cannot have
    no_export_info,          // ACK without INFO_EXPORT
    bad_block_size,
    size_zero,
    size_too_large,
    refused,                // the server answers the option with an error
    tls_not_offered,        // and it is required
    plain_text_before_tls,  // more than the consent to STARTTLS
    plain_newstyle,         // the server has no options but EXPORT_NAME
    unasked_context,        // a metadata context that we did not ask for
    wrong_reply_kind,       // simple, structured or extended, where another was agreed on
    unknown_handle,
    not_in_flight,
    unknown_chunk,         // of a type that nobody knows and that is no error
    misplaced_chunk,       // content of another kind than the request's
    malformed_chunk,       // a length that its type cannot have
    chunk_out_of_range,    // beyond the request
    chunk_overlaps,        // bytes that came before
    too_many_chunks,       // with gaps between them
    wrong_offset_echo,     // an extended reply names another offset
    reply_incomplete,      // done, but bytes or the block status are missing
    unasked_block_status,  // of a metadata context that was not agreed on
    // the way to it
    hang_up,
    server_shutting_down,  // it says so in an answer
    timed_out,
    resolve_failed,
    connect_failed,
    socket_failed,
    // TLS: the text is the whole line
    tls_unknown_ca,
    tls_expired,  // or not yet valid
    tls_wrong_name,
    tls_untrusted,  // the server's certificate, for another reason
    tls_client_certificate_wanted,
    tls_client_certificate_refused,
    tls_alert,      // the server ended TLS with an alert, whose number is `got`
    tls_truncated,  // the connection ended without TLS's farewell
    tls_failed,     // whatever else TLS met
    tls_file,       // a file of ours cannot be read or used
    tls_key_mismatch,
    // our side
    name_too_long,
    unsupported,
    closed,  // we closed it
    // a server that came back
    export_changed,  // into what the disk was not built on; the text says how
};

/// A fault with its numbers. `got` and `expected` mean what describe() says for the code. Copies
/// without allocating.
struct Fault {
    FaultCode code = FaultCode::none;
    std::uint64_t got = 0;
    std::uint64_t expected = 0;
    const char* step = "";  // a string literal: what was being done; refused: what was asked for
    FaultText text{};       // what the server or the system said, printable characters only
};

/// One line for a user, without a full stop or a line end.
[[nodiscard]] std::string describe(const Fault& fault);

/// Server text made printable: other bytes become '?'.
[[nodiscard]] std::string printable(std::string_view text);

}  // namespace wnbd::nbd
