// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <cstdio>
#include <cstring>
#include <memory>
#include <optional>
#include <random>
#include <vector>

#include "lab/tools/commands.h"
#include "lab/tools/drive.h"

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

struct Slot {
    OVERLAPPED overlapped{};
    AlignedBuffer buffer;
    std::uint64_t block = 0;
    bool writes = false;
    bool busy = false;
};

class Load {
  public:
    explicit Load(const LoadOptions& options)
        : options_(options),
          drive_(options.drive, {.write = true, .unbuffered = true, .overlapped = true}),
          versions_(options.region / options.block, unknown),
          in_flight_(versions_.size(), false),
          random_(options.seed) {
        for (std::uint32_t i = 0; i < options.depth; ++i) {
            Slot& slot = slots_.emplace_back();
            slot.buffer = allocate_aligned(options.block);
            slot.overlapped.hEvent = CreateEventW(nullptr, TRUE, FALSE, nullptr);
        }
    }

    ~Load() {
        for (Slot& slot : slots_)
            CloseHandle(slot.overlapped.hEvent);
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
        if (slot.writes) fill_block(slot.buffer.get(), options_.block, slot.block, ++last_version_);
        const std::uint64_t offset = slot.block * options_.block;
        slot.overlapped.Offset = static_cast<DWORD>(offset);
        slot.overlapped.OffsetHigh = static_cast<DWORD>(offset >> 32);
        const BOOL done = slot.writes ? WriteFile(drive_.handle(), slot.buffer.get(),
                                                  options_.block, nullptr, &slot.overlapped)
                                      : ReadFile(drive_.handle(), slot.buffer.get(), options_.block,
                                                 nullptr, &slot.overlapped);
        if (slot.writes) {
            ++writes_;
            pending_version_of(slot) = last_version_;
        } else {
            ++reads_;
        }
        if (!done && GetLastError() != ERROR_IO_PENDING) {
            fail(slot, GetLastError());
            return true;
        }
        slot.busy = true;
        in_flight_[slot.block] = true;
        return true;
    }

    void finish(Slot& slot) {
        DWORD moved = 0;
        const BOOL done = GetOverlappedResult(drive_.handle(), &slot.overlapped, &moved, TRUE);
        slot.busy = false;
        in_flight_[slot.block] = false;
        if (!done || moved != options_.block)
            fail(slot, done ? ERROR_HANDLE_EOF : GetLastError());
        else if (slot.writes)
            versions_[slot.block] = pending_version_of(slot);
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

    std::uint64_t& pending_version_of(const Slot& slot) {
        pending_versions_.resize(slots_.size());
        return pending_versions_[static_cast<std::size_t>(&slot - slots_.data())];
    }

    const LoadOptions options_;
    Drive drive_;
    std::vector<std::uint64_t> versions_;  // what each block holds
    std::vector<bool> in_flight_;
    std::vector<Slot> slots_;
    std::vector<std::uint64_t> pending_versions_;
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
