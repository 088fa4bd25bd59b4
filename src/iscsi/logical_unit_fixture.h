// SPDX-License-Identifier: LGPL-2.1-or-later
// For tests of a logical unit: commands made by hand, and a unit over a backend that is told what
// to do.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <cstdint>
#include <memory>
#include <utility>
#include <vector>

#include "base/big_endian.h"
#include "iscsi/logical_unit.h"
#include "iscsi/test_backend.h"

namespace wnbd::iscsi::test {

using backend::Operation;
using engine::Cause;
using scsi::SenseKey;
using scsi::Status;

constexpr std::uint64_t disk_size = 64U << 20;

struct Names final : scsi::NexusNames {};

/// A command with its buffer, and what became of it.
struct Command final : Task, TaskOwner {
    explicit Command(std::vector<std::uint8_t> bytes, std::size_t length = 0, scsi::Nexus from = 0)
        : buffer(length) {
        owner = this;
        nexus = from;
        std::copy(bytes.begin(), bytes.end(), cdb.begin());
        cdb_length = static_cast<std::uint8_t>(bytes.size());
        data = buffer;
    }
    void completed(Task& /*task*/) noexcept override { ++completions; }

    [[nodiscard]] int asc() const { return answer.sense.asc << 8 | answer.sense.ascq; }

    std::vector<std::uint8_t> buffer;
    int completions = 0;
};

inline std::vector<std::uint8_t> cdb16(std::uint8_t opcode, std::uint64_t lba, std::uint32_t blocks,
                                       std::uint8_t flags = 0) {
    std::vector<std::uint8_t> cdb(16);
    cdb[0] = opcode;
    cdb[1] = flags;
    store_big_endian<std::uint64_t>(&cdb[2], lba);
    store_big_endian<std::uint32_t>(&cdb[10], blocks);
    return cdb;
}
inline auto read16(std::uint64_t lba, std::uint32_t blocks, std::uint8_t flags = 0) {
    return cdb16(0x88, lba, blocks, flags);
}
inline auto write16(std::uint64_t lba, std::uint32_t blocks, std::uint8_t flags = 0) {
    return cdb16(0x8A, lba, blocks, flags);
}
inline auto verify16(std::uint64_t lba, std::uint32_t blocks, std::uint8_t flags) {
    return cdb16(0x8F, lba, blocks, flags);
}
inline std::vector<std::uint8_t> compare_and_write(std::uint64_t lba, std::uint8_t blocks) {
    auto cdb = cdb16(0x89, lba, 0);
    cdb[13] = blocks;
    return cdb;
}
inline const std::vector<std::uint8_t> test_unit_ready(6);

class LogicalUnitTest : public testing::Test {
  protected:
    void open(const UnitSettings& settings = {}) {
        auto made = LogicalUnit::create(std::move(owned_), settings, names_);
        ASSERT_TRUE(made) << made.error();
        unit = std::move(made.value());
    }
    /// Starts it and counts an immediate answer as a completion.
    void start(Command& command) {
        if (unit->start(command) == LogicalUnit::Start::answered) ++command.completions;
        unit->serve();
    }
    void run(Command& command) {
        start(command);
        // Only one that was held: a test that has another backend holds nothing.
        if (command.completions == 0) backend.release_all();
        ASSERT_EQ(command.completions, 1);
    }
    void fill(std::uint64_t lba, std::uint32_t blocks, std::uint8_t value) {
        Command write(write16(lba, blocks), std::size_t{blocks} * block());
        std::fill(write.buffer.begin(), write.buffer.end(), value);
        run(write);
        ASSERT_EQ(write.answer.status, Status::good);
    }
    std::vector<std::uint8_t> read(std::uint64_t lba, std::uint32_t blocks) {
        Command command(read16(lba, blocks), std::size_t{blocks} * block());
        start(command);
        if (command.completions == 0) backend.release_all();
        EXPECT_EQ(command.answer.status, Status::good);
        return command.buffer;
    }
    std::size_t block() { return unit->description().block_size; }

    Names names_;
    std::unique_ptr<TestBackend> owned_ = std::make_unique<TestBackend>(disk_size);
    TestBackend& backend = *owned_;
    std::unique_ptr<LogicalUnit> unit;
};

struct Ending : LogicalUnit::Drain {
    Ending() {
        done = [](LogicalUnit::Drain& drain) noexcept { ++static_cast<Ending&>(drain).times; };
    }
    int times = 0;
};

}  // namespace wnbd::iscsi::test
