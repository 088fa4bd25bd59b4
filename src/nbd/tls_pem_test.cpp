// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/tls_pem.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>

#include "nbd/tls_records.h"

namespace wnbd::nbd::tls {
namespace {

using Bytes = std::vector<std::uint8_t>;

std::string block(const std::string& label, const std::string& content) {
    return "-----BEGIN " + label + "-----\n" + content + "\n-----END " + label + "-----\n";
}

TEST(Pem, BlocksAreFoundBetweenComments) {
    const auto blocks = read_pem("Subject: me\r\n" + block("A B", "AQID\r\nBAU=") + "more\n" +
                                 block("C", "/w==") + block("C", ""));
    ASSERT_EQ(blocks.size(), 3U);
    EXPECT_EQ(blocks[0].label, "A B");
    EXPECT_EQ(blocks[0].data, (Bytes{1, 2, 3, 4, 5}));
    EXPECT_EQ(blocks[1].data, Bytes{0xff});
    EXPECT_EQ(blocks[2].data, Bytes{});
}

TEST(Pem, WhatIsNotWellFormedIsNoBlock) {
    for (const char* content : {"A", "AB", "ABC", "AQ=D", "A===", "AQ====", "A?ID", "AQID="})
        EXPECT_TRUE(read_pem(block("X", content)).empty()) << content;
    for (const char* text : {"", "-----BEGIN ", "-----BEGIN X", "-----BEGIN X-----\nAQID\n",
                             "-----BEGIN X-----\nAQID\n-----END Y-----\n"})
        EXPECT_TRUE(read_pem(text).empty()) << text;
}

TEST(Pem, ATornBlockHidesNoneThatFollows) {
    const auto blocks = read_pem("-----BEGIN X-----\nAQID\n" + block("Y", "AQID"));
    ASSERT_EQ(blocks.size(), 1U);
    EXPECT_EQ(blocks[0].label, "Y");
}

TEST(Pem, AnOldEncryptedKeyIsThereWithoutData) {
    const auto blocks = read_pem(block("RSA PRIVATE KEY", "Proc-Type: 4,ENCRYPTED\n\nAQID"));
    ASSERT_EQ(blocks.size(), 1U);
    EXPECT_TRUE(blocks[0].data.empty());
}

TEST(Pem, RsaKeysAreWrappedInTheShortestForm) {
    for (const std::size_t size : {1U, 100U, 127U, 128U, 255U, 256U, 1200U, 70'000U}) {
        const auto wrapped = wrap_rsa_key(Bytes(size, 0x55));
        ASSERT_EQ(wrapped[0], 0x30);
        std::size_t at = 2;
        std::size_t length = wrapped[1];
        if (length >= 0x80) {
            length = 0;
            for (unsigned left = wrapped[1] & 0x7fU; left > 0; --left)
                length = length << 8 | wrapped[at++];
            EXPECT_GE(length, 0x80U);
            EXPECT_NE(wrapped[2], 0);
        }
        EXPECT_EQ(at + length, wrapped.size()) << size;
        EXPECT_EQ(Bytes(wrapped.end() - static_cast<std::ptrdiff_t>(size), wrapped.end()),
                  Bytes(size, 0x55));
    }
}

TEST(Pem, WrappedKeysAreUnwrapped) {
    for (const std::size_t size : {1U, 127U, 128U, 1200U, 70'000U}) {
        const Bytes key(size, 0x55);
        EXPECT_EQ(unwrap_rsa_key(wrap_rsa_key(key)), key);
    }
}

TEST(Pem, DamagedKeysAreNotUnwrapped) {
    const auto good = wrap_rsa_key(Bytes(300, 0x55));
    for (std::size_t size = 0; size < good.size(); ++size)
        EXPECT_TRUE(
            unwrap_rsa_key(Bytes(good.begin(), good.begin() + static_cast<std::ptrdiff_t>(size)))
                .empty());
    // Everything before the key: its tags, lengths, version and algorithm.
    for (std::size_t at = 0; at < good.size() - 300; ++at) {
        for (const std::uint8_t flip : {0x01, 0x40, 0x80}) {
            auto bad = good;
            bad[at] ^= flip;
            EXPECT_NE(unwrap_rsa_key(bad), Bytes(300, 0x55)) << at;
        }
    }
}

Bytes record(std::uint8_t type, const Bytes& content) {
    Bytes bytes(5 + content.size());
    bytes[0] = type;
    bytes[1] = bytes[2] = 3;
    bytes[3] = static_cast<std::uint8_t>(content.size() >> 8);
    bytes[4] = static_cast<std::uint8_t>(content.size());
    std::copy(content.begin(), content.end(), bytes.begin() + 5);
    return bytes;
}

TEST(PlainRecords, AlertsAndRequestsForACertificateAreSeen) {
    EXPECT_EQ(look_at_records(record(21, {2, 40})).alert, 40U);
    EXPECT_EQ(look_at_records(record(21, {1, 40})).alert, 0U);  // a warning
    EXPECT_TRUE(look_at_records(record(22, {13, 0, 0, 1, 9})).certificate_asked);
    EXPECT_TRUE(look_at_records(record(22, {2, 0, 0, 1, 9, 13, 0, 0, 0})).certificate_asked);
    EXPECT_FALSE(look_at_records(record(22, {2, 0, 0, 1, 13})).certificate_asked);
    EXPECT_FALSE(look_at_records(record(23, {13, 0, 0, 0})).certificate_asked);
    auto two = record(22, {2, 0, 0, 0});
    for (const auto byte : record(21, {2, 116}))
        two.push_back(byte);
    EXPECT_EQ(look_at_records(two).alert, 116U);
}

TEST(PlainRecords, LyingLengthsAreNotFollowed) {
    for (const auto& bytes :
         {Bytes{}, Bytes{21, 3, 3, 0}, Bytes{21, 3, 3, 0, 2, 2}, Bytes{21, 3, 3, 255, 255, 2, 40},
          record(21, {}), record(21, {2}), record(22, {}), record(22, {2, 255, 255, 255}),
          record(22, {2, 0, 0, 1}), record(22, {2, 0, 0})}) {
        const auto seen = look_at_records(bytes);
        EXPECT_EQ(seen.alert, 0U);
        EXPECT_FALSE(seen.certificate_asked);
    }
}

}  // namespace
}  // namespace wnbd::nbd::tls
