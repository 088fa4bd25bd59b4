// SPDX-License-Identifier: LGPL-2.1-or-later
// Writes, reads and flushes for as long as it is let, while whoever drives it kills servers and
// cuts networks; keeps account of what the disk promised, and checks it: on the way, and all of it
// in the end, or later from another process (`check`).
#include <algorithm>
#include <atomic>
#include <chrono>
#include <deque>
#include <iostream>
#include <nlohmann/json.hpp>
#include <random>
#include <string>
#include <thread>

#include "tests/interop/exercise/exercise.h"
#include "tests/interop/exercise/flights.h"
#include "tests/interop/exercise/print.h"
#include "tests/interop/exercise/promises.h"
#include "tests/interop/exercise/stamp.h"

namespace wnbd::test {
namespace {

using backend::Error;
using backend::Operation;

/// What all writers share.
struct Run {
    const ExerciseOptions& options;
    backend::Backend& disk;
    Findings findings{};
    std::atomic<bool> over{false};
    std::atomic<std::uint64_t> acknowledged{0};
    std::atomic<std::uint64_t> flushes{0};
    std::atomic<std::uint64_t> reads{0};
    std::atomic<std::uint64_t> refused{0};  // ended with an error
    std::atomic<bool> lost{false};          // the disk is gone for good
};

class Writer {
  public:
    Writer(Run& run, Promises& promises)
        : run_(run),
          promises_(promises),
          block_size_(block_of(run.options, run.disk)),
          format_(run.options.seed),
          random_(run.options.seed * 1000 + promises.writer()),
          flights_(run.disk, run.options.depth, block_size_, run.options.request_max),
          claims_(promises.blocks()) {}

    void write_on() {
        while (!run_.over || flights_.in_flight() > 0) {
            while (!run_.over) {
                Flight* const flight = flights_.idle();
                if (flight == nullptr) break;
                begin(*flight);
            }
            flights_.send();
            take_ended();
        }
    }

    /// The last flush, and everything once more.
    void read_all() {
        if (run_.lost) return;
        if (Flight* const flight = flights_.idle();
            flight != nullptr && run_.disk.properties().can_flush) {
            begin_flush(*flight);
            flights_.send();
            take_ended();
        }
        const std::uint64_t step = run_.options.request_max / block_size_;
        for (std::uint64_t at = 0; at < promises_.blocks() && !run_.lost;) {
            Flight* const flight = flights_.idle();
            flight->first = promises_.first() + at;
            flight->count = std::min(step, promises_.blocks() - at);
            if (!claims_.claim(at, flight->count)) std::abort();
            at += flight->count;
            flights_.start(*flight, Operation::read);
            flights_.send();
            take_ended();
        }
    }

    [[nodiscard]] std::chrono::milliseconds longest() const { return flights_.longest(); }

  private:
    void begin(Flight& flight) {
        const auto draw = random_() % 100;
        if (draw < 4 && run_.disk.properties().can_flush) return begin_flush(flight);
        const bool write = draw < 75;
        claim_some(flight);
        if (!write) return flights_.start(flight, Operation::read);
        flight.sequence = ++sequence_;
        for (std::uint64_t i = 0; i < flight.count; ++i) {
            const auto block = flight.first + i;
            format_.fill({promises_.writer(), flight.sequence, block},
                         flight.block(i, block_size_));
            promises_.of(block).newest = flight.sequence;
        }
        flights_.start(flight, Operation::write,
                       run_.disk.properties().can_fua && random_() % 16 == 0);
    }

    /// Covers what has been acknowledged up to now.
    void begin_flush(Flight& flight) {
        flight.count = 0;
        flight.sequence = flushed_ + unflushed_.size();
        flights_.start(flight, Operation::flush);
    }

    void claim_some(Flight& flight) {
        const std::uint64_t most =
            std::min<std::uint64_t>(run_.options.request_max / block_size_, promises_.blocks());
        for (;;) {
            const auto limit = random_() % 8 == 0 ? most : std::min(most, few);
            const auto count = random_() % limit + 1;
            const auto at = random_() % (promises_.blocks() - count + 1);
            if (!claims_.claim(at, count)) continue;
            flight.first = promises_.first() + at;
            flight.count = count;
            return;
        }
    }

    void take_ended() {
        for (Flight* const flight : flights_.wait()) {
            account(*flight);
            if (flight->count > 0)
                claims_.release(flight->first - promises_.first(), flight->count);
            flights_.give_back(*flight);
        }
    }

    void account(Flight& flight) {
        if (flight.error != Error::none) {
            ++run_.refused;
            if (flight.error == Error::disconnected) {
                run_.lost = true;
                run_.over = true;
            } else if (!run_.options.errors_allowed) {
                run_.findings.add("a request ended with " + std::string(name(flight.error)));
            }
            return;
        }
        switch (flight.request.operation) {
            case Operation::read: return compare(flight);
            case Operation::write: return acknowledge(flight);
            case Operation::flush: return flushed(flight);
            default: break;
        }
    }

    void acknowledge(Flight& flight) {
        ++run_.acknowledged;
        for (std::uint64_t i = 0; i < flight.count; ++i) {
            const auto block = flight.first + i;
            promises_.of(block).acknowledged = flight.sequence;
            if (flight.request.force_unit_access)
                promises_.of(block).flushed = flight.sequence;
            else
                unflushed_.push_back({block, flight.sequence});
        }
    }

