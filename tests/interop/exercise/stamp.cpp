// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/interop/exercise/stamp.h"

#include <algorithm>
#include <cstddef>

#include "base/big_endian.h"

namespace wnbd::test {
namespace {

constexpr std::size_t header_size = 32;
constexpr std::uint64_t magic = 0x574e4244'5354414d;

/// splitmix64: the state's next number.
std::uint64_t next(std::uint64_t& state) noexcept {
    std::uint64_t mixed = state += 0x9e3779b97f4a7c15;
    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111eb;
    return mixed ^ (mixed >> 31);
}

}  // namespace

void StampFormat::fill(const Stamp& stamp, std::span<std::uint8_t> block) const noexcept {
    std::uint8_t* const at = block.data();
    store_big_endian<std::uint64_t>(at, magic ^ seed_);
    store_big_endian<std::uint64_t>(at + 8, stamp.writer);
    store_big_endian<std::uint64_t>(at + 16, stamp.sequence);
    store_big_endian<std::uint64_t>(at + 24, stamp.block);
    std::uint64_t state = seed_ ^ (std::uint64_t{stamp.writer} << 48) ^ (stamp.sequence << 20) ^
                          (stamp.block * 0xff51afd7ed558ccd);
    for (std::size_t i = header_size; i < block.size(); i += 8)
        store_big_endian<std::uint64_t>(at + i, next(state));
}

StampFormat::Seen StampFormat::look_at(std::span<const std::uint8_t> block) const noexcept {
    if (std::all_of(block.begin(), block.end(), [](std::uint8_t byte) { return byte == 0; }))
        return {.kind = Kind::zeroes};
    const std::uint8_t* const at = block.data();
    const auto writer = load_big_endian<std::uint64_t>(at + 8);
    if (load_big_endian<std::uint64_t>(at) != (magic ^ seed_) || writer > 0xffff) return {};
    const Stamp stamp{.writer = static_cast<std::uint32_t>(writer),
                      .sequence = load_big_endian<std::uint64_t>(at + 16),
                      .block = load_big_endian<std::uint64_t>(at + 24)};
    std::uint64_t state = seed_ ^ (std::uint64_t{stamp.writer} << 48) ^ (stamp.sequence << 20) ^
                          (stamp.block * 0xff51afd7ed558ccd);
    for (std::size_t i = header_size; i < block.size(); i += 8)
        if (load_big_endian<std::uint64_t>(at + i) != next(state)) return {};
    return {.kind = Kind::stamped, .stamp = stamp};
}

}  // namespace wnbd::test
