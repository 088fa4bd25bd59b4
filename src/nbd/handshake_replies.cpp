// SPDX-License-Identifier: LGPL-2.1-or-later
// What a server answers to options. Which one is asked next is in handshake.cpp.
#include <string_view>
#include <utility>

#include "base/big_endian.h"
#include "base/byte_reader.h"
#include "nbd/handshake.h"
#include "nbd/option_names.h"

namespace wnbd::nbd {
namespace {

std::uint16_t valid_flags(std::uint16_t flags) {
    return (flags & transmission_has_flags) != 0 ? flags : std::uint16_t{0};
}

std::string_view as_text(std::span<const std::uint8_t> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

}  // namespace

void Handshake::refuse(Payload payload) {
    send_option(Option::abort, {});
    fail({.code = FaultCode::refused,
          .got = reply_type_,
          .step = names_of(option_).wish,
          .text = printable(as_text(payload))});
}

void Handshake::malformed(std::size_t length, std::size_t needed) {
    fail({.code = FaultCode::malformed_option_reply,
          .got = length,
          .expected = needed,
          .step = names_of(option_).inside});
}

unsigned Handshake::replies_max() const noexcept {
    const bool lists = option_ == Option::list || option_ == Option::list_meta_context;
    return lists ? max_listed : max_option_replies;
}

void Handshake::on_reply_header() {
    ByteReader header({input_.data(), input_length_});
    const auto magic = header.big_endian<std::uint64_t>();
    const auto option = header.big_endian<std::uint32_t>();
    reply_type_ = header.big_endian<std::uint32_t>();
    const auto length = header.big_endian<std::uint32_t>();
    if (magic != option_reply_magic)
        return fail(
            {.code = FaultCode::bad_reply_magic, .got = magic, .expected = option_reply_magic});
    if (option != static_cast<std::uint32_t>(option_))
        return fail({.code = FaultCode::wrong_option_echo,
                     .got = option,
                     .expected = static_cast<std::uint32_t>(option_)});
    if (length > max_option_reply)
        return fail({.code = FaultCode::oversized_option_reply,
                     .got = length,
                     .expected = max_option_reply});
    if (++replies_ > replies_max())
        return fail({.code = FaultCode::too_many_option_replies, .expected = replies_max()});
    if (length == 0) return on_reply({});
    expect(State::reply_payload, length);
}

void Handshake::on_reply(Payload payload) {
    if ((reply_type_ & option_reply_error_bit) != 0) return on_error(payload);
    const auto type = static_cast<OptionReply>(reply_type_);
    if (type == OptionReply::ack) return on_acknowledged(payload);
    // What is not acknowledged goes on.
    expect(State::reply_header, option_reply_size);
    const bool of_export = option_ == Option::go || option_ == Option::info;
    const bool of_contexts =
        option_ == Option::set_meta_context || option_ == Option::list_meta_context;
    if (type == OptionReply::info && of_export) return on_export_info(payload);
    if (type == OptionReply::server && option_ == Option::list) return on_server(payload);
    if (type == OptionReply::meta_context && of_contexts) return on_context(payload);
    fail({.code = FaultCode::unexpected_option_reply,
          .got = reply_type_,
          .step = names_of(option_).inside});
}

void Handshake::on_acknowledged(Payload payload) {
    if (!payload.empty()) return malformed(payload.size(), 0);
    switch (option_) {
        case Option::starttls: return expect(State::tls, 0);
        case Option::extended_headers:
            agreement_.format = WireFormat::extended;
            return after_extended_headers();
        case Option::structured_reply:
            agreement_.format = WireFormat::structured;
            return after_replies_agreed();
        case Option::set_meta_context: return pursue_goal();
        case Option::list:
        case Option::list_meta_context: return finish();
        case Option::go:
        case Option::info: return on_export_agreed();
        case Option::export_name:
        case Option::abort: return;  // never asked for in a way that has replies
    }
}

void Handshake::on_error(Payload payload) {
    const auto type = static_cast<OptionReply>(reply_type_);
    // No extension is worth going on for: the goal would be refused alike.
    if (type == OptionReply::error_tls_required || type == OptionReply::error_shutdown)
        return refuse(payload);
    const bool unsupported = type == OptionReply::error_unsupported;
    switch (option_) {
        case Option::starttls:
            if (!unsupported && type != OptionReply::error_policy) return refuse(payload);
            if (options_.tls == TlsMode::prefer) return after_tls();
            send_option(Option::abort, {});
            return fail({.code = FaultCode::tls_not_offered,
                         .got = reply_type_,
                         .text = printable(as_text(payload))});
        case Option::extended_headers: return after_extended_headers();
        case Option::structured_reply: return after_replies_agreed();
        case Option::set_meta_context: agreement_.allocation_context.reset(); return pursue_goal();
        case Option::list_meta_context:
            if (unsupported) return finish();
            return refuse(payload);
        case Option::go:
            if (unsupported) return ask_export_name();
            return refuse(payload);
        default: return refuse(payload);
    }
}

void Handshake::on_export_info(Payload payload) {
    if (payload.size() < 2) return malformed(payload.size(), 2);
    auto& info = agreement_.info;
    ByteReader reader(payload);
    switch (reader.big_endian<std::uint16_t>()) {
        case info_export:
            if (payload.size() != 12) return malformed(payload.size(), 12);
            info.size = reader.big_endian<std::uint64_t>();
            info.transmission_flags = valid_flags(reader.big_endian<std::uint16_t>());
            have_export_ = true;
            return;
        case info_block_size:
            if (payload.size() != 14) return malformed(payload.size(), 14);
            info.minimum_block = reader.big_endian<std::uint32_t>();
            info.preferred_block = reader.big_endian<std::uint32_t>();
            info.maximum_payload = reader.big_endian<std::uint32_t>();
            return;
        case info_name: info.canonical_name = as_text(payload.subspan(2)); return;
        case info_description: info.description = as_text(payload.subspan(2)); return;
        default: return;  // other information is the server's to volunteer and ours to pass over
    }
}

void Handshake::on_server(Payload payload) {
    ByteReader reader(payload);
    const auto length = reader.big_endian<std::uint32_t>();
    const auto name = reader.take(length);
    if (!reader.ok() || length > max_export_name)
        return malformed(payload.size(), std::size_t{4} + length);
    const auto description = payload.last(reader.remaining());
    exports_.push_back({std::string(as_text(name)), std::string(as_text(description))});
}

void Handshake::on_context(Payload payload) {
    if (payload.size() < 5) return malformed(payload.size(), 5);
    const auto id = load_big_endian<std::uint32_t>(payload.data());
    const auto name = as_text(payload.subspan(4));
    if (option_ == Option::list_meta_context) {
        contexts_.emplace_back(name);
        return;
    }
    if (name != allocation_context || agreement_.allocation_context.has_value())
        return fail({.code = FaultCode::unasked_context, .got = id, .text = printable(name)});
    agreement_.allocation_context = id;
}

void Handshake::on_export_name_reply() {
    ByteReader reader({input_.data(), input_length_});
    auto& info = agreement_.info;
    info = {};
    info.size = reader.big_endian<std::uint64_t>();
    info.transmission_flags = valid_flags(reader.big_endian<std::uint16_t>());
    have_export_ = true;
    on_export_agreed();
}

void Handshake::on_export_agreed() {
    if (!have_export_) return fail({.code = FaultCode::no_export_info});
    // A size that comes with INFO is told as it is; nothing is done by it.
    auto checked = agreement_.info;
    if (options_.goal == Goal::info && checked.size == 0) checked.size = 1;
    if (auto fault = check_export(checked); fault.code != FaultCode::none)
        return fail(std::move(fault));
    finish();
}

}  // namespace wnbd::nbd
