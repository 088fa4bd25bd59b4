// SPDX-License-Identifier: LGPL-2.1-or-later
// Changes of the same blocks at the same time: the storage ends its requests when the test says so.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <memory>
#include <vector>

#include "backend/aligning_backend.h"

namespace wnbd::backend {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t block_size = 4096;  // bytes

/// Takes requests, and does one when it is told to.
class HeldStorage final : public Backend {
  public:
    explicit HeldStorage(std::uint64_t blocks) : bytes(blocks * block_size) {
        properties_ = {.size = bytes.size(),
                       .minimum_block = block_size,
                       .preferred_block = block_size,
                       .can_flush = true,
                       .can_fua = true,
                       .can_trim = true,
                       .can_write_zeroes = true,
                       .can_tell_extents = true};
    }

    [[nodiscard]] const Properties& properties() const noexcept override { return properties_; }
    [[nodiscard]] std::uint64_t size() const noexcept override { return size_now; }
    void submit(Request& request) noexcept override { held.push_back(&request); }
    void close() noexcept override {
        while (!held.empty())
            serve();
    }

    /// Does the oldest one.
    void serve() {
        Request& request = *held.front();
        held.pop_front();
        const auto at = bytes.begin() + static_cast<std::ptrdiff_t>(request.offset);
        const auto count = static_cast<std::ptrdiff_t>(request.length);
        switch (request.operation) {
            case Operation::read: std::copy_n(at, count, request.buffer.begin()); break;
            case Operation::write: std::copy_n(request.buffer.begin(), count, at); break;
            case Operation::trim:
            case Operation::write_zeroes: std::fill_n(at, count, 0); break;
            case Operation::flush: break;
            case Operation::extents: request.extent_count = extents_told; break;
        }
        request.done(request, Error::none);
    }
    void serve_all() { close(); }
    [[nodiscard]] std::vector<std::uint64_t> offsets() const {
        std::vector<std::uint64_t> all(held.size());
        std::ranges::transform(held, all.begin(), [](const Request* one) { return one->offset; });
        return all;
    }

    Bytes bytes;
    std::uint64_t size_now = bytes.size();
    std::deque<Request*> held;
    std::size_t extents_told = 0;

  private:
    Properties properties_;
};

/// A user's request.
struct Job {
    Job(Operation operation, std::uint64_t offset, std::size_t length, std::uint8_t value = 0)
        : buffer(operation == Operation::write ? length : 0, value) {
        request = {.operation = operation,
                   .offset = offset,
                   .length = length,
                   .buffer = buffer,
                   .extents = extents,
                   .context = this};
        request.done = [](Request& done, Error with) noexcept {
            auto& job = *static_cast<Job*>(done.context);
            ++job.ended;
            job.error = with;
        };
    }
    Job(const Job&) = delete;
    Job& operator=(const Job&) = delete;
    [[nodiscard]] bool good() const { return ended == 1 && error == Error::none; }

    Bytes buffer;
    std::vector<Extent> extents = std::vector<Extent>(4);
    Request request;
    unsigned ended = 0;
    Error error = Error::none;
};

class AligningOrder : public ::testing::Test {
  protected:
    AligningOrder() {
        auto made = std::make_unique<HeldStorage>(16);
        storage = made.get();
        disk = aligned_to(std::move(made), 512);
        std::fill(storage->bytes.begin(), storage->bytes.end(), 0xaa);
    }
    void submit(Job& job) { disk->submit(job.request); }
    [[nodiscard]] Bytes block(std::uint64_t index) const {
        const auto at = storage->bytes.begin() + static_cast<std::ptrdiff_t>(index * block_size);
        return {at, at + static_cast<std::ptrdiff_t>(block_size)};
    }

