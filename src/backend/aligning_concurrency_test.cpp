// SPDX-License-Identifier: LGPL-2.1-or-later
// Many requests at once: neighbours in a block, more than there is room for, and the close.
#include <gtest/gtest.h>

#include <random>
#include <thread>
#include <vector>

#include "backend/aligning_backend.h"
#include "backend/block_storage.h"
#include "backend/blocking.h"

namespace wnbd::backend {
namespace {

using test::block_size;
using test::Disk;
using Bytes = std::vector<std::uint8_t>;

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

/// Storage for changes that nobody reads back: its one thread ends them, and touches nothing.
class Blank final : public Backend {
  public:
    static constexpr std::uint64_t bytes = 1U << 30;

    ~Blank() override { Blank::close(); }
    [[nodiscard]] const Properties& properties() const noexcept override { return properties_; }
    void submit(Request& request) noexcept override {
        const std::lock_guard lock(lock_);
        queue_.push_back(&request);
        changed_.notify_one();
    }
    void close() noexcept override {
        {
            const std::lock_guard lock(lock_);
            closed_ = true;
            changed_.notify_one();
        }
        if (thread_.joinable()) thread_.join();
    }

  private:
    void serve() {
        std::unique_lock lock(lock_);
        for (;;) {
            changed_.wait(lock, [this] { return closed_ || !queue_.empty(); });
            if (queue_.empty()) return;
            Request* const request = queue_.front();
            queue_.pop_front();
            lock.unlock();
            request->done(*request, Error::none);
            lock.lock();
        }
    }

    const Properties properties_{
        .size = bytes, .minimum_block = block_size, .can_trim = true, .can_write_zeroes = true};
    std::mutex lock_;
    std::condition_variable changed_;
    std::deque<Request*> queue_;
    bool closed_ = false;
    std::thread thread_{[this] { serve(); }};
};

// A change of more than the guard's longest range keeps others out until it has had its turn: so
// nobody may get between its refusal and its place in the line, who would wait for it for ever.
TEST(AligningBackend, LongChangesAmongShortOnesAllEnd) {
    constexpr unsigned threads_max = 4;
    constexpr unsigned rounds = 1'000;
    constexpr std::uint64_t long_length = 64U << 20;
    const auto disk = aligned_to(std::make_unique<Blank>(), 512);
    std::atomic<unsigned> over{0};
    const auto work = [&](unsigned index) {
        std::minstd_rand random(index + 1);
        for (unsigned round = 0; round < rounds; ++round) {
            const bool is_long = index == 0;
            const auto length = is_long ? long_length : block_size;
            const auto place = random() % ((Blank::bytes - length) / block_size);
            ASSERT_EQ(perform_blocking(*disk, {.operation = Operation::trim,
                                               .offset = place * block_size,
                                               .length = length}),
                      Error::none);
        }
        ++over;
    };
    std::vector<std::thread> threads;
    threads.reserve(threads_max);
    for (unsigned index = 0; index < threads_max; ++index)
        threads.emplace_back(work, index);
    for (auto& thread : threads)
        thread.join();
    EXPECT_EQ(over, threads_max);
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
