// SPDX-License-Identifier: LGPL-2.1-or-later
#include "backend/aligning_backend.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <deque>
#include <random>
#include <thread>
#include <vector>

#include "backend/blocking.h"
#include "backend/checks.h"
#include "backend/fill_extents.h"

namespace wnbd::backend {
namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint64_t block_size = 4096;  // bytes: of most of the storage here

/// Storage in memory that takes whole blocks only. Completes in submit(), or, with threads, later
/// and in any order.
class Storage final : public Backend {
  public:
    Storage(std::uint64_t size, std::uint32_t block, unsigned threads = 0)
        : bytes(size), allocated(size / block, 0), block_(block) {
        properties_ = {.size = size,
                       .minimum_block = block,
                       .preferred_block = block,
                       .can_flush = true,
                       .can_fua = true,
                       .can_trim = true,
                       .trim_reads_zeroes = true,
                       .can_write_zeroes = true,
                       .can_tell_extents = true};
        for (unsigned i = 0; i < threads; ++i)
            threads_.emplace_back([this, i] { serve(i); });
    }
    ~Storage() override { Storage::close(); }

    [[nodiscard]] const Properties& properties() const noexcept override { return properties_; }
    [[nodiscard]] std::uint64_t size() const noexcept override { return size_now.load(); }
    void observe(Observer* to) noexcept override { observer = to; }
    void submit(Request& request) noexcept override {
        if (threads_.empty()) return request.done(request, perform(request));
        {
            const std::lock_guard lock(lock_);
            if (!closed_) {
                queue_.push_back(&request);
                return changed_.notify_one();
            }
        }
        request.done(request, Error::shutting_down);
    }
    [[nodiscard]] Extent extent_at(std::uint64_t offset) const noexcept override {
        const auto first = offset / block_;
        auto end = first + 1;
        while (end < allocated.size() && allocated[end] == allocated[first])
            ++end;
        return {.length = end * block_ - offset, .allocated = allocated[first] != 0};
    }
    void close() noexcept override {
        {
            const std::lock_guard lock(lock_);
            closed_ = true;
            changed_.notify_all();
        }
        for (auto& thread : threads_)
            thread.join();
        threads_.clear();
    }

    Bytes bytes;
    std::vector<std::uint8_t> allocated;
    std::atomic<std::uint64_t> size_now{bytes.size()};
    Observer* observer = nullptr;
    // What happened.
    std::atomic<unsigned> reads{0};
    std::atomic<unsigned> writes{0};
    std::atomic<unsigned> forced{0};
    std::atomic<unsigned> flushes{0};
    std::atomic<bool> silent{false};  // requests wait for close()
    Error read_error = Error::none;
    Error write_error = Error::none;

  private:
    Error perform(Request& request) {
        const auto error = check_request(request, properties_, size_now.load());
        if (error != Error::none) return error;
        std::fill_n(
            std::next(allocated.begin(), static_cast<std::ptrdiff_t>(request.offset / block_)),
            request.operation == Operation::write ? request.length / block_ : 0, 1);
        const auto at = std::next(bytes.begin(), static_cast<std::ptrdiff_t>(request.offset));
        if (request.force_unit_access) ++forced;
        switch (request.operation) {
            case Operation::read:
                ++reads;
                if (read_error != Error::none) return read_error;
                std::copy_n(at, request.length, request.buffer.begin());
                return Error::none;
            case Operation::write:
                ++writes;
                if (write_error != Error::none) return write_error;
                std::copy_n(request.buffer.begin(), request.length, at);
                return Error::none;
            case Operation::trim:
            case Operation::write_zeroes: std::fill_n(at, request.length, 0); return Error::none;
            case Operation::flush: ++flushes; return Error::none;
            case Operation::extents:
                return fill_extents(request, [this](auto offset) { return extent_at(offset); });
        }
        return Error::invalid;
    }

