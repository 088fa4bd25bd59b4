// SPDX-License-Identifier: LGPL-2.1-or-later
// A load that outlives its disk: whatever happens to the disk, it is found again by its serial
// number and the load goes on, until enough I/Os have succeeded. Each block is written once at the
// most, so that a write which was given up and arrives late can never hide a newer one, and every
// read tells for certain whether something was lost.
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

constexpr unsigned drives_max = 64;
constexpr DWORD pause_ms = 100;
constexpr std::size_t sector = 512;  // a block that was given up may be written in part

enum class Content : std::uint8_t {
    zeros,    // nobody wrote it
    written,  // a write of it succeeded
    unsure,   // its write was given up: each sector is as before or as written
};

std::uint64_t stamp(std::uint64_t block, std::size_t at) {
    return (block + 1) * 0x9E3779B97F4A7C15ULL ^ at * 0xC2B2AE3D27D4EB4FULL;
}

void fill_block(std::uint8_t* out, std::size_t length, std::uint64_t block) {
    for (std::size_t at = 0; at + 8 <= length; at += 8) {
        const std::uint64_t word = stamp(block, at);
        std::memcpy(out + at, &word, sizeof word);
    }
}

bool serial_is(unsigned number, const std::string& serial) {
    try {
        const Drive drive(number, {});
        STORAGE_PROPERTY_QUERY query{};
        query.PropertyId = StorageDeviceProperty;
        query.QueryType = PropertyStandardQuery;
        alignas(8) char answer[2048] = {};
        drive.control(IOCTL_STORAGE_QUERY_PROPERTY, &query, sizeof query, answer, sizeof answer - 1,
                      "QUERY_PROPERTY");
        const auto& head = *reinterpret_cast<const STORAGE_DEVICE_DESCRIPTOR*>(answer);
        return head.SerialNumberOffset != 0 && head.SerialNumberOffset < sizeof answer &&
               serial == answer + head.SerialNumberOffset;
    } catch (const Win32Failure&) {
        return false;  // no such drive, or one that is just going
    }
}

class Endurance {
  public:
    explicit Endurance(const EndureOptions& options)
        : options_(options),
          contents_(options.region / options.block, Content::zeros),
          in_flight_(contents_.size(), false),
          random_(options.seed) {
        for (std::uint32_t i = 0; i < options.depth; ++i)
            slots_.emplace_back(options.block);
    }
    Endurance(const Endurance&) = delete;
    Endurance& operator=(const Endurance&) = delete;

    int run() {
        last_success_ms_ = GetTickCount64();
        while (successes_ < options_.ios) {
            if (!find_drive()) return give_up();
            use_drive();
            if (GetTickCount64() - last_success_ms_ > options_.patience_s * 1000) return give_up();
        }
        while (next_checked_ < contents_.size()) {
            if (!find_drive()) return give_up();
            read_all_back();
        }
        std::printf(
            "%llu I/Os: %llu reads, %llu writes, %llu errors, found %llu times, %llu mismatches\n",
            successes_, reads_, writes_, errors_, found_, mismatches_);
        return mismatches_ == 0 ? 0 : 1;
    }

  private:
    int give_up() const {
        std::printf("no success for %llu s: %llu of %llu I/Os, %llu errors, the last %lu\n",
                    static_cast<unsigned long long>(options_.patience_s), successes_,
                    static_cast<unsigned long long>(options_.ios), errors_, last_error_);
        return 1;
    }

    bool find_drive() {
        drive_.reset();
        while (GetTickCount64() - last_success_ms_ <= options_.patience_s * 1000) {
            for (unsigned number = 0; number < drives_max; ++number) {
                if (!serial_is(number, options_.serial)) continue;
                try {
                    drive_.emplace(number,
                                   OpenMode{.write = true, .unbuffered = true, .overlapped = true});
                    ++found_;
                    return true;
                } catch (const Win32Failure&) {
                    break;  // gone in between
                }
            }
            Sleep(pause_ms);
        }
        return false;
    }

