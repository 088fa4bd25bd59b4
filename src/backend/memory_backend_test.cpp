// SPDX-License-Identifier: LGPL-2.1-or-later
#include "backend/memory_backend.h"

#include <gtest/gtest.h>

#include <thread>
#include <vector>

#include "backend/blocking.h"

namespace wnbd::backend {
namespace {

using Bytes = std::vector<std::uint8_t>;

std::unique_ptr<Backend> disk(std::uint64_t size) {
    auto made = MemoryBackend::create(size);
    EXPECT_TRUE(made.ok());
    return std::move(made.value());
}

Bytes read(Backend& backend, std::uint64_t offset, std::size_t length) {
    Bytes bytes(length, 0xee);
    EXPECT_EQ(read_blocking(backend, offset, bytes), Error::none);
    return bytes;
}

TEST(MemoryBackend, ReadsZeroesUntilWritten) {
    auto memory = disk(1U << 20);
    EXPECT_EQ(read(*memory, 65000, 2000), Bytes(2000, 0));
    Bytes pattern(200'000);
    for (std::size_t i = 0; i < pattern.size(); ++i)
        pattern[i] = static_cast<std::uint8_t>(i * 31);
    ASSERT_EQ(write_blocking(*memory, 65000, pattern, true), Error::none);
    EXPECT_EQ(read(*memory, 65000, pattern.size()), pattern);
    EXPECT_EQ(read(*memory, 64999, 1), Bytes(1, 0));
    EXPECT_EQ(read(*memory, 265000, 1), Bytes(1, 0));
}

TEST(MemoryBackend, TrimAndWriteZeroesZeroJustTheirRange) {
    for (const auto operation : {Operation::trim, Operation::write_zeroes}) {
        auto memory = disk(1U << 20);
        Bytes ones(1U << 20, 1);
        ASSERT_EQ(write_blocking(*memory, 0, ones), Error::none);
        ASSERT_EQ(
            perform_blocking(*memory, {.operation = operation, .offset = 1000, .length = 200'000}),
            Error::none);
        std::fill(ones.begin() + 1000, ones.begin() + 201'000, 0);
        EXPECT_EQ(read(*memory, 0, ones.size()), ones);
    }
}

TEST(MemoryBackend, AHugeDiskCostsOnlyWhatIsWritten) {
    auto memory = disk(std::uint64_t{4} << 40);
    Bytes bytes(4096, 7);
    const auto last = memory->properties().size - bytes.size();
    ASSERT_EQ(write_blocking(*memory, last, bytes), Error::none);
    EXPECT_EQ(read(*memory, last, bytes.size()), bytes);
}

TEST(MemoryBackend, RequestsBeyondTheEndAreRefused) {
    auto memory = disk(4096);
    Bytes bytes(512);
    EXPECT_EQ(read_blocking(*memory, 3585, bytes), Error::invalid);
    EXPECT_EQ(read_blocking(*memory, UINT64_MAX - 255, bytes), Error::invalid);
    EXPECT_EQ(write_blocking(*memory, 4096, bytes), Error::no_space);
    EXPECT_EQ(perform_blocking(*memory, {.operation = Operation::trim, .length = 4097}),
              Error::no_space);
    EXPECT_EQ(perform_blocking(*memory, {.length = 8, .buffer = bytes}), Error::invalid);
    EXPECT_EQ(perform_blocking(*memory, {.operation = static_cast<Operation>(99)}), Error::invalid);
    EXPECT_EQ(perform_blocking(*memory, {.operation = Operation::flush}), Error::none);
}

TEST(MemoryBackend, ExtentsTellWhatWasWritten) {
    constexpr std::uint64_t chunk = 64U << 10;
    auto memory = disk(10 * chunk + 512);
    const auto at = [&](std::uint64_t offset) {
        const auto extents =
            extents_blocking(*memory, offset, memory->properties().size - offset, 1);
        return extents.empty() ? std::pair(std::uint64_t{0}, false)
                               : std::pair(extents[0].length, extents[0].allocated);
    };
    EXPECT_EQ(at(0), std::pair(10 * chunk + 512, false));
    Bytes bytes(2);
    ASSERT_EQ(write_blocking(*memory, 4 * chunk - 1, bytes), Error::none);
    EXPECT_EQ(at(100), std::pair(3 * chunk - 100, false));
    EXPECT_EQ(at(3 * chunk + 5), std::pair(2 * chunk - 5, true));
    EXPECT_EQ(at(5 * chunk), std::pair(5 * chunk + 512, false));
    ASSERT_EQ(perform_blocking(
                  *memory, {.operation = Operation::trim, .offset = 3 * chunk, .length = chunk}),
              Error::none);
    EXPECT_EQ(at(0), std::pair(4 * chunk, false));
}

TEST(MemoryBackend, AfterCloseEverythingFails) {
    auto memory = disk(4096);
    memory->close();
    Bytes bytes(512);
    EXPECT_EQ(read_blocking(*memory, 0, bytes), Error::shutting_down);
}

TEST(MemoryBackend, ImpossibleSizesAreRefused) {
    EXPECT_FALSE(MemoryBackend::create(0).ok());
    EXPECT_FALSE(MemoryBackend::create(MemoryBackend::max_size + 1).ok());
    EXPECT_FALSE(MemoryBackend::create(UINT64_MAX).ok());
}

TEST(MemoryBackend, ManyThreadsMayWorkAtOnce) {
    auto memory = disk(16U << 20);
    std::vector<std::thread> threads;
    for (std::uint8_t t = 0; t < 4; ++t)
        threads.emplace_back([&, t] {
            // Neighbours share chunks, never bytes.
            for (std::uint64_t i = 0; i < 500; ++i) {
                Bytes bytes(1000, static_cast<std::uint8_t>(t + i));
                const auto offset = (i * 4 + t) * 1000;
                EXPECT_EQ(write_blocking(*memory, offset, bytes), Error::none);
                EXPECT_EQ(read(*memory, offset, 1000), bytes);
            }
        });
    for (auto& thread : threads)
        thread.join();
}

}  // namespace
}  // namespace wnbd::backend
