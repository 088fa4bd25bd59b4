// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/digest.h"

#include <gtest/gtest.h>

#include "iscsi/test_login.h"

namespace wnbd::iscsi {
namespace {

using test::bytes_of;

std::string hash(HashAlgorithm algorithm, std::string_view a, std::string_view b = {}) {
    const auto result = hash_of(algorithm, {bytes_of(a), bytes_of(b)});
    return result ? binary_text(result->view()) : "none";
}

// The vectors of RFC 1321 (A.5), RFC 3174 (7.3) and FIPS 180-2 (B.1).
TEST(Digest, HashesAreTheStandards) {
    EXPECT_EQ(hash(HashAlgorithm::md5, "message digest"), "0xf96b697d7cb7938d525a2f31aaf161d0");
    EXPECT_EQ(hash(HashAlgorithm::sha1, "abc"), "0xa9993e364706816aba3e25717850c26c9cd0d89d");
    EXPECT_EQ(hash(HashAlgorithm::sha256, "abc"),
              "0xba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
}

TEST(Digest, PartsFollowOneAnother) {
    for (const auto algorithm : {HashAlgorithm::md5, HashAlgorithm::sha1, HashAlgorithm::sha256}) {
        EXPECT_EQ(hash(algorithm, "mess", "age"), hash(algorithm, "message"));
        EXPECT_EQ(hash(algorithm, "x").size(), 2 + 2 * hash_length(algorithm));
    }
    EXPECT_FALSE(hash_of(static_cast<HashAlgorithm>(8), {}).has_value());
}

TEST(Digest, RandomBytesDiffer) {
    std::array<std::uint8_t, 32> a{};
    std::array<std::uint8_t, 32> b{};
    ASSERT_TRUE(fill_random(a));
    ASSERT_TRUE(fill_random(b));
    EXPECT_NE(a, b);
    EXPECT_TRUE(fill_random({}));
}

TEST(Digest, ComparesWholeValues) {
    EXPECT_TRUE(equal_in_constant_time(bytes_of("abc"), bytes_of("abc")));
    EXPECT_TRUE(equal_in_constant_time({}, {}));
    EXPECT_FALSE(equal_in_constant_time(bytes_of("abc"), bytes_of("abd")));
    EXPECT_FALSE(equal_in_constant_time(bytes_of("bbc"), bytes_of("abc")));
    EXPECT_FALSE(equal_in_constant_time(bytes_of("abc"), bytes_of("ab")));
}

}  // namespace
}  // namespace wnbd::iscsi
