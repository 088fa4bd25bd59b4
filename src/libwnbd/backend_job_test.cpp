// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/backend_job.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cstring>
#include <deque>
#include <thread>
#include <vector>

namespace wnbd::libwnbd {
namespace {

using backend::Error;
using backend::Operation;
using backend::Request;

/// A disk of bytes that records what it is asked, and completes when and how the test says.
class ScriptedBackend final : public backend::Backend {
  public:
    enum class Mode { inside_submit, when_told, other_thread };

    ScriptedBackend() : bytes(1 << 20) { own.size = bytes.size(); }
    ~ScriptedBackend() override {
        for (auto& thread : threads)
            thread.join();
    }

    [[nodiscard]] const backend::Properties& properties() const noexcept override { return own; }

    void submit(Request& request) noexcept override {
        seen.push_back(request);
        if (mode == Mode::inside_submit) return complete(request);
        if (mode == Mode::when_told) {
            waiting.push_back(&request);
            return;
        }
        threads.emplace_back([this, &request] { complete(request); });
    }

    void close() noexcept override {}

    void complete_next() {
        Request* const request = waiting.front();
        waiting.pop_front();
        complete(*request);
    }

    backend::Properties own;
    Mode mode = Mode::inside_submit;
    std::vector<std::uint8_t> bytes;
    std::vector<Request> seen;
    std::deque<Request*> waiting;
    std::vector<std::thread> threads;
    std::size_t fail_at = ~std::size_t{0};
    Error failure = Error::io;

  private:
    void complete(Request& request) {
        const bool fails = completed_++ == fail_at;
        if (!fails && request.operation == Operation::read)
            std::memcpy(request.buffer.data(), bytes.data() + request.offset, request.length);
        if (!fails && request.operation == Operation::write)
            std::memcpy(bytes.data() + request.offset, request.buffer.data(), request.length);
        if (!fails && request.operation == Operation::trim)
            std::memset(bytes.data() + request.offset, 0, request.length);
        request.done(request, fails ? failure : Error::none);
    }

    std::size_t completed_ = 0;
};

class BackendJobTest : public testing::Test, private BackendJob::Owner {
  protected:
    BackendJobTest() : buffer(1 << 18) {
        disk.backend = &backend;
        disk.block_size = 512;
        disk.block_count = backend.own.size / 512;
        disk.unmap_count_max = 256;
    }

    void start(const WNBD_IO_REQUEST& request) { job.start(disk, request, buffer); }

    static WNBD_IO_REQUEST transfer(WnbdRequestType type, UINT64 address, UINT32 count,
                                    bool forced = false) {
        WNBD_IO_REQUEST request{};
        request.RequestType = type;
        request.RequestHandle = 7;
        request.Cmd.Write.BlockAddress = address;  // Read has the same layout
        request.Cmd.Write.BlockCount = count;
        request.Cmd.Write.ForceUnitAccess = forced;
        return request;
    }

    WNBD_IO_REQUEST unmap(const std::vector<WNBD_UNMAP_DESCRIPTOR>& ranges) {
        std::memcpy(buffer.data(), ranges.data(), ranges.size() * sizeof(ranges[0]));
        WNBD_IO_REQUEST request{};
        request.RequestType = WnbdReqTypeUnmap;
        request.Cmd.Unmap.Count = static_cast<UINT32>(ranges.size());
        return request;
    }

    void expect_sense(int key, int asc) const {
        ASSERT_EQ(finished_count, 1);
        EXPECT_EQ(status.ScsiStatus, 0x02);
        EXPECT_EQ(status.SenseKey, key);
        EXPECT_EQ(status.ASC, asc);
        EXPECT_EQ(data_length, 0U);
    }

    void expect_good() const {
        ASSERT_EQ(finished_count, 1);
        EXPECT_EQ(status.ScsiStatus, 0);
    }

    ScriptedBackend backend;
    ServedDisk disk;
    std::vector<std::uint8_t> buffer;
    BackendJob job{*this};
    int finished_count = 0;
    WNBD_STATUS status{};
    std::uint32_t data_length = 0;
    Error error = Error::none;

