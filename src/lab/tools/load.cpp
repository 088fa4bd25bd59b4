// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <deque>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "lab/tools/commands.h"
#include "lab/tools/drive.h"
#include "lab/tools/io_slot.h"

namespace wnbd::disktool {
namespace {

constexpr std::uint64_t unknown = ~std::uint64_t{0};

/// What a block holds after its n-th write: every 8 bytes tell block, version and place.
void fill_block(std::uint8_t* out, std::size_t length, std::uint64_t block, std::uint64_t version) {
    for (std::size_t i = 0; i + 8 <= length; i += 8) {
        const std::uint64_t word = (block << 40) ^ (version << 16) ^ i ^ 0x574E4244;
        std::memcpy(out + i, &word, sizeof word);
    }
}

struct Slot : IoSlot {
    using IoSlot::IoSlot;
    std::uint64_t version = 0;  // that is being written
};

class Load {
  public:
    explicit Load(const LoadOptions& options)
        : options_(options),
          drive_(options.drive, {.write = true, .unbuffered = true, .overlapped = true}),
          versions_(options.region / options.block, unknown),
          in_flight_(versions_.size(), false),
          random_(options.seed) {
        for (std::uint32_t i = 0; i < options.depth; ++i)
            slots_.emplace_back(options.block);
    }

    int run() {
        std::uint64_t started = 0;
        std::size_t next = 0;
        // One slot after the other, so that the oldest is always the one waited for.
        while (started < options_.ios || any_busy()) {
            Slot& slot = slots_[next];
            next = (next + 1) % slots_.size();
            if (slot.busy) finish(slot);
            if (started < options_.ios && start(slot)) ++started;
        }
        std::printf("%llu reads, %llu writes, %llu errors, %llu mismatches\n", reads_, writes_,
                    errors_, mismatches_);
        const bool good = mismatches_ == 0 && (errors_ == 0 || options_.tolerate_errors);
        return good ? 0 : 1;
    }

  private:
    bool any_busy() const {
        return std::any_of(slots_.begin(), slots_.end(), [](const Slot& s) { return s.busy; });
    }

    bool start(Slot& slot) {
        slot.block = random_() % versions_.size();
        if (in_flight_[slot.block]) return false;
        slot.writes = versions_[slot.block] == unknown || random_() % 2 == 0;
        ++(slot.writes ? writes_ : reads_);
        if (slot.writes) {
            slot.version = ++last_version_;
            fill_block(slot.buffer.get(), options_.block, slot.block, slot.version);
        }
        if (!slot.begin(drive_)) {
            fail(slot, GetLastError());
            return true;
        }
        slot.busy = true;
        in_flight_[slot.block] = true;
        return true;
    }

    void finish(Slot& slot) {
        const DWORD error = slot.finish(drive_);
        slot.busy = false;
        in_flight_[slot.block] = false;
        if (error != ERROR_SUCCESS)
            fail(slot, error);
        else if (slot.writes)
            versions_[slot.block] = slot.version;
        else
            check(slot);
    }

    void fail(const Slot& slot, DWORD error) {
        ++errors_;
        if (slot.writes) versions_[slot.block] = unknown;
        if (errors_ <= 10 || !options_.tolerate_errors)
            std::fprintf(stderr, "%s of block %llu: error %lu\n", slot.writes ? "write" : "read",
                         static_cast<unsigned long long>(slot.block), error);
    }

    void check(const Slot& slot) {
        std::vector<std::uint8_t> expected(options_.block);
        fill_block(expected.data(), options_.block, slot.block, versions_[slot.block]);
        if (std::memcmp(expected.data(), slot.buffer.get(), options_.block) == 0) return;
        ++mismatches_;
        std::fprintf(stderr, "block %llu does not hold version %llu\n",
                     static_cast<unsigned long long>(slot.block),
                     static_cast<unsigned long long>(versions_[slot.block]));
    }

    const LoadOptions options_;
    Drive drive_;
    std::vector<std::uint64_t> versions_;  // what each block holds
    std::vector<bool> in_flight_;
    std::deque<Slot> slots_;
    std::mt19937_64 random_;
    std::uint64_t last_version_ = 0;
    unsigned long long reads_ = 0, writes_ = 0, errors_ = 0, mismatches_ = 0;
};

}  // namespace

int run_load(const LoadOptions& options) {
    if (options.depth == 0 || options.block < 8 || options.region < options.block)
        throw std::runtime_error("depth, block and region must leave something to do");
    return Load(options).run();
}

}  // namespace wnbd::disktool
