// SPDX-License-Identifier: LGPL-2.1-or-later
// I_T nexuses (SAM-5): who sends a command. The host numbers them; a front end with one initiator
// calls it 0.
#pragma once

#include <bit>
#include <cstdint>

namespace wnbd::scsi {

/// Every value is a nexus. The host gives the same initiator port the same number for as long as it
/// is registered, and no number to two of them at once.
using Nexus = std::uint8_t;
constexpr unsigned max_nexuses = 256;

/// A set of nexuses. A value without allocation.
class NexusSet {
  public:
    constexpr void add(Nexus nexus) noexcept { words_[nexus / 64] |= bit(nexus); }
    constexpr void remove(Nexus nexus) noexcept { words_[nexus / 64] &= ~bit(nexus); }
    [[nodiscard]] constexpr bool contains(Nexus nexus) const noexcept {
        return (words_[nexus / 64] & bit(nexus)) != 0;
    }
    [[nodiscard]] constexpr bool empty() const noexcept {
        return (words_[0] | words_[1] | words_[2] | words_[3]) == 0;
    }
    template <typename Visit>
    constexpr void for_each(Visit visit) const noexcept {
        for (unsigned word = 0; word < 4; ++word) {
            for (std::uint64_t rest = words_[word]; rest != 0; rest &= rest - 1) {
                visit(
                    static_cast<Nexus>(word * 64 + static_cast<unsigned>(std::countr_zero(rest))));
            }
        }
    }
    constexpr bool operator==(const NexusSet&) const noexcept = default;

  private:
    static constexpr std::uint64_t bit(Nexus nexus) noexcept {
        return std::uint64_t{1} << (nexus % 64);
    }
    std::uint64_t words_[4] = {};
};

}  // namespace wnbd::scsi