    void serve(unsigned seed) {
        std::minstd_rand random(seed + 1);
        std::unique_lock lock(lock_);
        for (;;) {
            changed_.wait(lock, [this] { return closed_ || (!queue_.empty() && !silent); });
            if (queue_.empty()) return;
            const auto at = random() % queue_.size();
            Request* const request = queue_[at];
            queue_.erase(std::next(queue_.begin(), static_cast<std::ptrdiff_t>(at)));
            lock.unlock();
            if (random() % 4 == 0) std::this_thread::yield();
            request->done(*request, silent ? Error::shutting_down : perform(*request));
            lock.lock();
        }
    }

    const std::uint32_t block_;
    Properties properties_;
    std::mutex lock_;
    std::condition_variable changed_;
    std::deque<Request*> queue_;
    bool closed_ = false;
    std::vector<std::thread> threads_;
};

struct Disk {
    explicit Disk(std::uint64_t size, std::uint32_t large, std::uint32_t small,
                  unsigned threads = 0) {
        auto made = std::make_unique<Storage>(size, large, threads);
        storage = made.get();
        disk = aligned_to(std::move(made), small);
    }
    Storage* storage;
    std::unique_ptr<Backend> disk;
};

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
    EXPECT_EQ(disk.disk->extent_at(512).length, 2U * block_size - 512);
    EXPECT_EQ(disk.disk->extent_at(2 * block_size + 1024).length, 4096U - 1024);
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

/// Each thread keeps many writes in flight in stripes of its own, spread over all blocks.
class Neighbour {
  public:
    Neighbour(Backend& disk, unsigned index, unsigned count, std::uint64_t sectors,
              std::uint64_t stripe)
        : disk_(disk),
          random_(index + 77),
          index_(index),
          count_(count),
          stripe_(stripe),
          content_(sectors) {}

    void run(unsigned rounds) {
        for (unsigned round = 0; round < rounds; ++round) {
            std::vector<Write> writes(16);
            std::vector<Request*> requests;
            for (auto& write : writes)
                if (prepare(write)) requests.push_back(&write.request);
            {
                const std::lock_guard lock(lock_);
                left_ = requests.size();
            }
            disk_.submit_many(requests);
            std::unique_lock lock(lock_);
            changed_.wait(lock, [this] { return left_ == 0; });
            busy_.clear();
        }
    }

    /// What its sectors must hold: the last value written.
    void check(const Bytes& bytes) const {
        for (std::size_t sector = 0; sector < content_.size(); ++sector)
            for (std::size_t i = 0; i < 512 && sector / stripe_ % count_ == index_; ++i)
                ASSERT_EQ(bytes[sector * 512 + i], content_[sector])
                    << "sector " << sector << " byte " << i;
    }

  private:
    struct Write {
        Neighbour* self = nullptr;
        Bytes payload;
        Request request;
    };

    bool prepare(Write& write) {
        const auto stripe = random_() % (content_.size() / stripe_ / count_) * count_ + index_;
        if (std::find(busy_.begin(), busy_.end(), stripe) != busy_.end()) return false;
        busy_.push_back(stripe);
        const auto skipped = random_() % stripe_;
        const auto sector = stripe * stripe_ + skipped;
        const auto length = random_() % (stripe_ - skipped) + 1;
        const bool zeroes = random_() % 5 == 0;
        const auto value = static_cast<std::uint8_t>(zeroes ? 0 : random_() % 255 + 1);
        std::fill_n(std::next(content_.begin(), static_cast<std::ptrdiff_t>(sector)), length,
                    value);
        write.self = this;
        write.payload.assign(512 * length, value);
        write.request = {.operation = zeroes ? Operation::write_zeroes : Operation::write,
                         .offset = sector * 512,
                         .length = 512 * length,
                         .context = &write};
        if (!zeroes) write.request.buffer = write.payload;
        write.request.done = [](Request& done, Error error) noexcept {
            auto& self = *static_cast<Write*>(done.context)->self;
            const std::lock_guard lock(self.lock_);
            if (error != Error::none) std::abort();
            if (--self.left_ == 0) self.changed_.notify_one();
        };
        return true;
    }

