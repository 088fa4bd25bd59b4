// SPDX-License-Identifier: LGPL-2.1-or-later
// Issuing, serving, aborting, resetting and removing threads at once, on a disk whose every block
// is checked. Under ThreadSanitizer it also proves that the engine orders all accesses to a
// request's buffer and to the blocks behind it: nothing else here does.
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <iostream>
#include <memory>
#include <mutex>
#include <random>
#include <thread>
#include <vector>

#include "engine/adapter.h"
#include "engine/model/memory_server.h"

namespace wnbd::engine {
namespace {

using model::block_size;
using model::Fetched;
using model::MemoryServer;

constexpr unsigned issuer_count = 4;
constexpr unsigned commands_per_issuer = 4;  // at once
constexpr unsigned server_count = 3;
constexpr std::uint64_t blocks_per_command = 16;  // each command has a region of its own
constexpr std::uint64_t block_count =
    std::uint64_t{issuer_count} * commands_per_issuer * blocks_per_command + 1;
constexpr std::uint64_t shared_block = block_count - 1;  // counted up by COMPARE AND WRITE
constexpr auto duration = std::chrono::milliseconds(5000);

struct Command : model::Srb {
    Command() { platform::initialize(ended, platform::EventKind::auto_reset); }
    platform::Event ended;
    std::vector<std::uint8_t> bytes;
};

struct Reset {
    Reset() { platform::initialize(done, platform::EventKind::auto_reset); }
    ResetWait wait;
    platform::Event done;
};

struct Port final : model::TestPort {
    void on_complete(model::Srb& srb) noexcept override {
        completed.fetch_add(1);
        platform::set(static_cast<Command&>(srb).ended);
    }
    void on_reset_done(void* reset) noexcept override {
        resets_waited.fetch_add(1);
        platform::set(static_cast<Reset*>(reset)->done);
    }
    std::atomic<std::uint64_t> completed{0};
    std::atomic<std::uint64_t> resets_waited{0};
};

/// A region of blocks and what each may hold: one value, or after failed writes one of several.
class Region {
  public:
    explicit Region(std::uint64_t first) : first_(first) {}

    [[nodiscard]] std::uint64_t first() const { return first_; }

    /// Fills `bytes` with a new version of `count` blocks from `from` on.
    void write(std::uint64_t from, std::uint64_t count, std::vector<std::uint8_t>& bytes) {
        ++version_;
        for (std::uint64_t i = 0; i < count; ++i) {
            const std::uint64_t value = (first_ + from + i) << 32 | version_;
            may_hold_[from + i].push_back(value);
            for (std::size_t at = 0; at < block_size; at += sizeof(value))
                std::memcpy(&bytes[i * block_size + at], &value, sizeof(value));
        }
    }
    /// The latest write has succeeded.
    void wrote(std::uint64_t from, std::uint64_t count) {
        for (std::uint64_t i = from; i < from + count; ++i)
            may_hold_[i] = {may_hold_[i].back()};
    }
    /// A read has succeeded: from now on each block is known again.
    void read(std::uint64_t from, std::uint64_t count, const std::vector<std::uint8_t>& bytes) {
        for (std::uint64_t i = 0; i < count; ++i) {
            std::uint64_t value = 0;
            std::memcpy(&value, &bytes[i * block_size], sizeof(value));
            for (std::size_t at = 0; at < block_size; at += sizeof(value))
                ASSERT_EQ(std::memcmp(&bytes[i * block_size + at], &value, sizeof(value)), 0)
                    << "block " << first_ + from + i << " is torn";
            auto& known = may_hold_[from + i];
            ASSERT_NE(std::find(known.begin(), known.end(), value), known.end())
                << "block " << first_ + from + i << " holds " << std::hex << value;
            known = {value};
        }
    }

  private:
    std::uint64_t first_;
    std::uint32_t version_ = 0;
    std::vector<std::vector<std::uint64_t>> may_hold_ =
        std::vector<std::vector<std::uint64_t>>(blocks_per_command, {0});
};

struct StressTest : testing::Test {
    StressTest() { adapter->initialize(port); }

    void create() {
        WNBD_PROPERTIES properties{};
        std::strcpy(properties.InstanceName, "stress");
        properties.BlockCount = block_count;
        properties.BlockSize = block_size;
        properties.Flags.FlushSupported = 1;  // and no FUA: writes through take two steps
        const auto created = adapter->create(properties, this, 8);  // smaller than the load
        if (created) connection.store(created.value()->disk.connection_id());
    }

    [[nodiscard]] bool run_on() const { return std::chrono::steady_clock::now() < end; }

