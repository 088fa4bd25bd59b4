// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/handshake.h"

#include <algorithm>
#include <bit>

#include "base/big_endian.h"
#include "base/byte_reader.h"

namespace wnbd::nbd {
namespace {

constexpr std::uint64_t no_limit = 0xffffffff;  // "maximum payload" of a server without one

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

}  // namespace

Fault check_export(const ExportInfo& info) {
    if (info.size == 0) return {.code = FaultCode::size_zero};
    if (info.size > max_export_size)
        return {.code = FaultCode::size_too_large, .got = info.size, .expected = max_export_size};
    if (!std::has_single_bit(info.minimum_block) || info.minimum_block > largest_minimum_block)
        return {.code = FaultCode::bad_block_size, .got = info.minimum_block, .text = "minimum"};
    if (!std::has_single_bit(info.preferred_block) || info.preferred_block < info.minimum_block)
        return {
            .code = FaultCode::bad_block_size, .got = info.preferred_block, .text = "preferred"};
    if (info.maximum_payload < info.minimum_block ||
        (info.maximum_payload != no_limit && info.maximum_payload % info.minimum_block != 0))
        return {.code = FaultCode::bad_block_size, .got = info.maximum_payload, .text = "maximum"};
    return {};
}

Handshake::Handshake(std::string_view export_name) : export_name_(export_name) {
    if (export_name.size() > max_export_name)
        fail({.code = FaultCode::name_too_long,
              .got = export_name.size(),
              .expected = max_export_name});
}

std::size_t Handshake::receive(std::span<const std::uint8_t> bytes) {
    std::size_t used = 0;
    while (used < bytes.size() && !done() && !failed()) {
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
        case State::go_reply_header: return "before its answer to NBD_OPT_GO";
        case State::go_reply_payload: return "in its answer to NBD_OPT_GO";
        case State::export_name_reply:
            return "at NBD_OPT_EXPORT_NAME (so a server says that it has no such export)";
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
    state_ = State::failed;
}

void Handshake::step_forward() {
    switch (state_) {
        case State::init_magic: {
            const auto magic = load_big_endian<std::uint64_t>(input_.data());
            if (magic != init_magic)
                return fail({.code = FaultCode::not_nbd, .got = magic, .expected = init_magic});
            return expect(State::option_magic, 8);
        }
        case State::option_magic:
            return on_option_magic(load_big_endian<std::uint64_t>(input_.data()));
        case State::server_flags:
            return on_server_flags(load_big_endian<std::uint16_t>(input_.data()));
        case State::go_reply_header: return on_go_reply_header();
        case State::go_reply_payload: return on_go_reply(std::span(input_).first(input_length_));
        case State::export_name_reply: return on_export_name_reply();
        case State::done:
        case State::failed: return;
    }
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
    // A plain newstyle server knows EXPORT_NAME alone and may hang up at any other option.
    if ((flags & flag_fixed_newstyle) != 0)
        ask_go();
    else
        ask_export_name();
}

void Handshake::put_option(Option option, std::span<const std::uint8_t> data) {
    append(output_, option_magic);
    append(output_, static_cast<std::uint32_t>(option));
    append(output_, static_cast<std::uint32_t>(data.size()));
    output_.insert(output_.end(), data.begin(), data.end());
}

void Handshake::ask_go() {
    std::vector<std::uint8_t> data;
    append(data, static_cast<std::uint32_t>(export_name_.size()));
    data.insert(data.end(), export_name_.begin(), export_name_.end());
    append<std::uint16_t>(data, 1);
    append(data, info_block_size);
    put_option(Option::go, data);
    expect(State::go_reply_header, 20);
}

void Handshake::ask_export_name() {
    put_option(Option::export_name,
               {reinterpret_cast<const std::uint8_t*>(export_name_.data()), export_name_.size()});
    // Size and flags; then 124 bytes of zeroes that only NO_ZEROES saves us.
    expect(State::export_name_reply, (server_flags_ & flag_no_zeroes) != 0 ? 10 : 134);
}

void Handshake::on_go_reply_header() {
    ByteReader header({input_.data(), input_length_});
    const auto magic = header.big_endian<std::uint64_t>();
    const auto option = header.big_endian<std::uint32_t>();
    reply_type_ = header.big_endian<std::uint32_t>();
    const auto length = header.big_endian<std::uint32_t>();
    if (magic != option_reply_magic)
        return fail(
            {.code = FaultCode::bad_reply_magic, .got = magic, .expected = option_reply_magic});
    if (option != static_cast<std::uint32_t>(Option::go))
        return fail({.code = FaultCode::wrong_option_echo,
                     .got = option,
                     .expected = static_cast<std::uint32_t>(Option::go)});
    if (length > max_option_reply)
        return fail({.code = FaultCode::oversized_option_reply,
                     .got = length,
                     .expected = max_option_reply});
    if (++replies_ > max_option_replies)
        return fail({.code = FaultCode::too_many_option_replies, .expected = max_option_replies});
    if (length == 0) return on_go_reply({});
    expect(State::go_reply_payload, length);
}

void Handshake::on_go_reply(std::span<const std::uint8_t> payload) {
    if ((reply_type_ & option_reply_error_bit) != 0) return on_refusal(payload);
    switch (static_cast<OptionReply>(reply_type_)) {
        case OptionReply::ack: return on_acknowledged();
        case OptionReply::info: return on_info(payload);
        default: return fail({.code = FaultCode::unexpected_option_reply, .got = reply_type_});
    }
}

void Handshake::on_info(std::span<const std::uint8_t> payload) {
    const auto too_short = [&](std::size_t needed) {
        fail({.code = FaultCode::short_info_reply, .got = payload.size(), .expected = needed});
    };
    if (payload.size() < 2) return too_short(2);
    ByteReader reader(payload);
    const auto type = reader.big_endian<std::uint16_t>();
    if (type == info_export) {
        if (payload.size() < 12) return too_short(12);
        info_.size = reader.big_endian<std::uint64_t>();
        info_.transmission_flags = valid_flags(reader.big_endian<std::uint16_t>());
        have_export_ = true;
    } else if (type == info_block_size) {
        if (payload.size() < 14) return too_short(14);
        info_.minimum_block = reader.big_endian<std::uint32_t>();
        info_.preferred_block = reader.big_endian<std::uint32_t>();
        info_.maximum_payload = reader.big_endian<std::uint32_t>();
    }
    // Other information is the server's to volunteer and ours to pass over.
    expect(State::go_reply_header, 20);
}

void Handshake::on_refusal(std::span<const std::uint8_t> payload) {
    if (reply_type_ == static_cast<std::uint32_t>(OptionReply::error_unsupported))
        return ask_export_name();
    put_option(Option::abort, {});
    fail({.code = FaultCode::refused, .got = reply_type_, .text = printable(as_text(payload))});
}

void Handshake::on_export_name_reply() {
    ByteReader reader({input_.data(), input_length_});
    info_ = {};
    info_.size = reader.big_endian<std::uint64_t>();
    info_.transmission_flags = valid_flags(reader.big_endian<std::uint16_t>());
    have_export_ = true;
    on_acknowledged();
}

void Handshake::on_acknowledged() {
    if (!have_export_) return fail({.code = FaultCode::no_export_info});
    if (auto fault = check_export(info_); fault.code != FaultCode::none)
        return fail(std::move(fault));
    state_ = State::done;
}

}  // namespace wnbd::nbd