  private:
    void finished(BackendJob&, const WNBD_STATUS& with, std::uint32_t length,
                  Error what) noexcept override {
        ++finished_count;
        status = with;
        data_length = length;
        error = what;
    }
};

TEST_F(BackendJobTest, AReadFillsTheBufferWithExactlyWhatWasAsked) {
    for (std::size_t i = 0; i < backend.bytes.size(); ++i)
        backend.bytes[i] = static_cast<std::uint8_t>(i / 512);
    start(transfer(WnbdReqTypeRead, 5, 3));
    expect_good();
    EXPECT_EQ(data_length, 3U * 512);
    EXPECT_EQ(buffer[0], 5);
    EXPECT_EQ(buffer[3 * 512 - 1], 7);
    EXPECT_EQ(buffer[3 * 512], 0);
}

TEST_F(BackendJobTest, LargeTransfersAreCutAtWhatTheBackendTakes) {
    backend.own.maximum_payload = 4000;  // whole blocks: 3584
    std::ranges::fill(buffer, 0xAB);
    start(transfer(WnbdReqTypeWrite, 1, 20));
    expect_good();
    ASSERT_EQ(backend.seen.size(), 3U);
    EXPECT_EQ(backend.seen[0].length, 3584U);
    EXPECT_EQ(backend.seen[1].offset, 512U + 3584);
    EXPECT_EQ(backend.seen[1].buffer.data(), buffer.data() + 3584);
    EXPECT_EQ(backend.seen[2].length, 20U * 512 - 2 * 3584);
    EXPECT_EQ(backend.bytes[511], 0);
    EXPECT_EQ(backend.bytes[512], 0xAB);
    EXPECT_EQ(backend.bytes[21 * 512 - 1], 0xAB);
    EXPECT_EQ(backend.bytes[21 * 512], 0);
}

TEST_F(BackendJobTest, TheFirstFailureEndsTheRequest) {
    backend.own.maximum_payload = 512;
    backend.fail_at = 1;
    start(transfer(WnbdReqTypeRead, 0, 4));
    expect_sense(0x3, 0x11);
    EXPECT_EQ(backend.seen.size(), 2U);
}

TEST_F(BackendJobTest, AForcedWriteUsesFuaOrAFlushBehindIt) {
    backend.own.can_fua = true;
    start(transfer(WnbdReqTypeWrite, 0, 1, true));
    expect_good();
    ASSERT_EQ(backend.seen.size(), 1U);
    EXPECT_TRUE(backend.seen[0].force_unit_access);

    backend.own.can_fua = false;
    finished_count = 0;
    backend.seen.clear();
    start(transfer(WnbdReqTypeWrite, 0, 1, true));
    expect_good();
    ASSERT_EQ(backend.seen.size(), 2U);
    EXPECT_FALSE(backend.seen[0].force_unit_access);
    EXPECT_EQ(backend.seen[1].operation, Operation::flush);
    EXPECT_EQ(backend.seen[1].length, 0U);
}

TEST_F(BackendJobTest, AFlushCoversTheWholeBackend) {
    WNBD_IO_REQUEST request{};
    request.RequestType = WnbdReqTypeFlush;
    request.Cmd.Flush.BlockAddress = 3;
    request.Cmd.Flush.BlockCount = 9;
    start(request);
    expect_good();
    ASSERT_EQ(backend.seen.size(), 1U);
    EXPECT_EQ(backend.seen[0].offset, 0U);
    EXPECT_EQ(backend.seen[0].length, 0U);
}

TEST_F(BackendJobTest, AllDescriptorsOfAnUnmapAreTrimmedAndEmptyOnesSkipped) {
    std::ranges::fill(backend.bytes, 1);
    start(unmap({{0, 2, 0}, {50, 0, 0}, {100, 1, 0}}));
    expect_good();
    ASSERT_EQ(backend.seen.size(), 2U);
    EXPECT_EQ(backend.bytes[1023], 0);
    EXPECT_EQ(backend.bytes[1024], 1);
    EXPECT_EQ(backend.bytes[100 * 512], 0);
}

TEST_F(BackendJobTest, ABadDescriptorAtTheEndLeavesEverythingAsItWas) {
    std::ranges::fill(backend.bytes, 1);
    start(unmap({{0, 2, 0}, {disk.block_count.load(), 1, 0}}));
    expect_sense(0x5, 0x21);
    EXPECT_TRUE(backend.seen.empty());
}

TEST_F(BackendJobTest, ARangeOfManyGibibytesIsTrimmedInPiecesWithoutLosingBits) {
    disk.block_count = 1ULL << 40;
    backend.mode = ScriptedBackend::Mode::when_told;
    start(unmap({{8, 0xFFFFFFFF, 0}}));
    std::uint64_t total = 0;
    while (finished_count == 0) {
        const Request& piece = backend.seen.back();
        EXPECT_LE(piece.length, 1ULL << 30);
        EXPECT_EQ(piece.offset, 8 * 512 + total);
        total += piece.length;
        Request* const request = backend.waiting.front();
        backend.waiting.pop_front();
        request->done(*request, Error::none);  // there are no such bytes to clear
    }
    expect_good();
    EXPECT_EQ(total, 0xFFFFFFFFULL * 512);
}

TEST_F(BackendJobTest, ManyDescriptorsCompletedInsideSubmitDoNotDeepenTheStack) {
    std::vector<WNBD_UNMAP_DESCRIPTOR> ranges;
    for (UINT64 i = 0; i < 256; ++i)
        ranges.push_back({i * 2, 1, 0});
    start(unmap(ranges));
    expect_good();
    EXPECT_EQ(backend.seen.size(), 256U);
}

TEST_F(BackendJobTest, PiecesMayCompleteLaterAndElsewhere) {
    backend.own.maximum_payload = 512;
    backend.mode = ScriptedBackend::Mode::when_told;
    start(transfer(WnbdReqTypeWrite, 0, 3));
    for (int i = 0; i < 3; ++i) {
        EXPECT_EQ(finished_count, 0);
        backend.complete_next();
    }
    expect_good();
}

TEST_F(BackendJobTest, RefusesWhatLiesOutsideOfDiskBufferOrProtocol) {
    start(transfer(WnbdReqTypeRead, disk.block_count, 1));
    expect_sense(0x5, 0x21);
    finished_count = 0;
    start(transfer(WnbdReqTypeWrite, ~0ULL, 2));
    expect_sense(0x5, 0x21);
    finished_count = 0;
    start(transfer(WnbdReqTypeRead, 0, static_cast<UINT32>(buffer.size() / 512 + 1)));
    expect_sense(0x5, 0x24);
    finished_count = 0;
    auto many = unmap({{0, 1, 0}});
    many.Cmd.Unmap.Count = 257;
    start(many);
    expect_sense(0x5, 0x26);
    finished_count = 0;
    start(transfer(WnbdReqTypePersistResIn, 0, 0));
    expect_sense(0x5, 0x20);
    EXPECT_TRUE(backend.seen.empty());
}

TEST_F(BackendJobTest, AnEmptyTransferSucceedsWithoutABackend) {
    start(transfer(WnbdReqTypeRead, 0, 0));
    expect_good();
    EXPECT_TRUE(backend.seen.empty());
}

TEST_F(BackendJobTest, ALostBackendIsTold) {
    backend.fail_at = 0;
    backend.failure = Error::disconnected;
    start(transfer(WnbdReqTypeRead, 0, 1));
    expect_sense(0x2, 0x08);
    EXPECT_EQ(error, Error::disconnected);
}

/// Completion on another thread races with the return of submit(): both orders must lead on.
TEST(BackendJobRace, CompletionsOnOtherThreadsFinishEachRequestOnce) {
    class Finish final : public BackendJob::Owner {
      public:
        std::atomic<int> count{0};
        void finished(BackendJob&, const WNBD_STATUS&, std::uint32_t, Error) noexcept override {
            count.fetch_add(1);
            count.notify_all();
        }
    };
    for (int round = 0; round < 200; ++round) {
        ScriptedBackend backend;
        backend.mode = ScriptedBackend::Mode::other_thread;
        backend.own.maximum_payload = 512;
        backend.seen.reserve(8);
        backend.threads.reserve(8);
        Finish finish;
        BackendJob job(finish);
        const ServedDisk disk{&backend, 2048, 512, 1};
        std::vector<std::uint8_t> buffer(4096);
        WNBD_IO_REQUEST request{};
        request.RequestType = WnbdReqTypeWrite;
        request.Cmd.Write.BlockCount = 1;
        job.start(disk, request, buffer);
        finish.count.wait(0);
        EXPECT_EQ(finish.count.load(), 1);
    }
}

}  // namespace
}  // namespace wnbd::libwnbd
