// SPDX-License-Identifier: LGPL-2.1-or-later
// Every kind of request at random, many in flight, and every block that is read is compared with
// what it may hold.
#include <algorithm>
#include <array>
#include <map>
#include <nlohmann/json.hpp>
#include <random>
#include <thread>

#include "tests/interop/exercise/exercise.h"
#include "tests/interop/exercise/flights.h"
#include "tests/interop/exercise/print.h"
#include "tests/interop/exercise/stamp.h"

namespace wnbd::test {
namespace {

using backend::Error;
using backend::Operation;

/// What a block may hold: one of two sequences, 0 being zeroes. They differ after a trim, or after
/// a change that failed, until a read has told. `blurred`: more than two, so any of ours.
struct Content {
    std::uint64_t one = 0;
    std::uint64_t other = 0;
    bool blurred = false;

    void become(std::uint64_t sequence) { *this = {sequence, sequence, false}; }
    void may_become(std::uint64_t sequence) {
        blurred = blurred || (one != other && sequence != one && sequence != other);
        other = sequence;
    }
    [[nodiscard]] bool may_be(std::uint64_t sequence) const {
        return blurred || sequence == one || sequence == other;
    }
};

/// One thread with a part of the disk of its own.
class MixedWorker {
  public:
    MixedWorker(const ExerciseOptions& options, backend::Backend& disk, Findings& findings,
                std::uint32_t writer, std::uint64_t first, std::uint64_t blocks)
        : options_(options),
          disk_(disk),
          findings_(findings),
          block_size_(block_of(options, disk)),
          writer_(writer),
          first_(first),
          format_(options.seed),
          random_(options.seed * 1000 + writer),
          flights_(disk, options.depth, block_size_, options.request_max),
          claims_(blocks),
          contents_(blocks) {}

    void run() {
        for (std::uint64_t left = options_.ios; left > 0 || flights_.in_flight() > 0;) {
            while (left > 0) {
                Flight* const flight = flights_.idle();
                if (flight == nullptr) break;
                begin(*flight);
                --left;
            }
            flights_.send();
            take_ended();
        }
        read_all();
    }

    std::map<std::string, std::uint64_t> done;    // by operation
    std::map<std::string, std::uint64_t> failed;  // by error

  private:
    /// In blocks: mostly small, sometimes the largest that there is.
    std::uint64_t some_count() {
        const std::uint64_t most = options_.request_max / block_size_;
        const auto kind = random_() % 10;
        const auto limit = kind < 6 ? 8 : kind < 9 ? 65536 / block_size_ : most;
        return random_() % std::clamp<std::uint64_t>(limit, 1, most) + 1;
    }

    Operation some_operation() {
        const auto& can = disk_.properties();
        const auto draw = random_() % 100;
        if (draw < 45 || can.read_only) return Operation::read;
        if (draw < 82) return Operation::write;
        if (draw < 90 && can.can_write_zeroes) return Operation::write_zeroes;
        if (draw < 96 && can.can_trim) return Operation::trim;
        return can.can_flush ? Operation::flush : Operation::write;
    }

    void begin(Flight& flight) {
        const auto operation = some_operation();
        flight.count = 0;
        if (operation != Operation::flush) claim_some(flight);
        flight.sequence = ++sequence_;
        if (operation == Operation::write)
            for (std::uint64_t i = 0; i < flight.count; ++i)
                format_.fill(stamp(flight, i), flight.block(i, block_size_));
        const bool changes = operation != Operation::read && operation != Operation::flush;
        const bool durable = changes && disk_.properties().can_fua && random_() % 4 == 0;
        flights_.start(flight, operation, durable, random_() % 2 == 0);
    }

    void claim_some(Flight& flight) {
        const std::uint64_t blocks = contents_.size();
        for (auto count = std::min(some_count(), blocks);; count = (count + 1) / 2) {
            for (int tries = 0; tries < 50; ++tries) {
                const auto at = random_() % (blocks - count + 1);
                if (!claims_.claim(at, count)) continue;
                flight.first = first_ + at;
                flight.count = count;
                return;
            }
        }
    }

    [[nodiscard]] Stamp stamp(const Flight& flight, std::uint64_t index) const {
        return {writer_, flight.sequence, flight.first + index};
    }