    /// Runs a command to its end. False when there was no disk for it, or no room.
    bool run(Command& command) {
        command.completions = 0;
        command.buffer = command.bytes.data();
        command.buffer_length = command.bytes.size();
        scsi::Answer answer;
        Disk::Start start;
        {
            const UnitReference unit = adapter->find(0, 0, 0);
            if (!unit) return false;
            start = unit->disk.start(&command, command.command(), answer);
            if (start == Disk::Start::pending) pending.fetch_add(1);
        }
        EXPECT_NE(start, Disk::Start::answered);
        if (start != Disk::Start::pending) return false;
        platform::wait(command.ended, false);
        EXPECT_EQ(command.completions, 1u);
        return true;
    }

    void issue(unsigned slot) {
        std::mt19937 random(slot);
        Region region(slot * blocks_per_command);
        Command& command = commands[slot];
        while (run_on()) {
            const std::uint64_t count = 1 + random() % 4;
            const std::uint64_t from = random() % (blocks_per_command - count + 1);
            command.bytes.assign(count * block_size, 0xDB);
            const unsigned kind = random() % 8;
            if (kind < 4) {
                command.cdb = model::read_cdb(region.first() + from, static_cast<unsigned>(count));
                if (run(command) && command.succeeded()) {
                    region.read(from, count, command.bytes);
                    reads.fetch_add(1);
                }
            } else if (kind < 7) {
                region.write(from, count, command.bytes);
                command.cdb = model::write_cdb(region.first() + from, static_cast<unsigned>(count),
                                               kind == 6);
                if (run(command) && command.succeeded()) region.wrote(from, count);
            } else {
                count_up(command);
            }
            if (command.completions == 0) std::this_thread::yield();
        }
    }

    /// Adds one to the shared block, as an initiator of a cluster would.
    void count_up(Command& command) {
        command.bytes.assign(block_size, 0);
        command.cdb = model::read_cdb(shared_block, 1);
        if (!run(command) || !command.succeeded()) return;
        std::uint64_t value = 0;
        std::memcpy(&value, command.bytes.data(), sizeof(value));
        ++value;
        command.bytes.resize(std::size_t{2} * block_size);
        std::memcpy(&command.bytes[block_size], command.bytes.data(), block_size);
        std::memcpy(&command.bytes[block_size], &value, sizeof(value));
        command.cdb = model::compare_and_write_cdb(shared_block, 1);
        if (!run(command)) return;
        if (command.succeeded())
            counted.fetch_add(1);
        else if (command.cause != Cause::answered)
            perhaps_counted.fetch_add(1);
        else
            EXPECT_EQ(command.key, scsi::SenseKey::miscompare);
    }

    /// A dispatcher thread: fetches, sometimes fails to, and answers, sometimes out of order.
    void serve(unsigned seed) {
        std::mt19937 random(seed);
        {
            const std::lock_guard guard(servers_mutex);
            servers.push_back(platform::native::this_thread());
        }
        std::vector<std::pair<std::uint64_t, Fetched>> in_hand;
        while (!servers_stop.load()) {
            const std::uint64_t served = connection.load();
            const bool fetched = fetch(served, random, in_hand);
            if (!fetched) std::this_thread::yield();
            while (!in_hand.empty() && (in_hand.size() > 2 || !fetched || random() % 2 == 0)) {
                const std::size_t at = random() % in_hand.size();
                const UnitReference unit = adapter->find(in_hand[at].first);
                if (!unit || !server.answer(unit->disk, in_hand[at].second)) late.fetch_add(1);
                in_hand.erase(in_hand.begin() + static_cast<std::ptrdiff_t>(at));
            }
        }
    }

    bool fetch(std::uint64_t served, std::mt19937& random,
               std::vector<std::pair<std::uint64_t, Fetched>>& in_hand) {
        const UnitReference unit = adapter->find(served);
        if (!unit) return false;
        Disk& disk = unit->disk;
        Waiter waiter;
        Request* request = nullptr;
        Disk::Take take = disk.take(waiter, request);
        // Whoever has replies in hand doesn't wait for more.
        while (take == Disk::Take::empty) {
            if (!in_hand.empty() ||
                platform::wait(waiter.wake, true) == platform::WaitResult::alerted) {
                disk.withdraw(waiter);
                return false;
            }
            take = disk.take(waiter, request);
        }
        if (take == Disk::Take::disconnected) return false;
        switch (random() % 64) {
            case 0: disk.return_unfetched(*request); return true;
            case 1:
                // Only what has not begun: an atomic request's second step is not refused.
                if (!request->was_submitted) {
                    disk.reject(*request);
                    return true;
                }
                break;
            default: break;
        }
        in_hand.emplace_back(served, MemoryServer::fetch(disk, *request));
        return true;
    }

