// SPDX-License-Identifier: LGPL-2.1-or-later
#include "backend/aligning_backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <vector>

#include "backend/block_storage.h"
#include "backend/blocking.h"

namespace wnbd::backend {
namespace {

using test::block_size;
using test::Disk;
using test::Storage;
using Bytes = std::vector<std::uint8_t>;

Error change(Backend& disk, Operation operation, std::uint64_t offset, std::uint64_t length,
             bool forced = false) {
    return perform_blocking(
        disk,
        {.operation = operation, .force_unit_access = forced, .offset = offset, .length = length});
}

TEST(AligningBackend, StandsOnlyWhereItIsNeeded) {
    auto small = std::make_unique<Storage>(4096, 512);
    Backend* const plain = small.get();
    EXPECT_EQ(aligned_to(std::move(small), 512).get(), plain);
    Disk disk(10 * block_size + 100, 4096, 512);
    EXPECT_NE(disk.disk.get(), disk.storage);
    const Properties& properties = disk.disk->properties();
    EXPECT_EQ(properties.size, 10U * block_size);
    EXPECT_EQ(properties.minimum_block, 512U);
    EXPECT_EQ(properties.preferred_block, 4096U);
    EXPECT_TRUE(properties.can_flush && properties.can_fua && properties.can_trim &&
                properties.can_write_zeroes);
    EXPECT_FALSE(properties.trim_reads_zeroes);
}

TEST(AligningBackend, PrefersNothingSmallerThanTheStorageTakes) {
    const auto preferred = [](std::uint32_t block) {
        auto storage = std::make_unique<Storage>(block_size, 4096);
        storage->prefer(block);
        return aligned_to(std::move(storage), 512)->properties().preferred_block;
    };
    EXPECT_EQ(preferred(512), 4096U);
    EXPECT_EQ(preferred(65536), 65536U);
}

TEST(AligningBackend, EveryRangeOfATinyDiskIsReadAndChangedRight) {
    constexpr std::uint64_t size = 24;
    for (const std::uint32_t large : {2U, 4U, 8U})
        for (const auto operation : {Operation::write, Operation::write_zeroes, Operation::trim})
            for (std::uint64_t offset = 0; offset <= size; ++offset)
                for (std::uint64_t length = 0; offset + length <= size; ++length) {
                    Disk disk(size, large, 1);
                    for (std::size_t i = 0; i < size; ++i)
                        disk.storage->bytes[i] = static_cast<std::uint8_t>(100 + i);
                    Bytes expected = disk.storage->bytes;
                    Bytes read(length);
                    ASSERT_EQ(read_blocking(*disk.disk, offset, read), Error::none);
                    const auto begin =
                        std::next(expected.begin(), static_cast<std::ptrdiff_t>(offset));
                    ASSERT_TRUE(std::equal(read.begin(), read.end(), begin));
                    Bytes payload(length);
                    for (std::size_t i = 0; i < length; ++i)
                        payload[i] = static_cast<std::uint8_t>(200 + i);
                    if (operation == Operation::write) {
                        ASSERT_EQ(write_blocking(*disk.disk, offset, payload), Error::none);
                        std::copy(payload.begin(), payload.end(), begin);
                    } else {
                        ASSERT_EQ(change(*disk.disk, operation, offset, length), Error::none);
                        const bool trims = operation == Operation::trim;
                        for (auto at = offset; at < offset + length; ++at) {
                            const auto block = at / large * large;
                            const bool whole = block >= offset && block + large <= offset + length;
                            if (!trims || whole) expected[at] = 0;
                        }
                    }
                    ASSERT_EQ(disk.storage->bytes, expected)
                        << large << " " << static_cast<int>(operation) << " " << offset << "+"
                        << length;
                }
}

TEST(AligningBackend, OnlyTheEdgesAreRead) {
    Disk disk(16 * block_size, 4096, 512);
    Bytes payload(8 * block_size);
    const auto reads_of = [&](std::uint64_t offset, std::size_t length) {
        const auto before = disk.storage->reads.load();
        EXPECT_EQ(write_blocking(*disk.disk, offset, std::span(payload).first(length)),
                  Error::none);
        return disk.storage->reads.load() - before;
    };
    EXPECT_EQ(reads_of(4096, 8 * block_size), 0U);
    EXPECT_EQ(reads_of(4096, 7 * block_size + 512), 1U);
    EXPECT_EQ(reads_of(4096 - 512, 7 * block_size + 512), 1U);
    EXPECT_EQ(reads_of(512, 7 * block_size), 2U);
    EXPECT_EQ(reads_of(512, 512), 1U);
    EXPECT_EQ(reads_of(512, 3 * 512 + 3584), 2U);
}

TEST(AligningBackend, ForceUnitAccessHoldsForEveryPart) {
    Disk disk(16 * block_size, 4096, 512);
    Bytes payload(3 * block_size);
    ASSERT_EQ(write_blocking(*disk.disk, 512, payload, true), Error::none);
    EXPECT_EQ(disk.storage->forced, 3U);  // head, middle, tail
    ASSERT_EQ(change(*disk.disk, Operation::write_zeroes, 512, 3 * block_size, true), Error::none);
    EXPECT_EQ(disk.storage->forced, 6U);
    ASSERT_EQ(change(*disk.disk, Operation::trim, 512, 3 * block_size, true), Error::none);
    EXPECT_EQ(disk.storage->forced, 7U);
    ASSERT_EQ(change(*disk.disk, Operation::flush, 0, 0), Error::none);
    EXPECT_EQ(disk.storage->flushes, 1U);
}

TEST(AligningBackend, RangesAreCheckedByTheSmallBlock) {
    Disk disk(4 * block_size + 512, 4096, 512);
    Bytes bytes(512);
    EXPECT_EQ(read_blocking(*disk.disk, 100, bytes), Error::invalid);
    EXPECT_EQ(read_blocking(*disk.disk, 4 * block_size, bytes), Error::invalid);
    EXPECT_EQ(write_blocking(*disk.disk, 4 * block_size, bytes), Error::no_space);
    EXPECT_EQ(write_blocking(*disk.disk, 4 * block_size - 512, bytes), Error::none);
}

TEST(AligningBackend, AnErrorOfAnyPartIsTheRequests) {
    Disk disk(16 * block_size, 4096, 512);
    Bytes bytes(2 * block_size);
    disk.storage->read_error = Error::io;
    EXPECT_EQ(read_blocking(*disk.disk, 512, bytes), Error::io);
    EXPECT_EQ(write_blocking(*disk.disk, 512, bytes), Error::io);
    EXPECT_EQ(disk.storage->writes, 0U) << "a block that could not be read was written";
    disk.storage->read_error = Error::none;
    disk.storage->write_error = Error::no_space;
    EXPECT_EQ(write_blocking(*disk.disk, 512, bytes), Error::no_space);
    disk.storage->write_error = Error::none;
    EXPECT_EQ(write_blocking(*disk.disk, 512, bytes), Error::none)
        << "something was not given back";
}

TEST(AligningBackend, ExtentsAreCutToWhatWasAsked) {
    Disk disk(8 * block_size, 4096, 512);
    Bytes block(4096);
    ASSERT_EQ(write_blocking(*disk.disk, 2 * block_size, block), Error::none);
    const auto extents = [&](std::uint64_t offset, std::uint64_t length, std::size_t capacity) {
        std::vector<Extent> runs(capacity);
        struct Ask {
            std::size_t count = 0;
            Error error = Error::io;
        } ask;
        Request request{.operation = Operation::extents,
                        .offset = offset,
                        .length = length,
                        .extents = runs,
                        .context = &ask};
        request.done = [](Request& done, Error error) noexcept {
            *static_cast<Ask*>(done.context) = {done.extent_count, error};
        };
        disk.disk->submit(request);
        EXPECT_EQ(ask.error, Error::none);
        runs.resize(ask.count);
        return runs;
    };
    auto runs = extents(512, 4 * block_size, 8);
    ASSERT_EQ(runs.size(), 3U);
    EXPECT_EQ(runs[0].length, 2U * block_size - 512);
    EXPECT_FALSE(runs[0].allocated);
    EXPECT_EQ(runs[1].length, 4096U);
    EXPECT_TRUE(runs[1].allocated);
    EXPECT_EQ(runs[2].length, 4096U + 512);
    runs = extents(512, 4 * block_size, 1);
    ASSERT_EQ(runs.size(), 1U);
    EXPECT_EQ(runs[0].length, 2U * block_size - 512);
    runs = extents(2 * block_size + 512, 512, 4);
    ASSERT_EQ(runs.size(), 1U);
    EXPECT_EQ(runs[0].length, 512U);
    EXPECT_TRUE(runs[0].allocated);
}

TEST(AligningBackend, ANewSizeIsToldInWholeBlocks) {
    struct Ear final : Observer {
        void told(Weight /*weight*/, const std::string& line) noexcept override { said = line; }
        void resized(std::uint64_t now) noexcept override { size = now; }
        std::string said;
        std::uint64_t size = 0;
    } ear;
    Disk disk(8 * block_size, 4096, 512);
    disk.disk->observe(&ear);
    disk.storage->size_now = 5 * block_size + 512;
    disk.storage->observer->resized(5 * block_size + 512);
    disk.storage->observer->told(Observer::Weight::information, "back");
    EXPECT_EQ(ear.size, 5U * block_size);
    EXPECT_EQ(ear.said, "back");
    EXPECT_EQ(disk.disk->size(), 5U * block_size);
    Bytes bytes(512);
    EXPECT_EQ(read_blocking(*disk.disk, 5 * block_size, bytes), Error::invalid);
    disk.disk->observe(nullptr);
    EXPECT_EQ(disk.storage->observer, nullptr);
}

}  // namespace
}  // namespace wnbd::backend
