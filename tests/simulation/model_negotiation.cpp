// SPDX-License-Identifier: LGPL-2.1-or-later
#include "model_negotiation.h"

#include "base/byte_reader.h"

namespace wnbd::nbd::sim {
namespace {

using test::Wire;

constexpr std::size_t option_header_size = 16;

std::string text_of(std::span<const std::uint8_t> bytes) {
    return {bytes.begin(), bytes.end()};
}

}  // namespace

ModelNegotiation::ModelNegotiation(World& world, const Personality& personality)
    : world_(world), personality_(personality) {
    std::uint16_t flags = 0;
    if (personality_.fixed_newstyle) flags |= flag_fixed_newstyle;
    if (personality_.no_zeroes) flags |= flag_no_zeroes;
    if (!world_.healed() && world_.random().chance(personality_.lies_in_10000))
        put(Wire().put(world_.random().next()).put(option_magic).put(flags));
    else
        put(test::greeting(flags));
}

std::vector<std::uint8_t> ModelNegotiation::output() {
    std::vector<std::uint8_t> taken;
    taken.swap(output_);
    return taken;
}

void ModelNegotiation::put(const Wire& wire) {
    output_.insert(output_.end(), wire.bytes().begin(), wire.bytes().end());
}

void ModelNegotiation::complain(std::string text) {
    complaint_ = std::move(text);
    state_ = State::over;
}

void ModelNegotiation::receive(std::vector<std::uint8_t>& input) {
    if (state_ == State::client_flags && input.size() >= 4) {
        const auto flags = load_big_endian<std::uint32_t>(input.data());
        input.erase(input.begin(), input.begin() + 4);
        if ((flags & ~std::uint32_t{3}) != 0) return complain("unknown client flags");
        if ((flags & flag_no_zeroes) != 0 && !personality_.no_zeroes)
            return complain("the client wants no zeroes, which the server does not offer");
        if ((flags & flag_fixed_newstyle) == 0 && personality_.fixed_newstyle)
            return complain("the client does not return the fixed newstyle flag");
        send_zeroes_ = (flags & flag_no_zeroes) == 0;
        state_ = State::options;
    }
    while (state_ == State::options && take_option(input)) {
    }
}

bool ModelNegotiation::take_option(std::vector<std::uint8_t>& input) {
    if (input.size() < option_header_size) return false;
    if (load_big_endian<std::uint64_t>(input.data()) != option_magic) {
        complain("an option without its magic");
        return false;
    }
    const auto option = static_cast<Option>(load_big_endian<std::uint32_t>(&input[8]));
    const auto length = load_big_endian<std::uint32_t>(&input[12]);
    if (length > 16'384) {
        complain("an option of " + std::to_string(length) + " bytes");
        return false;
    }
    if (input.size() < option_header_size + length) return false;
    const std::vector<std::uint8_t> data(
        input.begin() + option_header_size,
        input.begin() + static_cast<std::ptrdiff_t>(option_header_size + length));
    input.erase(input.begin(),
                input.begin() + static_cast<std::ptrdiff_t>(option_header_size + length));
    if (!personality_.fixed_newstyle && option != Option::export_name)
        complain("an option that a plain newstyle server can't know");
    else
        on_option(option, data);
    return true;
}

/// Broken bytes instead of the right reply.
bool ModelNegotiation::lie(Option option) {
    auto& random = world_.random();
    if (world_.healed() || !random.chance(personality_.lies_in_10000)) return false;
    switch (random.below(5)) {
        case 0: put(Wire().put(random.next()).fill(12, 0)); break;
        case 1: put(test::option_reply_header(1, 0, static_cast<Option>(99))); break;
        case 2: put(test::option_reply_header(3, 0xffffffff, option)); break;
        case 3: put(test::option_reply_header(3, 6, option).put(info_export).fill(4, 1)); break;
        default:
            for (int i = 0; i < 1'000; ++i)
                reply(option, OptionReply::info, Wire().put<std::uint16_t>(4711));
    }
    return true;
}

void ModelNegotiation::on_option(Option option, std::span<const std::uint8_t> data) {
    if (option != Option::export_name && option != Option::abort && lie(option)) return;
    switch (option) {
        case Option::export_name: return on_export_name(data);
        case Option::abort:
            reply(option, OptionReply::ack);
            state_ = State::over;
            return;
        case Option::go:
        case Option::info:
            if (!personality_.has_go) return reply(option, OptionReply::error_unsupported);
            return on_go(option, data);
        case Option::structured_reply:
            if (!personality_.structured) return reply(option, OptionReply::error_unsupported);
            if (!data.empty()) return reply(option, OptionReply::error_invalid);
            if (format_ == WireFormat::extended)
                return reply(option, OptionReply::error_extended_header_required);
            format_ = WireFormat::structured;
            return reply(option, OptionReply::ack);
        case Option::extended_headers:
            if (!personality_.extended) return reply(option, OptionReply::error_unsupported);
            if (!data.empty()) return reply(option, OptionReply::error_invalid);
            format_ = WireFormat::extended;
            return reply(option, OptionReply::ack);
        case Option::set_meta_context: return on_set_meta_context(data);
        default: return reply(option, OptionReply::error_unsupported);
    }
}

void ModelNegotiation::reply(Option option, OptionReply type, const Wire& payload) {
    put(test::option_reply_header(static_cast<std::uint32_t>(type),
                                  static_cast<std::uint32_t>(payload.bytes().size()), option)
            .append(payload));
}

void ModelNegotiation::on_go(Option option, std::span<const std::uint8_t> data) {
    ByteReader reader(data);
    const auto name = reader.take(reader.big_endian<std::uint32_t>());
    const auto count = reader.big_endian<std::uint16_t>();
    bool wants_sizes = false;
    for (unsigned i = 0; i < count; ++i)
        if (reader.big_endian<std::uint16_t>() == info_block_size) wants_sizes = true;
    if (!reader.ok() || reader.remaining() != 0) return complain("a GO that is not well-formed");
    if (text_of(name) != "disk") return reply(option, OptionReply::error_unknown);
    // In any order, and with things that nobody asked for.
    auto& random = world_.random();
    const Wire what = Wire().put(info_export).put(personality_.size).put(personality_.flags);
    const bool export_first = random.coin();
    if (export_first) reply(option, OptionReply::info, what);
    if (!personality_.canonical_name.empty())
        reply(option, OptionReply::info, Wire().put(info_name).text(personality_.canonical_name));
    if (random.chance(2'000))
        reply(option, OptionReply::info, Wire().put(info_description).text("a disk"));
    if (random.chance(500)) reply(option, OptionReply::info, Wire().put<std::uint16_t>(4711));
    if (personality_.says_block_sizes && wants_sizes)
        reply(option, OptionReply::info,
              Wire()
                  .put(info_block_size)
                  .put(personality_.minimum_block)
                  .put(std::max(personality_.minimum_block, 4096U))
                  .put(personality_.maximum_payload));
    if (!export_first) reply(option, OptionReply::info, what);
    reply(option, OptionReply::ack);
    if (option == Option::go) state_ = State::done;
}

void ModelNegotiation::on_export_name(std::span<const std::uint8_t> data) {
    if (text_of(data) != "disk") {
        state_ = State::over;
        return;
    }
    put(Wire().put(personality_.size).put(personality_.flags));
    if (send_zeroes_) put(Wire().fill(124, 0));
    state_ = State::done;
}

void ModelNegotiation::on_set_meta_context(std::span<const std::uint8_t> data) {
    if (!personality_.meta_context)
        return reply(Option::set_meta_context, OptionReply::error_unsupported);
    if (format_ == WireFormat::simple)
        return reply(Option::set_meta_context, OptionReply::error_invalid);
    ByteReader reader(data);
    (void)reader.take(reader.big_endian<std::uint32_t>());
    const auto queries = reader.big_endian<std::uint32_t>();
    allocation_ = false;
    for (std::uint32_t i = 0; i < queries && reader.ok(); ++i)
        if (text_of(reader.take(reader.big_endian<std::uint32_t>())) == allocation_context)
            allocation_ = true;
    if (!reader.ok()) return complain("a SET_META_CONTEXT that is not well-formed");
    if (allocation_)
        reply(Option::set_meta_context, OptionReply::meta_context,
              Wire().put(allocation_id).text(allocation_context));
    reply(Option::set_meta_context, OptionReply::ack);
}

}  // namespace wnbd::nbd::sim