    void disturb() {
        std::mt19937 random(99);
        Reset reset;
        while (run_on()) {
            std::this_thread::sleep_for(std::chrono::microseconds(random() % 3000));
            {
                const std::lock_guard guard(servers_mutex);
                if (!servers.empty()) platform::native::alert(servers[random() % servers.size()]);
            }
            Disk::Drain drained;
            {
                const UnitReference unit = adapter->find(0, 0, 0);
                if (!unit) continue;
                reset.wait.srb = &reset;
                switch (random() % 4) {
                    case 0: drained = unit->disk.drain(Cause::aborted, {}, reset.wait); break;
                    case 1: static_cast<void>(unit->disk.drain(Cause::bus_reset, {})); break;
                    default:
                        drained = unit->disk.abort(&commands[random() % std::size(commands)], {},
                                                   reset.wait);
                }
            }
            EXPECT_FALSE(drained.stale);
            if (!drained.finished) platform::wait(reset.done, false);
            drains.fetch_add(1);
        }
    }

    void remove_and_create(unsigned seed) {
        std::mt19937 random(seed);
        while (run_on()) {
            std::this_thread::sleep_for(std::chrono::milliseconds(random() % 60));
            if (random() % 2 == 0)
                adapter->remove_owned_by(this);
            else
                adapter->remove(connection.load());
            removals.fetch_add(1);
            create();
        }
    }

    void audit() {
        while (run_on()) {
            const UnitReference unit = adapter->find_by_name("stress");
            if (!unit) continue;
            const Counters c = unit->disk.counters();
            EXPECT_EQ(c.received, c.submitted + c.unsubmitted + c.rejected + c.aborted_unsubmitted);
            EXPECT_EQ(c.submitted, c.replies + c.pending_submitted + c.aborted_submitted);
            std::this_thread::sleep_for(std::chrono::milliseconds(1));
        }
    }

    Port port;
    std::unique_ptr<Adapter> adapter = std::make_unique<Adapter>();
    MemoryServer server{block_count};
    std::chrono::steady_clock::time_point end = std::chrono::steady_clock::now() + duration;
    std::atomic<std::uint64_t> connection{0};
    Command commands[issuer_count * commands_per_issuer];
    std::atomic<bool> servers_stop{false};
    std::mutex servers_mutex;
    std::vector<platform::native::ThreadHandle> servers;
    std::atomic<std::uint64_t> pending{0}, reads{0}, late{0}, drains{0}, removals{0}, counted{0},
        perhaps_counted{0};
};

TEST_F(StressTest, EverySrbEndsOnceAndEveryBlockHoldsWhatWasWritten) {
    create();
    std::vector<std::thread> issuers;
    for (unsigned slot = 0; slot < std::size(commands); ++slot)
        issuers.emplace_back([this, slot] { issue(slot); });
    issuers.emplace_back([this] { disturb(); });
    issuers.emplace_back([this] { remove_and_create(7); });
    issuers.emplace_back([this] { remove_and_create(8); });
    issuers.emplace_back([this] { audit(); });
    std::vector<std::thread> serving;
    for (unsigned i = 0; i < server_count; ++i)
        serving.emplace_back([this, i] { serve(1000 + i); });

    for (auto& thread : issuers)
        thread.join();
    adapter->remove_all();
    servers_stop.store(true);
    for (auto& thread : serving)
        thread.join();

    EXPECT_EQ(port.completed.load(), pending.load());
    EXPECT_EQ(platform::native::allocations_outstanding(), 0);
    std::uint64_t shared = 0;
    std::memcpy(&shared, server.block(shared_block), sizeof(shared));
    EXPECT_GE(shared, counted.load());
    EXPECT_LE(shared, counted.load() + perhaps_counted.load());
    EXPECT_GT(reads.load(), 100u);
    EXPECT_GT(counted.load(), 0u);
    EXPECT_GT(drains.load(), 100u);
    EXPECT_GT(port.resets_waited.load(), 0u);
    EXPECT_GT(removals.load(), 10u);
    std::cout << pending << " SRBs, " << reads << " reads checked, " << late << " late replies, "
              << drains << " drains of which " << port.resets_waited << " waited, " << removals
              << " removals, " << counted << " compare-and-writes\n";
}

}  // namespace
}  // namespace wnbd::engine
