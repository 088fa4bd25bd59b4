// SPDX-License-Identifier: LGPL-2.1-or-later
// A line of text that lies within its object: a fault can be made, copied and kept also when memory
// has run out.
#pragma once

#include <algorithm>
#include <array>
#include <concepts>
#include <cstddef>
#include <string>
#include <string_view>

namespace wnbd::nbd {

class FaultText {
  public:
    static constexpr std::size_t capacity = 1000;  // bytes

    FaultText() noexcept = default;
    /// Of a line that is too long the middle is left out: how it ends is often what to do.
    template <typename Text>
        requires std::convertible_to<const Text&, std::string_view> &&
                 (!std::same_as<Text, FaultText>)
    FaultText(const Text& text) noexcept {
        append(text);
    }
    FaultText(const FaultText& other) noexcept { append(other.view()); }
    FaultText& operator=(const FaultText& other) noexcept {
        if (this == &other) return *this;
        size_ = 0;
        append(other.view());
        return *this;
    }
    ~FaultText() = default;

    [[nodiscard]] bool empty() const noexcept { return size_ == 0; }
    [[nodiscard]] std::string_view view() const noexcept { return {bytes_.data(), size_}; }
    [[nodiscard]] std::string string() const { return std::string(view()); }

    friend bool operator==(const FaultText& left, std::string_view right) noexcept {
        return left.view() == right;
    }

  private:
    static constexpr std::string_view gap = " ... ";
    static constexpr std::size_t tail = 300;  // bytes that are kept of a long line's end

    void append(std::string_view text) noexcept {
        if (text.size() <= capacity) return put(text);
        put(text.substr(0, capacity - gap.size() - tail));
        put(gap);
        put(text.substr(text.size() - tail));
    }
    void put(std::string_view text) noexcept {
        std::copy(text.begin(), text.end(), bytes_.begin() + static_cast<std::ptrdiff_t>(size_));
        size_ += text.size();
    }

    std::array<char, capacity> bytes_;  // the first size_ of them
    std::size_t size_ = 0;
};

}  // namespace wnbd::nbd
