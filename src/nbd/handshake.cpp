// SPDX-License-Identifier: LGPL-2.1-or-later
// Bytes in and out, and which option comes when. What the server answers is in
// handshake_replies.cpp.
#include "nbd/handshake.h"

#include <algorithm>

#include "base/big_endian.h"
#include "nbd/option_names.h"

namespace wnbd::nbd {
namespace {

template <typename T>
void append(std::vector<std::uint8_t>& to, T value) {
    std::uint8_t field[sizeof(T)];
    store_big_endian<T>(field, value);
    to.insert(to.end(), field, field + sizeof(T));
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

// The greeting; what follows it is in handshake_replies.cpp.

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

}  // namespace wnbd::nbd
