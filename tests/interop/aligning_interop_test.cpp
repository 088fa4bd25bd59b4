// SPDX-License-Identifier: LGPL-2.1-or-later
// Disks of small blocks of nbdkit's blocksize-policy filter, which fails what is not aligned.
#include <gtest/gtest.h>

#include <algorithm>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "backend/aligning_backend.h"
#include "backend/blocking.h"
#include "backend/open_backend.h"
#include "tests/interop/server_process.h"

namespace wnbd::test {
namespace {

using backend::Error;
using backend::Operation;
using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t disk_size = 4U << 20;

void check_random_operations(backend::Backend& disk, unsigned rounds) {
    std::mt19937_64 random(7);
    Bytes expected(disk_size);
    for (unsigned round = 0; round < rounds; ++round) {
        const auto offset = random() % (disk_size / 512) * 512;
        const auto length = std::min<std::uint64_t>(disk_size - offset, (random() % 400 + 1) * 512);
        const auto at = std::next(expected.begin(), static_cast<std::ptrdiff_t>(offset));
        Bytes bytes(length, static_cast<std::uint8_t>(random() % 255 + 1));
        switch (random() % 4) {
            case 0:
            case 1:
                ASSERT_EQ(write_blocking(disk, offset, bytes, random() % 2 == 0), Error::none);
                std::copy(bytes.begin(), bytes.end(), at);
                break;
            case 2:
                ASSERT_EQ(perform_blocking(disk, {.operation = Operation::write_zeroes,
                                                  .offset = offset,
                                                  .length = length}),
                          Error::none);
                std::fill_n(at, length, 0);
                break;
            default:
                ASSERT_EQ(read_blocking(disk, offset, bytes), Error::none);
                ASSERT_TRUE(std::equal(bytes.begin(), bytes.end(), at)) << offset << "+" << length;
        }
    }
    Bytes whole(disk_size);
    ASSERT_EQ(read_blocking(disk, 0, whole), Error::none);
    EXPECT_EQ(whole, expected);
}

TEST(AligningInterop, ADiskOfSmallBlocksOnAServerOfLargeOnes) {
    for (const std::uint32_t minimum : {4096U, 65536U}) {
        TemporaryDirectory folder;
        const auto socket = folder.file("socket");
        ServerProcess server(
            {"nbdkit", "-f", "--exit-with-parent", "-U", socket, "--filter=blocksize-policy",
             "memory", "4M", "blocksize-minimum=" + std::to_string(minimum),
             "blocksize-preferred=65536", "blocksize-error-policy=error"},
            socket, 0);
        auto opened = backend::open_backend(server.uri());
        ASSERT_TRUE(opened.ok()) << opened.error();
        ASSERT_EQ(opened.value()->properties().minimum_block, minimum);
        auto disk = backend::aligned_to(std::move(opened.value()), 512);
        ASSERT_EQ(disk->properties().minimum_block, 512U);
        check_random_operations(*disk, 400);
        disk->close();
    }
}

}  // namespace
}  // namespace wnbd::test
