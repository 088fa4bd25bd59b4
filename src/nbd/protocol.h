// SPDX-License-Identifier: LGPL-2.1-or-later
// The NBD protocol's numbers, named as the protocol document names them.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wnbd::nbd {

// Handshake ("Newstyle negotiation").
inline constexpr std::uint64_t init_magic = 0x4e42444d41474943;      // "NBDMAGIC"
inline constexpr std::uint64_t option_magic = 0x49484156454f5054;    // "IHAVEOPT"
inline constexpr std::uint64_t oldstyle_magic = 0x0000420281861253;  // "Oldstyle negotiation"
inline constexpr std::uint64_t option_reply_magic = 0x0003e889045565a9;

inline constexpr std::uint16_t flag_fixed_newstyle = 1U << 0;
inline constexpr std::uint16_t flag_no_zeroes = 1U << 1;

enum class Option : std::uint32_t {
    export_name = 1,
    abort = 2,
    list = 3,
    starttls = 5,
    info = 6,
    go = 7,
    structured_reply = 8,
    list_meta_context = 9,
    set_meta_context = 10,
    extended_headers = 11,
};

enum class OptionReply : std::uint32_t {
    ack = 1,
    server = 2,
    info = 3,
    meta_context = 4,
    error_unsupported = (1U << 31) + 1,
    error_policy = (1U << 31) + 2,
    error_invalid = (1U << 31) + 3,
    error_platform = (1U << 31) + 4,
    error_tls_required = (1U << 31) + 5,
    error_unknown = (1U << 31) + 6,
    error_shutdown = (1U << 31) + 7,
    error_block_size_required = (1U << 31) + 8,
    error_too_big = (1U << 31) + 9,
    error_extended_header_required = (1U << 31) + 10,
};
inline constexpr std::uint32_t option_reply_error_bit = 1U << 31;

inline constexpr std::uint16_t info_export = 0;
inline constexpr std::uint16_t info_name = 1;
inline constexpr std::uint16_t info_description = 2;
inline constexpr std::uint16_t info_block_size = 3;

/// The one metadata context we ask for ("Metadata querying").
inline constexpr const char* allocation_context = "base:allocation";
inline constexpr std::uint32_t allocation_hole = 1U << 0;
inline constexpr std::uint32_t allocation_zero = 1U << 1;

/// "Values": strings of the protocol are at most 4096 bytes.
inline constexpr std::size_t max_export_name = 4096;
/// What we accept as one option reply: the two longest strings of NBD_REP_SERVER, room to spare.
inline constexpr std::uint32_t max_option_reply = 12U << 10;  // bytes
/// Replies to one option before we take the server for broken.
inline constexpr unsigned max_option_replies = 64;
/// The same where each is an entry of a list that was asked for.
inline constexpr unsigned max_listed = 10'000;
inline constexpr std::size_t option_reply_size = 20;  // bytes, of its header

// Transmission.
inline constexpr std::uint16_t transmission_has_flags = 1U << 0;
inline constexpr std::uint16_t transmission_read_only = 1U << 1;
inline constexpr std::uint16_t transmission_send_flush = 1U << 2;
inline constexpr std::uint16_t transmission_send_fua = 1U << 3;
inline constexpr std::uint16_t transmission_rotational = 1U << 4;
inline constexpr std::uint16_t transmission_send_trim = 1U << 5;
inline constexpr std::uint16_t transmission_send_write_zeroes = 1U << 6;
inline constexpr std::uint16_t transmission_send_df = 1U << 7;
inline constexpr std::uint16_t transmission_can_multi_conn = 1U << 8;
inline constexpr std::uint16_t transmission_send_resize = 1U << 9;
inline constexpr std::uint16_t transmission_send_cache = 1U << 10;
inline constexpr std::uint16_t transmission_send_fast_zero = 1U << 11;
inline constexpr std::uint16_t transmission_block_status_payload = 1U << 12;

inline constexpr std::uint32_t request_magic = 0x25609513;
inline constexpr std::uint32_t extended_request_magic = 0x21e41c71;
inline constexpr std::uint32_t simple_reply_magic = 0x67446698;
inline constexpr std::uint32_t structured_reply_magic = 0x668e33ef;
inline constexpr std::uint32_t extended_reply_magic = 0x6e8a278c;
inline constexpr std::size_t request_size = 28;           // bytes
inline constexpr std::size_t extended_request_size = 32;  // bytes
inline constexpr std::size_t simple_reply_size = 16;      // bytes
inline constexpr std::size_t structured_reply_size = 20;  // bytes, of a chunk's header
inline constexpr std::size_t extended_reply_size = 32;    // bytes, of a chunk's header

// Chunks of structured and extended replies ("Structured reply types").
inline constexpr std::uint16_t reply_flag_done = 1U << 0;
enum class ReplyType : std::uint16_t {
    none = 0,
    offset_data = 1,
    offset_hole = 2,
    block_status = 5,
    block_status_ext = 6,
    error = (1U << 15) + 1,
    error_offset = (1U << 15) + 2,
};
inline constexpr std::uint16_t reply_type_error_bit = 1U << 15;

enum class CommandType : std::uint16_t {
    read = 0,
    write = 1,
    disconnect = 2,
    flush = 3,
    trim = 4,
    cache = 5,
    write_zeroes = 6,
    block_status = 7,
};
inline constexpr std::uint16_t command_flag_fua = 1U << 0;
inline constexpr std::uint16_t command_flag_no_hole = 1U << 1;
inline constexpr std::uint16_t command_flag_df = 1U << 2;
inline constexpr std::uint16_t command_flag_req_one = 1U << 3;
inline constexpr std::uint16_t command_flag_fast_zero = 1U << 4;
inline constexpr std::uint16_t command_flag_payload_len = 1U << 5;

// Errors of a reply ("Error values"): numbers of the protocol, not of any operating system.
inline constexpr std::uint32_t error_permission = 1;
inline constexpr std::uint32_t error_io = 5;
inline constexpr std::uint32_t error_no_memory = 12;
inline constexpr std::uint32_t error_invalid = 22;
inline constexpr std::uint32_t error_no_space = 28;
inline constexpr std::uint32_t error_overflow = 75;
inline constexpr std::uint32_t error_not_supported = 95;
inline constexpr std::uint32_t error_shutdown = 108;

/// "Block size constraints": what holds when the server says nothing, and what it may say at most.
inline constexpr std::uint32_t default_preferred_block = 4096;       // bytes
inline constexpr std::uint32_t default_maximum_payload = 32U << 20;  // bytes
inline constexpr std::uint32_t largest_minimum_block = 64U << 10;    // bytes
/// Trim and write zeroes go out in pieces of at most this: a multiple of every minimum block.
inline constexpr std::uint32_t max_wire_range = 1U << 30;  // bytes

/// An export's size is a signed 64-bit offset to servers and file systems.
inline constexpr std::uint64_t max_export_size = (std::uint64_t{1} << 63) - 1;  // bytes

}  // namespace wnbd::nbd
