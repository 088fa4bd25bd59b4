// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/fault.h"

#include <cstdio>

#include "nbd/protocol.h"

namespace wnbd::nbd {
namespace {

std::string hex(std::uint64_t value) {
    char text[24];
    std::snprintf(text, sizeof text, "0x%llx", static_cast<unsigned long long>(value));
    return text;
}

/// What somebody else said of it.
std::string said(const Fault& fault) {
    return fault.text.empty() ? std::string() : ": " + fault.text.string();
}

std::string got_instead(const Fault& fault) {
    return hex(fault.got) + " instead of " + hex(fault.expected);
}

const char* refusal(std::uint64_t reply) {
    switch (static_cast<OptionReply>(reply)) {
        case OptionReply::error_unsupported: return "it does not support the option";
        case OptionReply::error_policy: return "its policy forbids it";
        case OptionReply::error_invalid: return "it takes the request for invalid";
        case OptionReply::error_platform: return "its platform does not support it";
        case OptionReply::error_tls_required: return "it demands TLS: use nbds:// or tls=require";
        case OptionReply::error_unknown: return "it has no such export";
        case OptionReply::error_shutdown: return "it is shutting down";
        case OptionReply::error_block_size_required: return "it demands block size negotiation";
        case OptionReply::error_too_big: return "the request is too big for it";
        default: return "unknown reason";
    }
}

std::string negotiation(const Fault& fault) {
    switch (fault.code) {
        case FaultCode::not_nbd:
            return "this is no NBD server: it starts with " + got_instead(fault);
        case FaultCode::oldstyle:
            return "the server speaks the oldstyle negotiation (magic " + hex(fault.got) +
                   "), which is not supported: start it with an export name";
        case FaultCode::bad_option_magic:
            return "the server's negotiation magic is " + got_instead(fault);
        case FaultCode::bad_reply_magic:
            return "a reply of the server starts with " + got_instead(fault);
        case FaultCode::wrong_option_echo:
            return "the server answers option " + std::to_string(fault.got) + " instead of " +
                   std::to_string(fault.expected);
        case FaultCode::unexpected_option_reply:
            return "the server sent the unexpected reply type " + hex(fault.got) + " " + fault.step;
        case FaultCode::oversized_option_reply:
            return "the server announces an option reply of " + std::to_string(fault.got) +
                   " bytes; at most " + std::to_string(fault.expected) + " are accepted";
        case FaultCode::too_many_option_replies:
            return "the server sent more than " + std::to_string(fault.expected) +
                   " replies to one option";
        case FaultCode::malformed_option_reply:
            return "the server sent an option reply of " + std::to_string(fault.got) +
                   " bytes where " + std::to_string(fault.expected) + " are needed, " + fault.step;
        case FaultCode::no_export_info:
            return "the server acknowledged the export without telling its size";
        case FaultCode::bad_block_size:
            return "the server's " + fault.text.string() + " block size of " +
                   std::to_string(fault.got) + " bytes breaks the protocol's rules";
        case FaultCode::size_zero: return "the export has a size of 0 bytes";
        case FaultCode::size_too_large:
            return "the export claims " + std::to_string(fault.got) + " bytes; at most " +
                   std::to_string(fault.expected) + " are possible";
        case FaultCode::tls_not_offered:
            return "TLS is required, but the server does not offer it" + said(fault);
        case FaultCode::plain_text_before_tls:
            return "the server sent " + std::to_string(fault.got) +
                   " bytes in plain text after it agreed to TLS: somebody may be in between";
        case FaultCode::plain_newstyle:
            return "the server speaks only the plain newstyle negotiation, which can open an "
                   "export but tells nothing about it";
        case FaultCode::unasked_context:
            return "the server selected the metadata context '" + fault.text.string() +
                   "', which was not asked for";
        default: return {};
    }
}

std::string transmission(const Fault& fault) {
    switch (fault.code) {
        case FaultCode::wrong_reply_kind:
            return "a reply of the server starts with " + got_instead(fault) +
                   ": it is of a kind that was not agreed on for this request";
        case FaultCode::unknown_handle:
            return "the server replied to handle " + hex(fault.got) + ", which was never used";
        case FaultCode::not_in_flight:
            return "the server replied to handle " + hex(fault.got) +
                   ", whose request is not in flight";
        case FaultCode::unknown_chunk:
            return "the server sent a reply chunk of the unknown type " + hex(fault.got);
        case FaultCode::misplaced_chunk:
            return "the server sent a reply chunk of type " + hex(fault.got) +
                   " to a command of type " + std::to_string(fault.expected);
        case FaultCode::malformed_chunk:
            return "the server sent a reply chunk of " + std::to_string(fault.got) +
                   " bytes where " + std::to_string(fault.expected) + " are needed";
        case FaultCode::chunk_out_of_range:
            return "the server sent bytes at " + std::to_string(fault.got) +
                   ", outside the request, which ends at " + std::to_string(fault.expected);
        case FaultCode::chunk_overlaps:
            return "the server sent the bytes at " + std::to_string(fault.got) + " twice";
        case FaultCode::too_many_chunks:
            return "the server sends its replies in more than " + std::to_string(fault.got) +
                   " pieces with gaps between them";
        case FaultCode::wrong_offset_echo:
            return "the server replied for the offset " + std::to_string(fault.got) +
                   " instead of " + std::to_string(fault.expected);
        case FaultCode::reply_incomplete:
            return "the server ended its reply with " + std::to_string(fault.got) + " of " +
                   std::to_string(fault.expected) + " bytes";
        case FaultCode::unasked_block_status:
            return "the server sent the block status of metadata context " +
                   std::to_string(fault.got) + ", which was not agreed on";
        default: return {};
    }
}

}  // namespace

std::string printable(std::string_view text) {
    std::string clean(text);
    for (auto& character : clean)
        if (character < 0x20 || character > 0x7e) character = '?';
    return clean;
}

std::string describe(const Fault& fault) {
    switch (fault.code) {
        case FaultCode::none: return "no fault";
        case FaultCode::refused:
            return std::string("the server refused ") + fault.step + ": " + refusal(fault.got) +
                   " (" + hex(fault.got) + ")" + said(fault);
        case FaultCode::hang_up:
            return std::string("the server closed the connection ") + fault.step;
        case FaultCode::server_shutting_down: return "the server is shutting down";
        case FaultCode::timed_out:
            return std::string("no answer within ") + std::to_string(fault.expected) + " ms " +
                   fault.step;
        case FaultCode::resolve_failed: return "the host's name cannot be resolved" + said(fault);
        case FaultCode::connect_failed: return "cannot connect" + said(fault);
        case FaultCode::socket_failed:
            return std::string("the connection failed ") + fault.step + said(fault);
        case FaultCode::name_too_long:
            return "the name has " + std::to_string(fault.got) + " bytes; at most " +
                   std::to_string(fault.expected) + " are allowed";
        case FaultCode::tls_unknown_ca:
        case FaultCode::tls_expired:
        case FaultCode::tls_wrong_name:
        case FaultCode::tls_untrusted:
        case FaultCode::tls_client_certificate_wanted:
        case FaultCode::tls_client_certificate_refused:
        case FaultCode::tls_alert:
        case FaultCode::tls_truncated:
        case FaultCode::tls_failed:
        case FaultCode::tls_file:
        case FaultCode::tls_key_mismatch: return fault.text.string();
        case FaultCode::unsupported: return "not supported" + said(fault);
        case FaultCode::closed: return "the connection was closed";
        case FaultCode::export_changed: return "the export is not the one it was" + said(fault);
        default: break;
    }
    const auto text = negotiation(fault);
    return text.empty() ? transmission(fault) : text;
}

}  // namespace wnbd::nbd