    void flushed(const Flight& flight) {
        ++run_.flushes;
        for (; flushed_ < flight.sequence; ++flushed_) {
            auto& promise = promises_.of(unflushed_.front().block);
            promise.flushed = std::max(promise.flushed, unflushed_.front().sequence);
            unflushed_.pop_front();
        }
    }

    void compare(Flight& flight) {
        ++run_.reads;
        for (std::uint64_t i = 0; i < flight.count; ++i) {
            const auto block = flight.first + i;
            const auto seen = format_.look_at(flight.block(i, block_size_));
            const auto wrong = promises_.judge(block, seen, run_.options.cache_may_be_lost);
            if (!wrong.empty()) run_.findings.add(wrong);
            // What was seen once must not be gone later.
            auto& promise = promises_.of(block);
            if (wrong.empty())
                promise.acknowledged = std::max(promise.acknowledged, seen.stamp.sequence);
        }
    }

    static constexpr std::uint64_t few = 8;  // blocks that most requests have at most

    struct Acknowledged {
        std::uint64_t block;
        std::uint64_t sequence;
    };

    Run& run_;
    Promises& promises_;
    const std::uint32_t block_size_;
    const StampFormat format_;
    std::mt19937_64 random_;
    Flights flights_;
    Claims claims_;
    std::uint64_t sequence_ = 0;
    std::deque<Acknowledged> unflushed_;  // in order of acknowledgement
    std::uint64_t flushed_ = 0;           // so many were before those
};

std::vector<Promises> nothing_promised(const ExerciseOptions& options,
                                       const backend::Backend& disk) {
    const std::uint64_t blocks =
        std::min(options.region, disk.properties().size) / block_of(options, disk);
    const std::uint64_t part = blocks / options.threads;
    std::vector<Promises> all;
    all.reserve(options.threads);
    for (std::uint32_t i = 0; i < options.threads; ++i)
        all.emplace_back(i + 1, i * part, part);
    return all;
}

/// Until a line comes, or the end of the input, or the time is over.
void wait_and_tell(Run& run) {
    // Nobody can end a thread that waits for input: it is left behind, with what it uses.
    static std::atomic<bool> told{false};
    std::thread([] {
        std::string line;
        std::getline(std::cin, line);
        told = true;
    }).detach();
    const auto end =
        std::chrono::steady_clock::now() + std::chrono::duration<double>(run.options.seconds);
    std::uint64_t before = 0;
    while (!told && !run.lost && std::chrono::steady_clock::now() < end) {
        const auto now = run.acknowledged.load();
        if (now != before) print_line({{"acknowledged", now}});
        before = now;
        std::this_thread::sleep_for(std::chrono::milliseconds(20));
    }
    run.over = true;
}

}  // namespace

bool run_writer(const ExerciseOptions& options, backend::Backend& disk) {
    auto promises = nothing_promised(options, disk);
    Run run{options, disk};
    std::vector<std::unique_ptr<Writer>> writers;
    std::vector<std::thread> threads;
    for (auto& part : promises) {
        writers.push_back(std::make_unique<Writer>(run, part));
        threads.emplace_back([writer = writers.back().get()] {
            writer->write_on();
            writer->read_all();
        });
    }
    wait_and_tell(run);
    for (auto& thread : threads)
        thread.join();
    std::chrono::milliseconds longest{0};
    for (const auto& writer : writers)
        longest = std::max(longest, writer->longest());
    const bool saved = options.state.empty() || Promises::save(options.state, promises);
    if (!saved) run.findings.add("cannot write " + options.state);
    print_line({{"acknowledged", run.acknowledged.load()},
                {"flushes", run.flushes.load()},
                {"reads", run.reads.load()},
                {"refused", run.refused.load()},
                {"lost", run.lost.load()},
                {"longest_ms", longest.count()},
                {"findings", run.findings.count()},
                {"first_findings", run.findings.first()},
                {"failure", disk.failure()}});
    return run.findings.count() == 0;
}

bool run_check(const ExerciseOptions& options, backend::Backend& disk) {
    Findings findings;
    auto loaded = Promises::load(options.state);
    if (!loaded.ok()) {
        findings.add(loaded.error());
    } else {
        const StampFormat format(options.seed);
        const auto block_size = block_of(options, disk);
        Flights flights(disk, 1, block_size, block_size);
        for (const auto& part : loaded.value()) {
            for (auto block = part.first(); block < part.first() + part.blocks(); ++block) {
                Flight* const flight = flights.idle();
                flight->first = block;
                flight->count = 1;
                flights.start(*flight, Operation::read);
                flights.send();
                (void)flights.wait();
                const auto wrong =
                    flight->error == Error::none
                        ? part.judge(block, format.look_at(flight->block(0, block_size)),
                                     options.cache_may_be_lost)
                        : "read of block " + std::to_string(block) + ": " + name(flight->error);
                if (!wrong.empty()) findings.add(wrong);
                flights.give_back(*flight);
            }
        }
    }
    print_line({{"findings", findings.count()}, {"first_findings", findings.first()}});
    return findings.count() == 0;
}

}  // namespace wnbd::test
