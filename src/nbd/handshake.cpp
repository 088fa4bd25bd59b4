// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/handshake.h"

#include <algorithm>

#include "base/big_endian.h"
#include "base/byte_reader.h"
#include "nbd/option_names.h"

namespace wnbd::nbd {
namespace {

template <typename T>
void append(std::vector<std::uint8_t>& to, T value) {
    std::uint8_t field[sizeof(T)];
    store_big_endian<T>(field, value);
    to.insert(to.end(), field, field + sizeof(T));
}

std::uint16_t valid_flags(std::uint16_t flags) {
    return (flags & transmission_has_flags) != 0 ? flags : std::uint16_t{0};
}

std::string_view as_text(std::span<const std::uint8_t> bytes) {
    return {reinterpret_cast<const char*>(bytes.data()), bytes.size()};
}

std::span<const std::uint8_t> as_bytes(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

void append_text(std::vector<std::uint8_t>& to, std::string_view text) {
    append(to, static_cast<std::uint32_t>(text.size()));
    to.insert(to.end(), text.begin(), text.end());
}

}  // namespace

Handshake::Handshake(HandshakeOptions options) : options_(std::move(options)) {
    if (options_.export_name.size() > max_export_name)
        fail({.code = FaultCode::name_too_long,
              .got = options_.export_name.size(),
              .expected = max_export_name});
}

// Bytes in and out.

std::size_t Handshake::receive(std::span<const std::uint8_t> bytes) {
    std::size_t used = 0;
    while (used < bytes.size() && !done() && !failed()) {
        // Whatever follows the consent in plain text may be anybody's who wants it to be taken for
        // the server's first words inside TLS.
        if (wants_tls()) {
            fail({.code = FaultCode::plain_text_before_tls, .got = bytes.size() - used});
            break;
        }
        const auto count = std::min(bytes.size() - used, input_needed_ - input_length_);
        std::copy_n(bytes.begin() + static_cast<std::ptrdiff_t>(used), count,
                    input_.begin() + static_cast<std::ptrdiff_t>(input_length_));
        used += count;
        input_length_ += count;
        if (input_length_ == input_needed_) step_forward();
    }
    return used;
}

std::span<const std::uint8_t> Handshake::output() const noexcept {
    return std::span(output_).subspan(output_sent_);
}

void Handshake::sent(std::size_t count) noexcept {
    output_sent_ += std::min(count, output_.size() - output_sent_);
}

const char* Handshake::step() const noexcept {
    switch (state_) {
        case State::init_magic: return "before its greeting";
        case State::option_magic:
        case State::server_flags: return "in its greeting";
        case State::reply_header: return names_of(option_).before;
        case State::reply_payload: return names_of(option_).inside;
        case State::export_name_reply:
            return "at NBD_OPT_EXPORT_NAME (so a server says that it has no such export)";
        case State::tls: return "when TLS was to start";
        case State::done:
        case State::failed: break;
    }
    return "after the negotiation";
}

Fault Handshake::hang_up() const {
    return {.code = FaultCode::hang_up, .step = step()};
}

void Handshake::expect(State state, std::size_t bytes) noexcept {
    state_ = state;
    input_length_ = 0;
    input_needed_ = bytes;
}

void Handshake::fail(Fault fault) {
    fault_ = std::move(fault);
    expect(State::failed, 0);
}

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

// Options.

void Handshake::send_option(Option option, Payload data) {
    append(output_, option_magic);
    append(output_, static_cast<std::uint32_t>(option));
    append(output_, static_cast<std::uint32_t>(data.size()));
    output_.insert(output_.end(), data.begin(), data.end());
}

void Handshake::ask(Option option, Payload data) {
    send_option(option, data);
    option_ = option;
    replies_ = 0;
    expect(State::reply_header, option_reply_size);
}

void Handshake::ask_for_export(Option option) {
    std::vector<std::uint8_t> data;
    append_text(data, options_.export_name);
    append<std::uint16_t>(data, 3);
    append(data, info_name);
    append(data, info_description);
    append(data, info_block_size);
    ask(option, data);
}

void Handshake::ask_for_contexts(Option option) {
    std::vector<std::uint8_t> data;
    append_text(data, options_.export_name);
    if (option == Option::set_meta_context) {
        append<std::uint32_t>(data, 1);
        append_text(data, allocation_context);
    } else {
        append<std::uint32_t>(data, 0);  // no query: all there are
    }
    ask(option, data);
}

void Handshake::ask_export_name() {
    send_option(Option::export_name, as_bytes(options_.export_name));
    option_ = Option::export_name;
    // Size and flags; then 124 bytes of zeroes that only NO_ZEROES saves us.
    expect(State::export_name_reply, (server_flags_ & flag_no_zeroes) != 0 ? 10 : 134);
}

void Handshake::begin_options() {
    const bool fixed = (server_flags_ & flag_fixed_newstyle) != 0;
    if (fixed) {
        if (options_.tls != TlsMode::off) return ask(Option::starttls);
        return after_tls();
    }
    // A plain newstyle server knows EXPORT_NAME alone and may hang up at any other option.
    if (options_.tls == TlsMode::require) return fail({.code = FaultCode::tls_not_offered});
    if (options_.goal != Goal::transmission) return fail({.code = FaultCode::plain_newstyle});
    ask_export_name();
}

void Handshake::tls_started(std::string session) {
    agreement_.tls = true;
    agreement_.tls_session = std::move(session);
    after_tls();
}

void Handshake::after_tls() {
    // A list needs none of what follows.
    if (options_.goal == Goal::list) return pursue_goal();
    if (options_.extended_headers) return ask(Option::extended_headers);
    after_extended_headers();
}

void Handshake::after_extended_headers() {
    if (agreement_.format == WireFormat::simple && options_.structured_replies)
        return ask(Option::structured_reply);
    after_replies_agreed();
}

void Handshake::after_replies_agreed() {
    // Metadata need structured replies: asked without them a server may only refuse.
    if (agreement_.format != WireFormat::simple && options_.block_status &&
        options_.goal == Goal::transmission)
        return ask_for_contexts(Option::set_meta_context);
    pursue_goal();
}

void Handshake::pursue_goal() {
    switch (options_.goal) {
        case Goal::transmission: return ask_for_export(Option::go);
        case Goal::info: return ask_for_export(Option::info);
        case Goal::list: return ask(Option::list);
        case Goal::list_contexts:
            if (agreement_.format == WireFormat::simple) return finish();
            return ask_for_contexts(Option::list_meta_context);
    }
}

void Handshake::finish() {
    if (options_.goal != Goal::transmission) send_option(Option::abort, {});
    expect(State::done, 0);
}

// The server's words.

void Handshake::step_forward() {
    const Payload input = std::span(input_).first(input_length_);
    switch (state_) {
        case State::init_magic: return on_init_magic(load_big_endian<std::uint64_t>(input.data()));
        case State::option_magic:
            return on_option_magic(load_big_endian<std::uint64_t>(input.data()));
        case State::server_flags:
            return on_server_flags(load_big_endian<std::uint16_t>(input.data()));
        case State::reply_header: return on_reply_header();
        case State::reply_payload: return on_reply(input);
        case State::export_name_reply: return on_export_name_reply();
        case State::tls:
        case State::done:
        case State::failed: return;
    }
}

void Handshake::on_init_magic(std::uint64_t magic) {
    if (magic != init_magic)
        return fail({.code = FaultCode::not_nbd, .got = magic, .expected = init_magic});
    expect(State::option_magic, 8);
}

void Handshake::on_option_magic(std::uint64_t magic) {
    if (magic == oldstyle_magic) return fail({.code = FaultCode::oldstyle, .got = magic});
    if (magic != option_magic)
        return fail({.code = FaultCode::bad_option_magic, .got = magic, .expected = option_magic});
    expect(State::server_flags, 2);
}

void Handshake::on_server_flags(std::uint16_t flags) {
    server_flags_ = flags;
    // The client may only echo what the server offered.
    append<std::uint32_t>(output_, flags & (flag_fixed_newstyle | flag_no_zeroes));
    begin_options();
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
