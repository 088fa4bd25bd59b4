// SPDX-License-Identifier: LGPL-2.1-or-later
#include "reply_writer.h"

#include <algorithm>

#include "model_negotiation.h"

namespace wnbd::nbd::sim {
namespace {

using test::Wire;

constexpr std::uint64_t extents_max = 64;

}  // namespace

ReplyWriter::Parts ReplyWriter::write(const Job& job, std::uint32_t error) {
    Parts parts;
    if (error == 0 && !world_.healed() && world_.random().chance(personality_.lies_in_10000)) {
        lie(job, parts);
        if (!parts.empty()) return parts;
    }
    const bool data = job.type == CommandType::read || job.type == CommandType::block_status;
    if (format_ == WireFormat::simple ||
        (format_ == WireFormat::structured && !data && world_.random().coin()))
        simple(job, error, parts);
    else if (error != 0)
        error_chunk(job, error, parts);
    else if (job.type == CommandType::read)
        read_chunks(job, parts);
    else if (job.type == CommandType::block_status)
        status_chunk(job, parts);
    else
        chunk(job, static_cast<std::uint16_t>(ReplyType::none), true, {}, parts);
    return parts;
}

void ReplyWriter::simple(const Job& job, std::uint32_t error, Parts& parts) {
    auto reply = test::simple_reply(job.cookie, error).bytes();
    if (job.type == CommandType::read && error == 0) {
        const auto data = content(job.offset, job.length);
        reply.insert(reply.end(), data.begin(), data.end());
    }
    parts.push_back(std::move(reply));
}

void ReplyWriter::chunk(const Job& job, std::uint16_t type, bool done, const Wire& payload,
                        Parts& parts) {
    const std::uint16_t flags = done ? reply_flag_done : 0;
    Wire wire;
    if (format_ == WireFormat::extended)
        wire.put(extended_reply_magic)
            .put(flags)
            .put(type)
            .put(job.cookie)
            .put(job.offset)
            .put(static_cast<std::uint64_t>(payload.bytes().size()));
    else
        wire.put(structured_reply_magic)
            .put(flags)
            .put(type)
            .put(job.cookie)
            .put(static_cast<std::uint32_t>(payload.bytes().size()));
    parts.push_back(wire.append(payload).bytes());
}

void ReplyWriter::error_chunk(const Job& job, std::uint32_t error, Parts& parts) {
    auto& random = world_.random();
    const std::string_view message = random.coin() ? "the model says no" : "";
    // A read may fail after a part of it.
    if (job.type == CommandType::read && job.length > block_size && random.coin())
        read_chunk(job, job.offset, block_size, false, parts);
    Wire payload;
    payload.put(error).put(static_cast<std::uint16_t>(message.size())).text(message);
    const bool with_offset = job.length != 0 && random.coin();
    if (with_offset) payload.put(job.offset);
    const bool done = random.coin();
    chunk(job, static_cast<std::uint16_t>(with_offset ? ReplyType::error_offset : ReplyType::error),
          done, payload, parts);
    if (!done) chunk(job, static_cast<std::uint16_t>(ReplyType::none), true, {}, parts);
}

void ReplyWriter::read_chunks(const Job& job, Parts& parts) {
    auto& random = world_.random();
    if ((job.flags & command_flag_df) != 0)
        return read_chunk(job, job.offset, job.length, true, parts);
    std::vector<std::pair<std::uint64_t, std::uint64_t>> pieces;
    const auto longest = block_size * random.between(1, 32);
    for (std::uint64_t at = 0; at < job.length;) {
        const auto left = job.length - at;
        const auto length =
            left <= block_size
                ? left
                : std::min(left, block_size * random.between(1, longest / block_size));
        pieces.emplace_back(job.offset + at, length);
        at += length;
    }
    for (std::size_t i = pieces.size(); i-- > 1;)
        std::swap(pieces[i], pieces[random.below(i + 1)]);
    const bool done_apart = random.chance(3'000);
    for (const auto& [offset, length] : pieces)
        read_chunk(job, offset, length, !done_apart && offset == pieces.back().first, parts);
    if (done_apart) chunk(job, static_cast<std::uint16_t>(ReplyType::none), true, {}, parts);
}

void ReplyWriter::read_chunk(const Job& job, std::uint64_t offset, std::uint64_t length, bool done,
                             Parts& parts) {
    if (all_zero(offset, length) && world_.random().coin())
        return chunk(job, static_cast<std::uint16_t>(ReplyType::offset_hole), done,
                     Wire().put(offset).put(static_cast<std::uint32_t>(length)), parts);
    Wire payload;
    payload.put(offset);
    const auto data = content(offset, length);
    payload.text({reinterpret_cast<const char*>(data.data()), data.size()});
    chunk(job, static_cast<std::uint16_t>(ReplyType::offset_data), done, payload, parts);
}

void ReplyWriter::status_chunk(const Job& job, Parts& parts) {
    struct Run {
        std::uint64_t length;
        std::uint32_t flags;
    };
    std::vector<Run> runs;
    // Between the kept places there is nothing: it is called data, which is always allowed.
    std::uint64_t at = job.offset;
    const auto add = [&](std::uint64_t length, std::uint32_t flags) {
        if (!runs.empty() && runs.back().flags == flags)
            runs.back().length += length;
        else
            runs.push_back({length, flags});
        at += length;
    };
    for_kept(job.range(), [&](std::uint64_t lba, std::uint32_t index) {
        if (lba * block_size > at) add(lba * block_size - at, 0);
        add(block_size, store_.value(index) == 0 ? allocation_hole | allocation_zero : 0);
    });
    if (at < job.offset + job.length) add(job.offset + job.length - at, 0);
    const auto count_max =
        (job.flags & command_flag_req_one) != 0 ? 1 : world_.random().between(1, extents_max);
    if (runs.size() > count_max) runs.resize(count_max);
    Wire payload;
    payload.put(ModelNegotiation::allocation_id);
    if (format_ == WireFormat::extended) {
        payload.put(static_cast<std::uint32_t>(runs.size()));
        for (const auto& run : runs)
            payload.put(run.length).put(static_cast<std::uint64_t>(run.flags));
        chunk(job, static_cast<std::uint16_t>(ReplyType::block_status_ext), true, payload, parts);
        return;
    }
    for (const auto& run : runs)
        payload.put(static_cast<std::uint32_t>(run.length)).put(run.flags);
    chunk(job, static_cast<std::uint16_t>(ReplyType::block_status), true, payload, parts);
}

std::vector<std::uint8_t> ReplyWriter::content(std::uint64_t offset, std::uint64_t length) {
    std::vector<std::uint8_t> bytes(length);
    const Blocks range{offset / block_size, length / block_size};
    for_kept(range, [&](std::uint64_t lba, std::uint32_t index) {
        if (const auto writer = store_.value(index); writer != 0)
            fill_block(&bytes[(lba - range.first) * block_size], writer, lba);
    });
    return bytes;
}

bool ReplyWriter::all_zero(std::uint64_t offset, std::uint64_t length) {
    bool zero = true;
    for_kept({offset / block_size, length / block_size},
             [&](std::uint64_t, std::uint32_t index) { zero = zero && store_.value(index) == 0; });
    return zero;
}

/// Something that no client may accept, or nothing if none fits.
void ReplyWriter::lie(const Job& job, Parts& parts) {
    auto& random = world_.random();
    switch (random.below(format_ == WireFormat::simple ? 5 : 12)) {
        case 0: return parts.push_back(Wire().put(random.next()).put(random.next()).bytes());
        case 1: return parts.push_back(test::simple_reply(random.next()).bytes());
        case 2: return parts.push_back(test::simple_reply(job.cookie ^ (1ULL << 40)).bytes());
        case 3:  // the answer to an answered request
            if (job.type == CommandType::read) return;
            simple(job, 0, parts);
            return simple(job, 0, parts);
        case 4:
            if (format_ == WireFormat::simple)
                parts.push_back(Wire()
                                    .put(structured_reply_magic)
                                    .put(reply_flag_done)
                                    .put(std::uint16_t{0})
                                    .put(job.cookie)
                                    .put(std::uint32_t{0})
                                    .bytes());
            else if (job.type == CommandType::read)
                parts.push_back(test::simple_reply(job.cookie).bytes());
            return;
        default: return lie_in_chunks(job, parts);
    }
}

void ReplyWriter::lie_in_chunks(const Job& job, Parts& parts) {
    auto& random = world_.random();
    const auto data = static_cast<std::uint16_t>(ReplyType::offset_data);
    const auto hole = static_cast<std::uint16_t>(ReplyType::offset_hole);
    const bool is_read = job.type == CommandType::read;
    switch (random.below(8)) {
        case 0:  // beyond the range
            return chunk(job, data, true, Wire().put(job.offset + job.length).fill(block_size, 1),
                         parts);
        case 1:  // before the range
            return chunk(job, hole, true, Wire().put(job.offset - 1).put(std::uint32_t{2}), parts);
        case 2: return chunk(job, hole, true, Wire().put(job.offset).put(~std::uint32_t{0}), parts);
        case 3: return chunk(job, hole, true, Wire().put(job.offset).put(std::uint32_t{0}), parts);
        case 4: return chunk(job, 4711, true, Wire().fill(12, 1), parts);
        case 5:  // a done that leaves bytes out
            if (is_read) chunk(job, static_cast<std::uint16_t>(ReplyType::none), true, {}, parts);
            return;
        case 6:  // an error whose message is longer than the chunk
            return chunk(job, static_cast<std::uint16_t>(ReplyType::error), true,
                         Wire().put(error_io).put(std::uint16_t{500}).fill(3, 'x'), parts);
        default:
            if (job.type != CommandType::block_status) return;
            return chunk(job, static_cast<std::uint16_t>(ReplyType::block_status), true,
                         Wire()
                             .put(ModelNegotiation::allocation_id + 1)
                             .put(std::uint32_t{512})
                             .put(std::uint32_t{0}),
                         parts);
    }
}

}  // namespace wnbd::nbd::sim
