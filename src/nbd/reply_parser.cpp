// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/reply_parser.h"

#include <algorithm>
#include <cstring>

#include "base/big_endian.h"

namespace wnbd::nbd {

ReplyParser::ReplyParser(RequestTable& table, ReplySink& sink)
    : table_(table), sink_(sink), buffer_(buffer_size) {}

ReplyParser::Plan ReplyParser::plan() noexcept {
    // Only the start of a header is ever left over, and a payload being received leaves nothing.
    Plan plan{};
    if (payload_slot_ != nullptr) {
        plan.slices[plan.count++] = {payload_slot_->command.data + payload_done_,
                                     payload_slot_->piece - payload_done_};
    }
    plan.slices[plan.count++] = {buffer_.data() + buffered_, window_ - buffered_};
    return plan;
}

const Fault& ReplyParser::received(std::size_t count) {
    if (fault_.code != FaultCode::none) return fault_;
    if (payload_slot_ != nullptr) {
        const auto direct = std::min<std::size_t>(count, payload_slot_->piece - payload_done_);
        payload_done_ += direct;
        count -= direct;
        finish_payload();
    }
    begin_ = 0;
    buffered_ += count;
    while (buffered_ > 0 && parse_header()) {
    }
    if (begin_ != 0 && buffered_ != 0)
        std::memmove(buffer_.data(), buffer_.data() + begin_, buffered_);
    return fault_;
}

void ReplyParser::fail(FaultCode code, std::uint64_t got, std::uint64_t expected) {
    fault_ = {.code = code, .got = got, .expected = expected, .step = "in transmission"};
}

bool ReplyParser::parse_header() {
    if (buffered_ < sizeof(std::uint32_t)) return false;
    const std::uint8_t* const header = buffer_.data() + begin_;
    // The magic is looked at as soon as it is there: garbage is named, not waited upon.
    const auto magic = load_big_endian<std::uint32_t>(header);
    switch (magic) {
        case simple_reply_magic: {
            if (buffered_ < simple_reply_size) return false;
            const auto error = load_big_endian<std::uint32_t>(header + 4);
            const auto handle = load_big_endian<std::uint64_t>(header + 8);
            begin_ += simple_reply_size;
            buffered_ -= simple_reply_size;
            simple_reply(error, handle);
            break;
        }
        case structured_reply_magic:
        case extended_reply_magic:
            fail(FaultCode::wrong_reply_kind, magic, simple_reply_magic);
            break;
        default: fail(FaultCode::bad_reply_magic, magic, simple_reply_magic); break;
    }
    return fault_.code == FaultCode::none;
}

void ReplyParser::simple_reply(std::uint32_t error, std::uint64_t handle) {
    const auto found = table_.find(handle);
    if (found.slot == nullptr)
        return fail(found.was_used ? FaultCode::not_in_flight : FaultCode::unknown_handle, handle);
    Slot& slot = *found.slot;
    if (slot.command.type != CommandType::read || error != 0) {
        window_ = buffer_size;
        // From here on a second reply to the same request finds nothing.
        slot.handle.store(0, std::memory_order_relaxed);
        sink_.replied(slot, error);
        return;
    }
    window_ = slot.piece >= large_payload ? small_window : buffer_size;
    payload_slot_ = &slot;
    payload_done_ = 0;
    take_payload();
}

void ReplyParser::take_payload() {
    const auto count = std::min<std::size_t>(buffered_, payload_slot_->piece);
    std::memcpy(payload_slot_->command.data, buffer_.data() + begin_, count);
    begin_ += count;
    buffered_ -= count;
    payload_done_ = count;
    finish_payload();
}

void ReplyParser::finish_payload() {
    if (payload_done_ < payload_slot_->piece) return;
    Slot& slot = *payload_slot_;
    payload_slot_ = nullptr;
    slot.handle.store(0, std::memory_order_relaxed);
    sink_.replied(slot, 0);
}

}  // namespace wnbd::nbd