    Backend& disk_;
    std::minstd_rand random_;
    const unsigned index_;
    const unsigned count_;
    const std::uint64_t stripe_;  // sectors
    std::vector<std::uint8_t> content_;
    std::vector<std::uint64_t> busy_;
    std::mutex lock_;
    std::condition_variable changed_;
    std::size_t left_ = 0;
};

TEST(AligningBackend, NeighboursInABlockNeverUndoEachOther) {
    constexpr unsigned count = 3;
    // Several in a block; whole blocks with edges.
    for (const std::uint64_t stripe : {1U, 21U}) {
        const std::uint64_t sectors = stripe * 96;
        Disk disk(sectors * 512, 4096, 512, 3);
        std::deque<Neighbour> neighbours;
        for (unsigned i = 0; i < count; ++i)
            neighbours.emplace_back(*disk.disk, i, count, sectors, stripe);
        std::vector<std::thread> threads;
        threads.reserve(count);
        for (auto& neighbour : neighbours)
            threads.emplace_back([&neighbour] { neighbour.run(150); });
        for (auto& thread : threads)
            thread.join();
        disk.disk->close();
        for (const auto& neighbour : neighbours)
            neighbour.check(disk.storage->bytes);
    }
}

TEST(AligningBackend, MoreRequestsThanJobsWaitAndAllEnd) {
    for (const unsigned threads : {0U, 2U}) {
        Disk disk(512 * block_size, 4096, 512, threads);
        constexpr unsigned count = 5 * AligningBackend::job_count;
        std::atomic<unsigned> ended{0};
        // Four in a block.
        const auto offset_of = [](std::uint64_t i) { return i / 4 * block_size + i % 4 * 512; };
        std::vector<Bytes> payloads(count, Bytes(512));
        std::vector<Request> requests(count);
        std::vector<Request*> batch;
        for (unsigned i = 0; i < count; ++i) {
            payloads[i].assign(512, static_cast<std::uint8_t>(i + 1));
            requests[i] = {.operation = Operation::write,
                           .offset = offset_of(i),
                           .length = 512,
                           .buffer = payloads[i],
                           .context = &ended};
            requests[i].done = [](Request& done, Error error) noexcept {
                if (error == Error::none) ++*static_cast<std::atomic<unsigned>*>(done.context);
            };
            batch.push_back(&requests[i]);
        }
        disk.disk->submit_many(batch);
        disk.disk->close();  // what was accepted ends first
        EXPECT_EQ(ended, count);
        for (unsigned i = 0; i < count; ++i)
            ASSERT_EQ(disk.storage->bytes[offset_of(i) + 511], static_cast<std::uint8_t>(i + 1));
    }
}

TEST(AligningBackend, CloseDoesNotWaitLongForStorageThatIsSilent) {
    Disk disk(4 * block_size, 4096, 512, 1);
    disk.storage->silent = true;
    std::atomic<int> ended{-1};
    Bytes bytes(512);
    Request request{
        .operation = Operation::write, .length = 512, .buffer = bytes, .context = &ended};
    request.done = [](Request& done, Error error) noexcept {
        *static_cast<std::atomic<int>*>(done.context) = static_cast<int>(error);
    };
    disk.disk->submit(request);
    const auto begin = std::chrono::steady_clock::now();
    disk.disk->close();
    EXPECT_LT(std::chrono::steady_clock::now() - begin, AligningBackend::close_time_max);
    EXPECT_EQ(ended, static_cast<int>(Error::shutting_down));
}

TEST(AligningBackend, AfterCloseRequestsAreRefused) {
    Disk disk(4 * block_size, 4096, 512, 1);
    disk.disk->close();
    disk.disk->close();
    Bytes bytes(512);
    EXPECT_EQ(read_blocking(*disk.disk, 512, bytes), Error::shutting_down);
    EXPECT_EQ(write_blocking(*disk.disk, 0, bytes), Error::shutting_down);
}

}  // namespace
}  // namespace wnbd::backend
