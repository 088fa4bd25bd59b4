// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/crc32c.h"

#include <array>
#include <bit>
#include <cstring>

#if defined(__x86_64__)
#include <nmmintrin.h>
#endif

namespace wnbd::iscsi {
namespace {

constexpr std::uint32_t polynomial = 0x82F6'3B78;  // 0x1EDC6F41 with its bits reversed
constexpr std::size_t lanes = 8;                   // bytes the table way takes in one step

using Tables = std::array<std::array<std::uint32_t, 256>, lanes>;

/// tables[n][b]: what byte b does to the state when n more bytes follow it.
constexpr Tables make_tables() {
    Tables tables{};
    for (std::uint32_t byte = 0; byte < 256; ++byte) {
        auto state = byte;
        for (int bit = 0; bit < 8; ++bit)
            state = (state >> 1) ^ ((state & 1) != 0 ? polynomial : 0);
        tables[0][byte] = state;
    }
    for (std::size_t lane = 1; lane < lanes; ++lane) {
        for (std::size_t byte = 0; byte < 256; ++byte) {
            const auto before = tables[lane - 1][byte];
            tables[lane][byte] = (before >> 8) ^ tables[0][before & 0xFF];
        }
    }
    return tables;
}
constexpr Tables tables = make_tables();

std::uint64_t load_little_endian(const std::uint8_t* from) noexcept {
    static_assert(std::endian::native == std::endian::little);
    std::uint64_t value = 0;
    std::memcpy(&value, from, sizeof(value));
    return value;
}

bool ask_processor() noexcept {
#if defined(__x86_64__)
    __builtin_cpu_init();
    return __builtin_cpu_supports("sse4.2") != 0;
#else
    return false;
#endif
}

}  // namespace

std::uint32_t crc32c_by_table(std::uint32_t state, std::span<const std::uint8_t> bytes) noexcept {
    for (; bytes.size() >= lanes; bytes = bytes.subspan(lanes)) {
        const auto word = load_little_endian(bytes.data()) ^ state;
        state = 0;
        for (std::size_t i = 0; i < lanes; ++i)
            state ^= tables[lanes - 1 - i][(word >> (8 * i)) & 0xFF];
    }
    for (const auto byte : bytes)
        state = (state >> 8) ^ tables[0][(state ^ byte) & 0xFF];
    return state;
}

#if defined(__x86_64__)
// Compiled for a processor that has the instruction, whatever the rest of the program asks for.
__attribute__((target("sse4.2"))) std::uint32_t crc32c_by_instruction(
    std::uint32_t state, std::span<const std::uint8_t> bytes) noexcept {
    std::uint64_t wide = state;
    for (; bytes.size() >= lanes; bytes = bytes.subspan(lanes))
        wide = _mm_crc32_u64(wide, load_little_endian(bytes.data()));
    auto narrow = static_cast<std::uint32_t>(wide);
    for (const auto byte : bytes)
        narrow = _mm_crc32_u8(narrow, byte);
    return narrow;
}
#else
std::uint32_t crc32c_by_instruction(std::uint32_t state,
                                    std::span<const std::uint8_t> bytes) noexcept {
    return crc32c_by_table(state, bytes);
}
#endif

bool crc32c_instruction_here() noexcept {
    static const bool here = ask_processor();
    return here;
}

void Crc32c::feed(std::span<const std::uint8_t> bytes) noexcept {
    state_ = crc32c_instruction_here() ? crc32c_by_instruction(state_, bytes)
                                       : crc32c_by_table(state_, bytes);
}

}  // namespace wnbd::iscsi
