// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/process_host/stamped_store.h"

#include <cstring>
#include <mutex>

namespace wnbd::test {
namespace {

std::uint64_t mix(std::uint64_t value) noexcept {
    value ^= value >> 30;
    value *= 0xBF58476D1CE4E5B9ULL;
    value ^= value >> 27;
    value *= 0x94D049BB133111EBULL;
    return value ^ (value >> 31);
}

}  // namespace

StampedStore::StampedStore(std::uint64_t blocks, std::uint32_t block_size, std::uint64_t seed)
    : blocks_(blocks),
      block_size_(block_size),
      seed_(mix(seed)),
      memory_(std::make_unique<std::uint8_t[]>(blocks * block_size)) {
    for (std::uint64_t block = 0; block < blocks; ++block)
        fill(block, 0, memory_.get() + block * block_size);
}

void StampedStore::fill(std::uint64_t block, std::uint32_t version,
                        std::uint8_t* target) const noexcept {
    const std::uint64_t head[2] = {block, version};
    std::memcpy(target, head, sizeof head);
    const std::uint64_t key = mix(seed_ ^ mix(block) ^ (std::uint64_t{version} << 32));
    for (std::uint32_t at = sizeof head; at < block_size_; at += 8) {
        const std::uint64_t word = key + at * 0x9E3779B97F4A7C15ULL;
        std::memcpy(target + at, &word, sizeof word);
    }
}

std::int64_t StampedStore::version_of(std::uint64_t block,
                                      const std::uint8_t* bytes) const noexcept {
    std::uint64_t head[2];
    std::memcpy(head, bytes, sizeof head);
    if (head[0] != block || head[1] > 0xFFFFFFFF) return -1;
    const auto version = static_cast<std::uint32_t>(head[1]);
    const std::uint64_t key = mix(seed_ ^ mix(block) ^ (std::uint64_t{version} << 32));
    std::uint64_t differences = 0;
    for (std::uint32_t at = sizeof head; at < block_size_; at += 8) {
        std::uint64_t word;
        std::memcpy(&word, bytes + at, sizeof word);
        differences |= word ^ (key + at * 0x9E3779B97F4A7C15ULL);
    }
    return differences == 0 ? static_cast<std::int64_t>(version) : -1;
}

void StampedStore::read(std::uint64_t block, std::uint64_t count, std::uint8_t* target) noexcept {
    for (std::uint64_t index = 0; index < count; ++index) {
        const std::lock_guard guard(locks_[(block + index) % stripes]);
        std::memcpy(target + index * block_size_, memory_.get() + (block + index) * block_size_,
                    block_size_);
    }
}

bool StampedStore::write(std::uint64_t block, std::uint64_t count,
                         const std::uint8_t* source) noexcept {
    bool intact = true;
    for (std::uint64_t index = 0; index < count; ++index) {
        const std::uint8_t* const from = source + index * block_size_;
        std::uint8_t* const to = memory_.get() + (block + index) * block_size_;
        const std::int64_t version = version_of(block + index, from);
        if (version < 0) {
            intact = false;
            continue;
        }
        const std::lock_guard guard(locks_[(block + index) % stripes]);
        std::uint64_t stored;
        std::memcpy(&stored, to + 8, sizeof stored);
        if (static_cast<std::uint64_t>(version) < stored) {
            stale_writes_.fetch_add(1, std::memory_order_relaxed);
        } else {
            std::memcpy(to, from, block_size_);
        }
    }
    return intact;
}

bool BlockLedger::claim(std::uint64_t block, std::uint64_t count) noexcept {
    for (std::uint64_t index = 0; index < count; ++index) {
        if (!blocks_[block + index].used.exchange(true, std::memory_order_acquire)) continue;
        release(block, index);
        return false;
    }
    return true;
}

void BlockLedger::release(std::uint64_t block, std::uint64_t count) noexcept {
    for (std::uint64_t index = 0; index < count; ++index) {
        blocks_[block + index].used.store(false, std::memory_order_release);
    }
}

}  // namespace wnbd::test
