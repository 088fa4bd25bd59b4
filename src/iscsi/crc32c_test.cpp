// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/crc32c.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <random>
#include <vector>

namespace wnbd::iscsi {
namespace {

using Bytes = std::vector<std::uint8_t>;
using Way = std::uint32_t (*)(std::uint32_t, std::span<const std::uint8_t>) noexcept;

/// RFC 7143, A.4 (RFC 3720, B.4): the bytes as they follow one another on the wire.
struct Vector {
    Bytes input;
    std::uint32_t digest;  // the four bytes taken as a little-endian number
};

std::vector<Vector> vectors() {
    Bytes rising(32);
    std::iota(rising.begin(), rising.end(), std::uint8_t{0});
    const Bytes falling(rising.rbegin(), rising.rend());
    return {
        {Bytes(32, 0x00), 0x8A91'36AA},
        {Bytes(32, 0xFF), 0x62A8'AB43},
        {rising, 0x46DD'794E},
        {falling, 0x113F'DB5C},
        {{0x01, 0xC0, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00,
          0x00, 0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x00, 0x00, 0x04, 0x00,
          0x00, 0x00, 0x00, 0x14, 0x00, 0x00, 0x00, 0x18, 0x28, 0x00, 0x00, 0x00,
          0x00, 0x00, 0x00, 0x00, 0x02, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00, 0x00},
         0xD996'3A56},
    };
}

void expect_vectors(Way way) {
    for (const auto& vector : vectors())
        EXPECT_EQ(~way(0xFFFF'FFFF, vector.input), vector.digest);
}

TEST(Crc32c, TableGivesTheStandardsDigests) {
    expect_vectors(crc32c_by_table);
}

TEST(Crc32c, InstructionGivesTheStandardsDigests) {
    if (!crc32c_instruction_here()) GTEST_SKIP() << "the processor has no SSE 4.2";
    expect_vectors(crc32c_by_instruction);
}

TEST(Crc32c, BothWaysAgreeOnAnyLengthAndAlignment) {
    if (!crc32c_instruction_here()) GTEST_SKIP() << "the processor has no SSE 4.2";
    Bytes bytes(300);
    std::mt19937 random(1);
    std::generate(bytes.begin(), bytes.end(), [&] { return static_cast<std::uint8_t>(random()); });
    for (std::size_t from = 0; from < 9; ++from) {
        for (std::size_t length = 0; from + length <= bytes.size(); ++length) {
            const std::span part(bytes.data() + from, length);
            ASSERT_EQ(crc32c_by_table(7, part), crc32c_by_instruction(7, part)) << length;
        }
    }
}

TEST(Crc32c, MayBeFedInPieces) {
    for (const auto& vector : vectors()) {
        for (std::size_t cut = 0; cut <= vector.input.size(); ++cut) {
            Crc32c digest;
            digest.feed(std::span(vector.input).first(cut));
            digest.feed(std::span(vector.input).subspan(cut));
            ASSERT_EQ(digest.value(), vector.digest);
        }
    }
}

TEST(Crc32c, OfNothingIsZero) {
    EXPECT_EQ(Crc32c().value(), 0U);
}

}  // namespace
}  // namespace wnbd::iscsi
