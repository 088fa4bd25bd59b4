// SPDX-License-Identifier: LGPL-2.1-or-later
// One disk, held time, and an initiator and a server that take one step at a time.
#pragma once

#include <gtest/gtest.h>

#include <optional>
#include <vector>

#include "engine/model/memory_server.h"

namespace wnbd::engine::model {

/// A command with a buffer of its own.
struct Command : Srb {
    explicit Command(const Cdb& with, std::size_t length = 0) : bytes(length) {
        cdb = with;
        buffer = bytes.data();
        buffer_length = bytes.size();
    }
    std::vector<std::uint8_t> bytes;
};

/// Remembers which resets were reported as done.
struct RecordingPort final : TestPort {
    void on_reset_done(void* reset_srb) noexcept override { resets_done.push_back(reset_srb); }
    std::vector<void*> resets_done;
};

constexpr std::uint64_t block_count = 64;

struct DiskFixture : testing::Test {
    void SetUp() override {
        platform::native::hold_time(1'000'000'000);
        description.flush_supported = true;
        description.unmap_supported = true;
        disk.initialize(port);
    }
    void TearDown() override {
        if (disk.state() == DiskState::online) {
            EXPECT_TRUE(disk.begin_removal());
            disk.await_idle();
            disk.finish_removal();
        }
        EXPECT_EQ(platform::native::allocations_outstanding(), 0);
        platform::native::release_time();
    }

    void bring_up(std::uint32_t capacity = 4) {
        ASSERT_TRUE(disk.prepare(0x101, description, block_count, capacity));
        disk.go_online();
    }

    Disk::Start post(Command& command) {
        scsi::Answer answer;
        const Disk::Start start = disk.start(&command, command.command(), answer);
        if (start == Disk::Start::answered) command.keep(answer);
        return start;
    }

    Request* take() {
        Waiter waiter;
        Request* request = nullptr;
        const Disk::Take take = disk.take(waiter, request);
        if (take == Disk::Take::empty) disk.withdraw(waiter);
        return take == Disk::Take::request ? request : nullptr;
    }

    std::optional<Fetched> fetch() {
        Request* const request = take();
        if (request == nullptr) return std::nullopt;
        return MemoryServer::fetch(disk, *request);
    }

    /// Serves until nothing is left; returns the steps it saw.
    std::vector<scsi::Verb> serve() {
        std::vector<scsi::Verb> steps;
        while (const auto fetched = fetch()) {
            steps.push_back(fetched->step.verb);
            EXPECT_TRUE(server.answer(disk, *fetched));
        }
        return steps;
    }

    Disk::Drain reset(void* srb = nullptr, StaleRule rule = {}) {
        wait.srb = srb;
        return disk.drain(Cause::aborted, rule, wait);
    }

    RecordingPort port;
    Disk disk;
    scsi::Disk description;
    MemoryServer server{block_count};
    ResetWait wait;
};

}  // namespace wnbd::engine::model
