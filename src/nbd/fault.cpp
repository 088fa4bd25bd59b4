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

std::string got_instead(const Fault& fault) {
    return hex(fault.got) + " instead of " + hex(fault.expected);
}

const char* refusal(std::uint64_t reply) {
    switch (static_cast<OptionReply>(reply)) {
        case OptionReply::error_unsupported: return "it does not support the option";
        case OptionReply::error_policy: return "its policy forbids it";
        case OptionReply::error_invalid: return "it takes the request for invalid";
        case OptionReply::error_platform: return "its platform does not support it";
        case OptionReply::error_tls_required: return "it demands TLS, which is not supported yet";
        case OptionReply::error_unknown: return "it has no such export";
        case OptionReply::error_shutdown: return "it is shutting down";
        case OptionReply::error_block_size_required: return "it demands block size negotiation";
        case OptionReply::error_too_big: return "the request is too big for it";
        default: return "unknown reason";
    }
}

std::string server_bytes(const Fault& fault) {
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
            return "the server answers the option with the unexpected reply type " + hex(fault.got);
        case FaultCode::oversized_option_reply:
            return "the server announces an option reply of " + std::to_string(fault.got) +
                   " bytes; at most " + std::to_string(fault.expected) + " are accepted";
        case FaultCode::too_many_option_replies:
            return "the server sent more than " + std::to_string(fault.expected) +
                   " replies to one option";
        case FaultCode::short_info_reply:
            return "the server sent an information reply of " + std::to_string(fault.got) +
                   " bytes where " + std::to_string(fault.expected) + " are needed";
        case FaultCode::no_export_info:
            return "the server acknowledged the export without telling its size";
        case FaultCode::bad_block_size:
            return std::string("the server's ") + fault.text + " block size of " +
                   std::to_string(fault.got) + " bytes breaks the protocol's rules";
        case FaultCode::size_zero: return "the export has a size of 0 bytes";
        case FaultCode::size_too_large:
            return "the export claims " + std::to_string(fault.got) + " bytes; at most " +
                   std::to_string(fault.expected) + " are possible";
        case FaultCode::structured_reply_unasked:
            return "the server sent a structured reply, which was not negotiated";
        case FaultCode::unknown_handle:
            return "the server replied to handle " + hex(fault.got) + ", which was never used";
        case FaultCode::not_in_flight:
            return "the server replied to handle " + hex(fault.got) +
                   ", whose request is not in flight";
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
    const std::string said = fault.text.empty() ? "" : ": " + fault.text;
    switch (fault.code) {
        case FaultCode::none: return "no fault";
        case FaultCode::refused:
            return std::string("the server refused the export: ") + refusal(fault.got) + " (" +
                   hex(fault.got) + ")" + said;
        case FaultCode::hang_up:
            return std::string("the server closed the connection ") + fault.step;
        case FaultCode::timed_out:
            return std::string("no answer within ") + std::to_string(fault.expected) + " ms " +
                   fault.step;
        case FaultCode::resolve_failed: return "the host's name cannot be resolved" + said;
        case FaultCode::connect_failed: return "cannot connect" + said;
        case FaultCode::socket_failed:
            return std::string("the connection failed ") + fault.step + said;
        case FaultCode::name_too_long:
            return "the name has " + std::to_string(fault.got) + " bytes; at most " +
                   std::to_string(fault.expected) + " are allowed";
        case FaultCode::unsupported: return "not supported" + said;
        case FaultCode::closed: return "the connection was closed";
        default: return server_bytes(fault);
    }
}

}  // namespace wnbd::nbd
