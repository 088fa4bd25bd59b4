// SPDX-License-Identifier: LGPL-2.1-or-later
// A unit whose backend has another size.
#include <gtest/gtest.h>

#include "base/big_endian.h"
#include "iscsi/logical_unit_fixture.h"

namespace wnbd::iscsi::test {
namespace {

constexpr int capacity_has_changed = 0x2A09;
constexpr int out_of_range = 0x2100;

class ResizeTest : public LogicalUnitTest {
  protected:
    int asc_of(std::vector<std::uint8_t> cdb, std::size_t length = 0, scsi::Nexus nexus = 0) {
        Command command(std::move(cdb), length, nexus);
        run(command);
        return command.answer.status == Status::good ? 0 : command.asc();
    }
    std::uint64_t capacity() {
        Command command(cdb16(0x9E, 0, 32, 0x10), 32);
        run(command);
        EXPECT_EQ(command.answer.status, Status::good);
        return load_big_endian<std::uint64_t>(command.buffer.data()) + 1;
    }
};

TEST_F(ResizeTest, EveryNexusIsToldOnceAndReadsTheNewCapacity) {
    open();
    unit->resize(disk_size / 2 + 100);
    for (const scsi::Nexus nexus : {0, 7}) {
        Command told(test_unit_ready, 0, nexus);
        run(told);
        EXPECT_EQ(told.answer.sense.key, SenseKey::unit_attention);
        EXPECT_EQ(told.asc(), capacity_has_changed);
        EXPECT_EQ(asc_of(test_unit_ready, 0, nexus), 0);
    }
    EXPECT_EQ(capacity(), disk_size / 2 / 512);
    EXPECT_EQ(unit->block_count(), disk_size / 2 / 512);
}

TEST_F(ResizeTest, BeyondASmallerEndIsOutOfRangeAndBehindALargerOneIsNot) {
    open();
    const std::uint64_t half = disk_size / 2 / 512;
    unit->resize(disk_size / 2);
    ASSERT_EQ(asc_of(test_unit_ready), capacity_has_changed);
    EXPECT_EQ(asc_of(read16(half, 1), 512), out_of_range);
    EXPECT_EQ(asc_of(write16(half - 1, 2), 1024), out_of_range);
    EXPECT_EQ(asc_of(read16(half - 1, 1), 512), 0);
    unit->resize(disk_size);
    ASSERT_EQ(asc_of(test_unit_ready), capacity_has_changed);
    EXPECT_EQ(asc_of(read16(half, 1), 512), 0);
}

TEST_F(ResizeTest, TheSameCapacityIsNoNews) {
    open();
    unit->resize(disk_size);
    unit->resize(disk_size + 511);
    EXPECT_EQ(asc_of(test_unit_ready), 0);
}

TEST_F(ResizeTest, ADiskWithoutABlockIsNotReady) {
    open();
    unit->resize(511);
    EXPECT_EQ(asc_of(test_unit_ready), capacity_has_changed);
    EXPECT_EQ(asc_of(cdb16(0x9E, 0, 32, 0x10), 32), 0x0400);
    EXPECT_EQ(asc_of(read16(0, 1), 512), out_of_range);
}

TEST_F(ResizeTest, WhatWasUnderWayBeyondTheNewEndIsOutOfRange) {
    open();
    const std::uint64_t last = disk_size / 512 - 1;
    Command read(read16(last, 1), 512);
    Command write(write16(last, 1), 512);
    Command within(read16(0, 1), 512);
    backend.hold = true;
    for (Command* const command : {&read, &write, &within})
        start(*command);
    backend.can.size = disk_size / 2;
    backend.fail = backend::Error::invalid;
    backend.release_one();
    backend.fail = backend::Error::no_space;
    backend.release_one();
    backend.fail = backend::Error::io;
    backend.release_one();
    EXPECT_EQ(read.asc(), out_of_range);
    EXPECT_EQ(write.asc(), out_of_range);
    EXPECT_EQ(within.answer.sense.key, SenseKey::medium_error);
}

TEST_F(ResizeTest, TheSizeIsTheOneOfNowWhenTheUnitIsMade) {
    struct Grown final : backend::Backend {
        [[nodiscard]] const backend::Properties& properties() const noexcept override {
            return at_first;
        }
        [[nodiscard]] std::uint64_t size() const noexcept override { return disk_size; }
        void submit(backend::Request& request) noexcept override {
            request.done(request, backend::Error::none);
        }
        void close() noexcept override {}
        backend::Properties at_first{.size = 512};
    };
    auto made = LogicalUnit::create(std::make_unique<Grown>(), {}, names_);
    ASSERT_TRUE(made);
    EXPECT_EQ(made.value()->block_count(), disk_size / 512);
}

}  // namespace
}  // namespace wnbd::iscsi::test
