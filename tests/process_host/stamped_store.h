// SPDX-License-Identifier: LGPL-2.1-or-later
// A disk's memory whose every block says which write made it. Each block's content is computed from
// its number and a version; versions of a block only grow, so that a write that was given up and
// arrives late is told from a newer one.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <vector>

#include "lab/kernel/os.h"

namespace wnbd::test {

class StampedStore {
  public:
    StampedStore(std::uint64_t blocks, std::uint32_t block_size, std::uint64_t seed);

    [[nodiscard]] std::uint64_t blocks() const noexcept { return blocks_; }
    [[nodiscard]] std::uint32_t block_size() const noexcept { return block_size_; }

    /// Writes the content of version `version` of the block to `target` (block_size bytes).
    void fill(std::uint64_t block, std::uint32_t version, std::uint8_t* target) const noexcept;
    /// The version whose content `bytes` are, or -1 if they are no version's.
    [[nodiscard]] std::int64_t version_of(std::uint64_t block,
                                          const std::uint8_t* bytes) const noexcept;

    // What a server does. Block-wise atomic; a stale version does not replace a newer one.
    void read(std::uint64_t block, std::uint64_t count, std::uint8_t* target) noexcept;
    /// False if some block's bytes are no version at all: the payload was damaged on its way.
    bool write(std::uint64_t block, std::uint64_t count, const std::uint8_t* source) noexcept;

    [[nodiscard]] std::uint64_t stale_writes() const noexcept { return stale_writes_.load(); }

  private:
    static constexpr std::size_t stripes = 64;

    const std::uint64_t blocks_;
    const std::uint32_t block_size_;
    const std::uint64_t seed_;
    std::unique_ptr<std::uint8_t[]> memory_;
    lab::os::Mutex locks_[stripes];  ///< block modulo stripes
    std::atomic<std::uint64_t> stale_writes_{0};
};

/// What the initiator knows of each block: who uses it, and which versions a read may show.
class BlockLedger {
  public:
    explicit BlockLedger(std::uint64_t blocks) : blocks_(blocks) {}

    /// Takes the range for one request; false if some of it is in use.
    bool claim(std::uint64_t block, std::uint64_t count) noexcept;
    void release(std::uint64_t block, std::uint64_t count) noexcept;

    // By the owner of a claim.
    /// The version for the next write of the block.
    std::uint32_t next_version(std::uint64_t block) noexcept { return ++blocks_[block].newest; }
    /// A write of version `version` succeeded: no older one may show any more.
    void settle(std::uint64_t block, std::uint32_t version) noexcept {
        blocks_[block].settled = version;
    }
    /// True if a read may show the version: the last that succeeded, or one given up after it.
    [[nodiscard]] bool may_show(std::uint64_t block, std::int64_t version) const noexcept {
        return version >= blocks_[block].settled && version <= blocks_[block].newest;
    }

  private:
    struct Block {
        std::atomic<bool> used{false};
        std::uint32_t newest = 0;
        std::uint32_t settled = 0;
    };
    std::vector<Block> blocks_;
};

}  // namespace wnbd::test
