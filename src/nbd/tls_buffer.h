// SPDX-License-Identifier: LGPL-2.1-or-later
// The bytes between a TLS library and the carrier: put in at the end, taken from the front.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstring>
#include <span>
#include <vector>

namespace wnbd::nbd {

/// Of a fixed size, allocated once, the content always in one piece. Counts beyond what is there
/// are cut. Not thread-safe.
class TlsBuffer {
  public:
    explicit TlsBuffer(std::size_t size) : bytes_(size) {}

    [[nodiscard]] std::span<std::uint8_t> content() noexcept {
        return {bytes_.data() + begin_, end_ - begin_};
    }
    [[nodiscard]] std::span<const std::uint8_t> content() const noexcept {
        return {bytes_.data() + begin_, end_ - begin_};
    }
    [[nodiscard]] bool empty() const noexcept { return begin_ == end_; }

    /// All the room there is, behind the content, which moves to the front.
    [[nodiscard]] std::span<std::uint8_t> room() noexcept {
        if (begin_ > 0) {
            std::memmove(bytes_.data(), bytes_.data() + begin_, end_ - begin_);
            end_ -= begin_;
            begin_ = 0;
        }
        return std::span(bytes_).subspan(end_);
    }
    /// The first `count` bytes of the room are content now.
    void put(std::size_t count) noexcept { end_ += std::min(count, bytes_.size() - end_); }
    /// Copies as much as there is room for; returns how much.
    std::size_t append(std::span<const std::uint8_t> bytes) noexcept {
        const auto target = room();
        const auto count = std::min(bytes.size(), target.size());
        if (count > 0) std::memcpy(target.data(), bytes.data(), count);
        put(count);
        return count;
    }
    /// The first `count` bytes of the content are done with.
    void take(std::size_t count) noexcept {
        begin_ += std::min(count, end_ - begin_);
        if (begin_ == end_) begin_ = end_ = 0;
    }

  private:
    std::vector<std::uint8_t> bytes_;
    std::size_t begin_ = 0;
    std::size_t end_ = 0;
};

}  // namespace wnbd::nbd
