// SPDX-License-Identifier: LGPL-2.1-or-later
// Server bytes for tests, right and wrong.
#pragma once

#include <cstdint>
#include <string_view>
#include <vector>

#include "base/big_endian.h"
#include "nbd/export_info.h"
#include "nbd/protocol.h"

namespace wnbd::nbd::test {

/// Bytes that are put together in order.
class Wire {
  public:
    template <typename T>
    Wire& put(T value) {
        std::uint8_t field[sizeof(T)];
        store_big_endian<T>(field, value);
        bytes_.insert(bytes_.end(), field, field + sizeof(T));
        return *this;
    }
    Wire& text(std::string_view text) {
        bytes_.insert(bytes_.end(), text.begin(), text.end());
        return *this;
    }
    Wire& fill(std::size_t count, std::uint8_t value) {
        bytes_.insert(bytes_.end(), count, value);
        return *this;
    }
    Wire& append(const Wire& other) {
        bytes_.insert(bytes_.end(), other.bytes_.begin(), other.bytes_.end());
        return *this;
    }
    Wire& append(const std::uint8_t* bytes, std::size_t count) {
        bytes_.insert(bytes_.end(), bytes, bytes + count);
        return *this;
    }
    [[nodiscard]] const std::vector<std::uint8_t>& bytes() const { return bytes_; }

  private:
    std::vector<std::uint8_t> bytes_;
};

inline Wire greeting(std::uint16_t flags = flag_fixed_newstyle | flag_no_zeroes) {
    return Wire().put(init_magic).put(option_magic).put(flags);
}

inline Wire option_reply_header(std::uint32_t type, std::uint32_t length,
                                Option option = Option::go) {
    return Wire()
        .put(option_reply_magic)
        .put(static_cast<std::uint32_t>(option))
        .put(type)
        .put(length);
}

inline Wire option_reply(OptionReply type, const Wire& payload = {}) {
    return option_reply_header(static_cast<std::uint32_t>(type),
                               static_cast<std::uint32_t>(payload.bytes().size()))
        .append(payload);
}

inline Wire export_info(std::uint64_t size, std::uint16_t flags = transmission_has_flags) {
    return option_reply(OptionReply::info, Wire().put(info_export).put(size).put(flags));
}

inline Wire block_size_info(std::uint32_t minimum, std::uint32_t preferred, std::uint32_t maximum) {
    return option_reply(OptionReply::info,
                        Wire().put(info_block_size).put(minimum).put(preferred).put(maximum));
}

inline Wire ack() {
    return option_reply(OptionReply::ack);
}

inline Wire simple_reply(std::uint64_t handle, std::uint32_t error = 0) {
    return Wire().put(simple_reply_magic).put(error).put(handle);
}

/// A chunk of a structured or an extended reply.
inline Wire chunk_header(WireFormat format, ReplyType type, std::uint16_t flags,
                         std::uint64_t handle, std::uint64_t offset, std::uint64_t length) {
    Wire wire;
    const bool extended = format == WireFormat::extended;
    wire.put(extended ? extended_reply_magic : structured_reply_magic)
        .put(flags)
        .put(static_cast<std::uint16_t>(type))
        .put(handle);
    if (extended) return wire.put(offset).put(length);
    return wire.put(static_cast<std::uint32_t>(length));
}

inline Wire chunk(WireFormat format, ReplyType type, std::uint16_t flags, std::uint64_t handle,
                  std::uint64_t offset, const Wire& payload = {}) {
    return chunk_header(format, type, flags, handle, offset, payload.bytes().size())
        .append(payload);
}

}  // namespace wnbd::nbd::test