    HeldStorage* storage = nullptr;
    std::unique_ptr<Backend> disk;
};

// A part of a block is written with what was read of the rest: nothing may change that meanwhile.
TEST_F(AligningOrder, AWholeBlockIsNotWrittenWhileAPartOfItIs) {
    Job part(Operation::write, 512, 512, 1);
    Job whole(Operation::write, 0, block_size, 2);
    submit(part);
    ASSERT_THAT(storage->held, SizeIs(1));
    submit(whole);
    EXPECT_THAT(storage->held, SizeIs(1)) << "the block is read for the part";
    storage->serve_all();
    EXPECT_TRUE(part.good() && whole.good());
    EXPECT_EQ(block(0), Bytes(block_size, 2));
}

TEST_F(AligningOrder, APartOfABlockIsNotWrittenWhileTheWholeIs) {
    Job whole(Operation::write, 0, block_size, 2);
    Job part(Operation::write, 512, 512, 1);
    submit(whole);
    submit(part);
    EXPECT_THAT(storage->held, SizeIs(1));
    storage->serve_all();
    Bytes expected(block_size, 2);
    std::fill_n(expected.begin() + 512, 512, 1);
    EXPECT_EQ(block(0), expected);
}

TEST_F(AligningOrder, ABlockIsNotTrimmedWhileAPartOfItIsWritten) {
    Job part(Operation::write, 512, 512, 1);
    Job trim(Operation::trim, 0, block_size);
    submit(part);
    submit(trim);
    ASSERT_THAT(storage->held, SizeIs(1));
    storage->serve_all();
    EXPECT_TRUE(part.good() && trim.good());
    EXPECT_EQ(block(0), Bytes(block_size, 0)) << "what was trimmed came back";
}

TEST_F(AligningOrder, BlocksAreNotZeroedWhileTheirEdgesAreWritten) {
    // Each has an edge in block 1.
    Job part(Operation::write, 512, block_size, 1);
    Job zeroes(Operation::write_zeroes, block_size + 1024, block_size);
    submit(part);
    ASSERT_THAT(storage->held, SizeIs(2));
    submit(zeroes);
    EXPECT_THAT(storage->held, SizeIs(2));
    storage->serve_all();
    EXPECT_TRUE(part.good() && zeroes.good());
    Bytes expected(block_size, 0xaa);
    std::fill_n(expected.begin(), 512, 1);
    std::fill(expected.begin() + 1024, expected.end(), 0);
    EXPECT_EQ(block(1), expected);
}

TEST_F(AligningOrder, NobodyOvertakesThoseWhoWait) {
    Job first(Operation::write, 0, 512, 1);
    Job waiting(Operation::write, 512, block_size, 2);  // blocks 0 and 1
    Job behind(Operation::write, block_size, block_size, 3);
    submit(first);
    submit(waiting);
    submit(behind);
    EXPECT_THAT(storage->offsets(), ElementsAre(0U));
    storage->serve_all();
    EXPECT_TRUE(first.good() && waiting.good() && behind.good());
    EXPECT_EQ(block(1), Bytes(block_size, 3)) << "the older write came last";
}

TEST_F(AligningOrder, ReadsAndOtherBlocksWaitForNobody) {
    Job part(Operation::write, 512, 512, 1);
    Job other(Operation::write, 2 * block_size + 512, 512, 2);
    submit(part);
    submit(other);
    EXPECT_THAT(storage->offsets(), ElementsAre(0U, 2 * block_size));
    storage->serve_all();
    EXPECT_THAT(storage->held, IsEmpty());
}

TEST_F(AligningOrder, ZeroesThatMayNotBecomeAHoleDoNot) {
    for (const bool may : {false, true}) {
        Job zeroes(Operation::write_zeroes, 512, 2 * block_size);
        zeroes.request.may_punch_hole = may;
        submit(zeroes);
        storage->serve();
        storage->serve();  // its edges are read
        unsigned middles = 0;
        for (const Request* const request : storage->held)
            if (request->operation == Operation::write_zeroes) {
                ++middles;
                EXPECT_EQ(request->may_punch_hole, may);
            }
        EXPECT_EQ(middles, 1U);
        storage->serve_all();
        EXPECT_TRUE(zeroes.good());
    }
}

TEST_F(AligningOrder, StorageThatTellsNoExtentTellsThatNothingIsKnown) {
    Job ask(Operation::extents, 512, 1024);
    submit(ask);
    storage->extents_told = 0;
    storage->serve_all();
    ASSERT_TRUE(ask.good());
    ASSERT_EQ(ask.request.extent_count, 1U);
    EXPECT_EQ(ask.extents[0].length, 1024U);
    EXPECT_TRUE(ask.extents[0].allocated);
    EXPECT_FALSE(ask.extents[0].zeroes);
}

TEST_F(AligningOrder, NoExtentGoesBeyondTheLastWholeBlock) {
    storage->size_now = 15 * block_size + 1024;
    Job beyond(Operation::extents, 14 * block_size + 512, block_size);
    submit(beyond);
    EXPECT_EQ(beyond.error, Error::invalid);
    EXPECT_TRUE(storage->held.empty());
    Job within(Operation::extents, 14 * block_size + 512, block_size - 512);
    submit(within);
    storage->serve_all();
    EXPECT_TRUE(within.good());
}

}  // namespace
}  // namespace wnbd::backend
