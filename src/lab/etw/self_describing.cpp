// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/etw/self_describing.h"

#include <cstring>

namespace wnbd::lab::etw {
namespace {

constexpr UCHAR has_more = 0x80;
constexpr UCHAR ansi_string = 2;
constexpr UCHAR uint32 = 8;

/// The bytes of one blob, taken one after the other.
class Bytes {
  public:
    Bytes(const std::uint8_t* data, std::size_t size) : at_(data), end_(data + size) {}

    [[nodiscard]] bool empty() const { return at_ == end_; }
    [[nodiscard]] bool take(void* out, std::size_t bytes) {
        if (static_cast<std::size_t>(end_ - at_) < bytes) return false;
        std::memcpy(out, at_, bytes);
        at_ += bytes;
        return true;
    }
    [[nodiscard]] bool take_text(std::string& out) {
        const void* const terminator = std::memchr(at_, 0, static_cast<std::size_t>(end_ - at_));
        if (terminator == nullptr) return false;
        out = reinterpret_cast<const char*>(at_);
        at_ = static_cast<const std::uint8_t*>(terminator) + 1;
        return true;
    }

  private:
    const std::uint8_t* at_;
    const std::uint8_t* end_;
};

/// A blob that begins with its own size in 16 bits.
bool is_sized(const std::vector<std::uint8_t>& blob) {
    USHORT size = 0;
    if (blob.size() < sizeof size) return false;
    std::memcpy(&size, blob.data(), sizeof size);
    return size == blob.size();
}

Bytes body_of(const std::vector<std::uint8_t>& blob) {
    return {blob.data() + sizeof(USHORT), blob.size() - sizeof(USHORT)};
}

bool take_field(Bytes& metadata, Value& value) {
    if (!metadata.take_text(value.name) || value.name.empty()) return false;
    if (!metadata.take(&value.in_type, 1)) return false;
    if ((value.in_type & has_more) == 0) return true;
    value.in_type &= static_cast<UCHAR>(~has_more);
    if (!metadata.take(&value.out_type, 1)) return false;
    return (value.out_type & has_more) == 0;
}

bool take_value(Bytes& payload, Value& value) {
    if (value.in_type == ansi_string) return payload.take_text(value.text);
    ULONG number = 0;
    if (value.in_type != uint32 || !payload.take(&number, sizeof number)) return false;
    value.text = std::to_string(number);
    return true;
}

}  // namespace

bool provider_name(const std::vector<std::uint8_t>& traits, std::string& name) {
    if (!is_sized(traits)) return false;
    Bytes body = body_of(traits);
    return body.take_text(name) && !name.empty() && body.empty();
}

std::string describe(const Event& event, SelfDescribed& described) {
    if (event.descriptor.Channel != WINEVENT_CHANNEL_TRACELOGGING) return "not its channel";
    if (event.parts.size() < 2 ||
        event.parts[0].type != EVENT_DATA_DESCRIPTOR_TYPE_PROVIDER_METADATA ||
        event.parts[1].type != EVENT_DATA_DESCRIPTOR_TYPE_EVENT_METADATA)
        return "it does not begin with traits and metadata";
    if (!provider_name(event.parts[0].bytes, described.provider)) return "its traits are malformed";
    if (!is_sized(event.parts[1].bytes)) return "its metadata does not have the size it names";
    Bytes metadata = body_of(event.parts[1].bytes);
    UCHAR tags = 0;
    if (!metadata.take(&tags, 1) || (tags & has_more) != 0 || !metadata.take_text(described.name))
        return "its name is malformed";
    std::vector<std::uint8_t> joined;
    for (std::size_t i = 2; i < event.parts.size(); ++i) {
        if (event.parts[i].type != EVENT_DATA_DESCRIPTOR_TYPE_NONE)
            return "metadata among its data";
        joined.insert(joined.end(), event.parts[i].bytes.begin(), event.parts[i].bytes.end());
    }
    Bytes payload(joined.data(), joined.size());
    while (!metadata.empty()) {
        Value value;
        if (!take_field(metadata, value)) return "a field's description is malformed";
        if (!take_value(payload, value)) return "the data of field " + value.name + " is malformed";
        described.values.push_back(value);
    }
    return payload.empty() ? "" : "there is more data than its fields describe";
}

}  // namespace wnbd::lab::etw