    void take_ended() {
        for (Flight* const flight : flights_.wait()) {
            account(*flight);
            claims_.release(flight->first - first_, flight->count);
            flights_.give_back(*flight);
        }
    }

    void account(Flight& flight) {
        static constexpr std::array names{"read", "write", "flush", "trim", "write_zeroes"};
        const auto operation = flight.request.operation;
        const bool good = flight.error == Error::none;
        ++done[names.at(static_cast<std::size_t>(operation))];
        if (!good) {
            ++failed[name(flight.error)];
            if (!options_.errors_allowed)
                findings_.add(std::string(names.at(static_cast<std::size_t>(operation))) +
                              " of block " + std::to_string(flight.first) + " ended with " +
                              name(flight.error));
        }
        if (operation == Operation::read && good) compare(flight);
        if (operation == Operation::write) changed(flight, flight.sequence, good);
        if (operation == Operation::write_zeroes) changed(flight, 0, good);
        if (operation == Operation::trim)
            changed(flight, 0, good && disk_.properties().trim_reads_zeroes);
    }

    void changed(const Flight& flight, std::uint64_t sequence, bool certainly) {
        for (std::uint64_t i = 0; i < flight.count; ++i) {
            auto& content = contents_[flight.first - first_ + i];
            if (certainly)
                content.become(sequence);
            else
                content.may_become(sequence);
        }
    }

    void compare(Flight& flight) {
        for (std::uint64_t i = 0; i < flight.count; ++i) {
            const auto block = flight.first + i;
            auto& content = contents_[block - first_];
            const auto seen = format_.look_at(flight.block(i, block_size_));
            const bool ours = seen.kind == StampFormat::Kind::zeroes ||
                              (seen.kind == StampFormat::Kind::stamped &&
                               seen.stamp.writer == writer_ && seen.stamp.block == block);
            if (!ours || !content.may_be(seen.stamp.sequence)) {
                findings_.add("block " + std::to_string(block) + " holds " + describe(seen) +
                              " instead of " + std::to_string(content.one) + " or " +
                              std::to_string(content.other));
            } else {
                content.become(seen.stamp.sequence);
            }
        }
    }

    /// In the end everything is read once more.
    void read_all() {
        const std::uint64_t step = options_.request_max / block_size_;
        for (std::uint64_t at = 0; at < contents_.size();) {
            while (at < contents_.size()) {
                Flight* const flight = flights_.idle();
                if (flight == nullptr) break;
                flight->first = first_ + at;
                flight->count = std::min<std::uint64_t>(step, contents_.size() - at);
                at += flight->count;
                flights_.start(*flight, Operation::read);
            }
            flights_.send();
            take_ended();
        }
        while (flights_.in_flight() > 0)
            take_ended();
    }

    const ExerciseOptions& options_;
    backend::Backend& disk_;
    Findings& findings_;
    const std::uint32_t block_size_;
    const std::uint32_t writer_;
    const std::uint64_t first_;
    const StampFormat format_;
    std::mt19937_64 random_;
    Flights flights_;
    Claims claims_;
    std::vector<Content> contents_;
    std::uint64_t sequence_ = 0;
};

}  // namespace

bool run_mixed(const ExerciseOptions& options, backend::Backend& disk) {
    const std::uint64_t blocks =
        std::min(options.region, disk.properties().size) / block_of(options, disk);
    const std::uint64_t part = blocks / options.threads;
    Findings findings;
    std::vector<std::unique_ptr<MixedWorker>> workers;
    workers.reserve(options.threads);
    for (std::uint32_t i = 0; i < options.threads; ++i)
        workers.push_back(
            std::make_unique<MixedWorker>(options, disk, findings, i + 1, i * part, part));
    std::vector<std::thread> threads;
    threads.reserve(options.threads);
    for (const auto& worker : workers)
        threads.emplace_back([&worker] { worker->run(); });
    for (auto& thread : threads)
        thread.join();
    std::map<std::string, std::uint64_t> done;
    std::map<std::string, std::uint64_t> failed;
    for (const auto& worker : workers) {
        for (const auto& [what, count] : worker->done)
            done[what] += count;
        for (const auto& [what, count] : worker->failed)
            failed[what] += count;
    }
    print_line({{"done", done},
                {"failed", failed},
                {"findings", findings.count()},
                {"first_findings", findings.first()},
                {"failure", disk.failure()}});
    return findings.count() == 0;
}

}  // namespace wnbd::test
