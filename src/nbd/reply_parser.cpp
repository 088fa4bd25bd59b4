// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/reply_parser.h"

#include <algorithm>
#include <cstring>

#include "base/big_endian.h"

namespace wnbd::nbd {
namespace {

constexpr std::size_t offset_size = 8;  // bytes, before a data chunk's data
constexpr std::size_t hole_size = 12;   // bytes: offset and length
constexpr std::size_t error_size = 6;   // bytes: error and length of the message
/// Of error chunks whose type is new to us: no more than a message's and this much else.
constexpr std::uint64_t unknown_error_max = 0xffff + error_size + 1024;
constexpr std::uint64_t status_max = 32U << 20;  // bytes of one block status chunk

std::uint32_t magic_of(WireFormat format) {
    switch (format) {
        case WireFormat::simple: break;
        case WireFormat::structured: return structured_reply_magic;
        case WireFormat::extended: return extended_reply_magic;
    }
    return simple_reply_magic;
}

}  // namespace

ReplyParser::ReplyParser(RequestTable& table, ReplySink& sink)
    : table_(table), sink_(sink), buffer_(buffer_size) {}

void ReplyParser::begin() noexcept {
    begin_ = buffered_ = 0;
    window_ = buffer_size;
    slot_ = nullptr;
    body_ = Body::none;
    payload_left_ = 0;
    book_.clear();
    fault_ = {};
}

ReplyParser::Plan ReplyParser::plan() noexcept {
    // A payload being received leaves nothing in the buffer, and else only the start of a header
    // or of a descriptor is ever left over.
    Plan plan{};
    if (payload_left_ != 0) plan.slices[plan.count++] = {payload_, payload_left_};
    plan.slices[plan.count++] = {buffer_.data() + buffered_, window_ - buffered_};
    return plan;
}

const Fault& ReplyParser::received(std::size_t count) {
    if (fault_.code != FaultCode::none) return fault_;
    if (payload_left_ != 0) {
        const auto direct = std::min(count, payload_left_);
        payload_ += direct;
        payload_left_ -= direct;
        count -= direct;
        if (payload_left_ == 0) end_chunk(*slot_, done_);
    }
    begin_ = 0;
    buffered_ += count;
    while (buffered_ > 0 && fault_.code == FaultCode::none && parse()) {
    }
    if (begin_ != 0 && buffered_ != 0)
        std::memmove(buffer_.data(), buffer_.data() + begin_, buffered_);
    return fault_;
}

bool ReplyParser::fail(FaultCode code, std::uint64_t got, std::uint64_t expected) {
    fault_ = {.code = code, .got = got, .expected = expected, .step = "in transmission"};
    return false;
}

bool ReplyParser::parse() {
    switch (body_) {
        case Body::none: break;
        case Body::skipped: return skip();
        case Body::block_status: return take_descriptors();
    }
    return parse_header();
}

bool ReplyParser::parse_header() {
    if (buffered_ < sizeof(std::uint32_t)) return false;
    // The magic is looked at as soon as it is there: garbage is named, not waited upon.
    const auto magic = load_big_endian<std::uint32_t>(input());
    const auto format = table_.terms().format;
    switch (magic) {
        case simple_reply_magic:
            if (format != WireFormat::extended) return parse_simple();
            break;
        case structured_reply_magic:
            if (format == WireFormat::structured) return parse_chunk(format);
            break;
        case extended_reply_magic:
            if (format == WireFormat::extended) return parse_chunk(format);
            break;
        default: return fail(FaultCode::bad_reply_magic, magic, magic_of(format));
    }
    return fail(FaultCode::wrong_reply_kind, magic, magic_of(format));
}

Slot* ReplyParser::slot_of(std::uint64_t handle) {
    const auto found = table_.find(handle);
    if (found.slot == nullptr)
        (void)fail(found.was_used ? FaultCode::not_in_flight : FaultCode::unknown_handle, handle);
    return found.slot;
}

bool ReplyParser::parse_simple() {
    if (buffered_ < simple_reply_size) return false;
    const auto error = load_big_endian<std::uint32_t>(input() + 4);
    Slot* const slot = slot_of(load_big_endian<std::uint64_t>(input() + 8));
    if (slot == nullptr) return false;
    const bool structured = table_.terms().format != WireFormat::simple;
    const bool has_content =
        slot->command.type == CommandType::read || slot->command.type == CommandType::block_status;
    // An error loses nothing in this form; content would be lost or taken for a header.
    if (has_content && error == 0 &&
        (structured || slot->command.type == CommandType::block_status))
        return fail(FaultCode::wrong_reply_kind, simple_reply_magic, structured_reply_magic);
    consume(simple_reply_size);
    if (has_content && error == 0) {
        slot->coverage.front = static_cast<std::uint32_t>(slot->piece);
        begin_payload(*slot, 0, slot->piece, true);
        return fault_.code == FaultCode::none;
    }
    window_ = buffer_size;
    if (slot->error == 0) slot->error = error;
    end_reply(*slot);
    return fault_.code == FaultCode::none;
}

bool ReplyParser::parse_chunk(WireFormat format) {
    const bool extended = format == WireFormat::extended;
    Chunk chunk{.header = extended ? extended_reply_size : structured_reply_size};
    if (buffered_ < chunk.header) return false;
    chunk.done = (load_big_endian<std::uint16_t>(input() + 4) & reply_flag_done) != 0;
    chunk.type = load_big_endian<std::uint16_t>(input() + 6);
    chunk.handle = load_big_endian<std::uint64_t>(input() + 8);
    chunk.length = extended ? load_big_endian<std::uint64_t>(input() + 24)
                            : load_big_endian<std::uint32_t>(input() + 16);
    Slot* const slot = slot_of(chunk.handle);
    if (slot == nullptr) return false;
    if (extended) {
        chunk.offset = load_big_endian<std::uint64_t>(input() + 16);
        const auto sent = slot->command.type == CommandType::flush ? 0 : slot->offset();
        if (chunk.offset != sent) return fail(FaultCode::wrong_offset_echo, chunk.offset, sent);
    }
    if ((chunk.type & reply_type_error_bit) != 0) return parse_error(*slot, chunk);
    return parse_content(*slot, chunk);
}

bool ReplyParser::parse_content(Slot& slot, const Chunk& chunk) {
    const auto command = slot.command.type;
    const auto wanted = [&](CommandType type) {
        return command == type ||
               fail(FaultCode::misplaced_chunk, chunk.type, static_cast<std::uint64_t>(command));
    };
    switch (static_cast<ReplyType>(chunk.type)) {
        case ReplyType::none:
            if (chunk.length != 0) return fail(FaultCode::malformed_chunk, chunk.length, 0);
            // Without the flag it says nothing at all, and could go on saying so.
            if (!chunk.done)
                return fail(FaultCode::misplaced_chunk, chunk.type,
                            static_cast<std::uint64_t>(command));
            consume(chunk.header);
            choose_window(slot);
            end_chunk(slot, true);
            return fault_.code == FaultCode::none;
        case ReplyType::offset_data: return wanted(CommandType::read) && parse_data(slot, chunk);
        case ReplyType::offset_hole: return wanted(CommandType::read) && parse_hole(slot, chunk);
        case ReplyType::block_status:
            return wanted(CommandType::block_status) && parse_status(slot, chunk);
        case ReplyType::block_status_ext:
            if (table_.terms().format != WireFormat::extended) break;
            return wanted(CommandType::block_status) && parse_status(slot, chunk);
        default: break;
    }
    return fail(FaultCode::unknown_chunk, chunk.type);
}

/// Takes a run of a read's bytes down: within the request, and for the first time.
bool ReplyParser::cover(Slot& slot, std::uint64_t offset, std::uint64_t length) {
    const auto end = slot.offset() + slot.piece;
    if (offset < slot.offset() || offset >= end || length > end - offset)
        return fail(FaultCode::chunk_out_of_range, offset, end);
    switch (book_.add(slot.coverage, static_cast<std::uint32_t>(offset - slot.offset()),
                      static_cast<std::uint32_t>(length))) {
        case CoverageBook::Added::ok: return true;
        case CoverageBook::Added::overlaps: return fail(FaultCode::chunk_overlaps, offset);
        case CoverageBook::Added::no_room: break;
    }
    return fail(FaultCode::too_many_chunks, CoverageBook::runs_max);
}

bool ReplyParser::parse_data(Slot& slot, const Chunk& chunk) {
    if (chunk.length <= offset_size)
        return fail(FaultCode::malformed_chunk, chunk.length, offset_size + 1);
    if (buffered_ < chunk.header + offset_size) return false;
    const auto offset = load_big_endian<std::uint64_t>(input() + chunk.header);
    const auto length = chunk.length - offset_size;
    if (!cover(slot, offset, length)) return false;
    consume(chunk.header + offset_size);
    begin_payload(slot, offset - slot.offset(), length, chunk.done);
    return fault_.code == FaultCode::none;
}

bool ReplyParser::parse_hole(Slot& slot, const Chunk& chunk) {
    if (chunk.length != hole_size) return fail(FaultCode::malformed_chunk, chunk.length, hole_size);
    if (buffered_ < chunk.header + hole_size) return false;
    const auto offset = load_big_endian<std::uint64_t>(input() + chunk.header);
    const auto length = load_big_endian<std::uint32_t>(input() + chunk.header + 8);
    if (length == 0) return fail(FaultCode::malformed_chunk, 0, 1);
    if (!cover(slot, offset, length)) return false;
    std::memset(slot.data() + (offset - slot.offset()), 0, length);
    consume(chunk.header + hole_size);
    choose_window(slot);
    end_chunk(slot, chunk.done);
    return fault_.code == FaultCode::none;
}

bool ReplyParser::parse_status(Slot& slot, const Chunk& chunk) {
    const bool wide = static_cast<ReplyType>(chunk.type) == ReplyType::block_status_ext;
    const std::size_t head = wide ? 8 : 4;  // bytes before the descriptors
    const std::size_t descriptor = wide ? 16 : 8;
    if (chunk.length < head + descriptor || (chunk.length - head) % descriptor != 0 ||
        chunk.length > status_max)
        return fail(FaultCode::malformed_chunk, chunk.length, head + descriptor);
    if (buffered_ < chunk.header + head) return false;
    const auto* const payload = input() + chunk.header;
    const auto context = load_big_endian<std::uint32_t>(payload);
    if (table_.terms().allocation_context != context)
        return fail(FaultCode::unasked_block_status, context);
    const auto left = chunk.length - head;
    const auto count = wide ? load_big_endian<std::uint32_t>(payload + 4) : 0;
    if (count != 0 && count != left / descriptor)
        return fail(FaultCode::malformed_chunk, left, std::uint64_t{count} * descriptor);
    if (slot.status_came) return fail(FaultCode::chunk_overlaps, slot.offset());
    slot.status_came = true;
    consume(chunk.header + head);
    slot_ = &slot;
    done_ = chunk.done;
    body_ = Body::block_status;
    body_left_ = left;
    descriptor_size_ = descriptor;
    described_ = 0;
    list_full_ = false;
    window_ = buffer_size;
    return true;
}

bool ReplyParser::take_descriptors() {
    Slot& slot = *slot_;
    const bool wide = descriptor_size_ == 16;
    for (; body_left_ > 0; body_left_ -= descriptor_size_) {
        if (buffered_ < descriptor_size_) return false;
        const auto length = wide ? load_big_endian<std::uint64_t>(input())
                                 : load_big_endian<std::uint32_t>(input());
        const auto flags =
            wide ? static_cast<std::uint32_t>(load_big_endian<std::uint64_t>(input() + 8))
                 : load_big_endian<std::uint32_t>(input() + 4);
        if (length == 0) return fail(FaultCode::malformed_chunk, 0, 1);
        if (described_ == slot.piece)
            return fail(FaultCode::chunk_out_of_range, slot.offset() + described_,
                        slot.offset() + slot.piece);
        // The last one may know of more than was asked for.
        const auto within = std::min(length, slot.piece - described_);
        described_ += within;
        add_extent(slot, within, flags);
        consume(descriptor_size_);
    }
    body_ = Body::none;
    end_chunk(slot, done_);
    return fault_.code == FaultCode::none;
}

void ReplyParser::add_extent(Slot& slot, std::uint64_t length, std::uint32_t flags) {
    auto* const list = slot.command.extents;
    if (list == nullptr || list_full_) return;
    if (list->count > 0 && list->first[list->count - 1].flags == flags)
        list->first[list->count - 1].length += length;
    else if (list->count < list->capacity)
        list->first[list->count++] = {length, flags};
    else
        list_full_ = true;  // the caller asks again from there: nothing may follow a gap
}

bool ReplyParser::parse_error(Slot& slot, const Chunk& chunk) {
    const auto type = static_cast<ReplyType>(chunk.type);
    if (chunk.length < error_size || chunk.length > unknown_error_max)
        return fail(FaultCode::malformed_chunk, chunk.length, error_size);
    if (buffered_ < chunk.header + error_size) return false;
    const auto error = load_big_endian<std::uint32_t>(input() + chunk.header);
    const std::uint64_t message = load_big_endian<std::uint16_t>(input() + chunk.header + 4);
    const auto needed = error_size + message + (type == ReplyType::error_offset ? offset_size : 0);
    const bool exact = type == ReplyType::error || type == ReplyType::error_offset;
    if (exact ? chunk.length != needed : chunk.length < needed)
        return fail(FaultCode::malformed_chunk, chunk.length, needed);
    // The first one tells the cause. An error that is none is still no success.
    if (slot.error == 0) slot.error = error == 0 ? error_invalid : error;
    consume(chunk.header + error_size);
    choose_window(slot);
    slot_ = &slot;
    done_ = chunk.done;
    body_left_ = chunk.length - error_size;
    if (body_left_ != 0) {
        body_ = Body::skipped;
        return true;
    }
    end_chunk(slot, done_);
    return fault_.code == FaultCode::none;
}

/// The message and the place of an error: the error itself says what becomes of the request.
bool ReplyParser::skip() {
    const auto count = static_cast<std::size_t>(std::min<std::uint64_t>(buffered_, body_left_));
    consume(count);
    body_left_ -= count;
    if (body_left_ != 0) return false;
    body_ = Body::none;
    end_chunk(*slot_, done_);
    return fault_.code == FaultCode::none;
}

void ReplyParser::choose_window(const Slot& slot) noexcept {
    const bool large = slot.command.type == CommandType::read && slot.piece >= large_payload;
    window_ = large ? small_window : buffer_size;
}

void ReplyParser::begin_payload(Slot& slot, std::uint64_t at, std::uint64_t length, bool done) {
    window_ = length >= large_payload ? small_window : buffer_size;
    slot_ = &slot;
    done_ = done;
    payload_ = slot.data() + at;
    payload_left_ = static_cast<std::size_t>(length);
    take_payload();
}

void ReplyParser::take_payload() {
    const auto count = std::min(buffered_, payload_left_);
    std::memcpy(payload_, input(), count);
    consume(count);
    payload_ += count;
    payload_left_ -= count;
    if (payload_left_ == 0) end_chunk(*slot_, done_);
}

void ReplyParser::end_chunk(Slot& slot, bool done) {
    if (done) end_reply(slot);
}

void ReplyParser::end_reply(Slot& slot) {
    const auto type = slot.command.type;
    if (slot.error == 0) {
        if (type == CommandType::read && slot.coverage.front != slot.piece)
            return (void)fail(FaultCode::reply_incomplete, book_.total(slot.coverage), slot.piece);
        if (type == CommandType::block_status && !slot.status_came)
            return (void)fail(FaultCode::reply_incomplete, 0, slot.piece);
    }
    book_.release(slot.coverage);
    // From here on a second reply to the same request finds nothing.
    slot.handle.store(0, std::memory_order_relaxed);
    sink_.replied(slot, slot.error);
}

}  // namespace wnbd::nbd