    /// Until enough has succeeded or something failed.
    void use_drive() {
        failed_ = false;
        std::size_t next = 0;
        bool busy = false;
        do {
            busy = false;
            for (std::size_t i = 0; i < slots_.size(); ++i) {
                IoSlot& slot = slots_[next];
                next = (next + 1) % slots_.size();
                if (slot.busy) finish(slot);
                if (!failed_ && successes_ < options_.ios) start(slot);
                busy |= slot.busy;
            }
        } while (busy);
    }

    void start(IoSlot& slot) {
        slot.block = random_() % contents_.size();
        if (in_flight_[slot.block]) return;
        slot.writes = contents_[slot.block] == Content::zeros && random_() % 4 != 0;
        if (slot.writes) fill_block(slot.buffer.get(), options_.block, slot.block);
        if (!slot.begin(*drive_)) return fail(slot, GetLastError());
        slot.busy = true;
        in_flight_[slot.block] = true;
    }

    void finish(IoSlot& slot) {
        const DWORD error = slot.finish(*drive_);
        slot.busy = false;
        in_flight_[slot.block] = false;
        if (error != ERROR_SUCCESS) return fail(slot, error);
        ++successes_;
        last_success_ms_ = GetTickCount64();
        ++(slot.writes ? writes_ : reads_);
        if (slot.writes)
            contents_[slot.block] = Content::written;
        else
            check(slot);
    }

    void fail(const IoSlot& slot, DWORD error) {
        failed_ = true;
        ++errors_;
        last_error_ = error;
        if (slot.writes) contents_[slot.block] = Content::unsure;
    }

    void check(const IoSlot& slot) {
        std::vector<std::uint8_t> expected(options_.block);
        fill_block(expected.data(), options_.block, slot.block);
        const std::vector<std::uint8_t> zeros(sector);
        const Content content = contents_[slot.block];
        for (std::size_t at = 0; at + sector <= options_.block; at += sector) {
            const std::uint8_t* const seen = slot.buffer.get() + at;
            const bool as_written = std::memcmp(seen, &expected[at], sector) == 0;
            const bool as_before = std::memcmp(seen, zeros.data(), sector) == 0;
            if (content == Content::zeros     ? as_before
                : content == Content::written ? as_written
                                              : as_written || as_before)
                continue;
            ++mismatches_;
            std::fprintf(stderr, "block %llu, byte %llu: not what was %s\n",
                         static_cast<unsigned long long>(slot.block),
                         static_cast<unsigned long long>(at),
                         content == Content::zeros ? "there from the beginning" : "written");
            return;
        }
    }

    /// Every block once more, as the last word. Goes on where a departed disk interrupted it.
    void read_all_back() {
        IoSlot& slot = slots_.front();
        slot.writes = false;
        for (; next_checked_ < contents_.size(); ++next_checked_) {
            slot.block = next_checked_;
            if (!slot.begin(*drive_)) return fail(slot, GetLastError());
            if (const DWORD error = slot.finish(*drive_); error != ERROR_SUCCESS)
                return fail(slot, error);
            last_success_ms_ = GetTickCount64();
            check(slot);
        }
    }

    const EndureOptions options_;
    std::optional<Drive> drive_;
    std::vector<Content> contents_;
    std::vector<bool> in_flight_;
    std::deque<IoSlot> slots_;
    std::mt19937_64 random_;
    bool failed_ = false;
    DWORD last_error_ = 0;
    std::uint64_t last_success_ms_ = 0;
    std::uint64_t next_checked_ = 0;
    unsigned long long successes_ = 0, reads_ = 0, writes_ = 0, errors_ = 0, found_ = 0,
                       mismatches_ = 0;
};

}  // namespace

int run_endure(const EndureOptions& options) {
    if (options.depth == 0 || options.block % sector != 0 || options.block == 0 ||
        options.region < options.block)
        throw std::runtime_error("depth, block and region must leave something to do");
    return Endurance(options).run();
}

}  // namespace wnbd::disktool
