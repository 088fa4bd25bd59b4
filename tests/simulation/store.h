// SPDX-License-Identifier: LGPL-2.1-or-later
// What the servers keep, with the whole truth of what each block held when, and of what would
// survive the loss of a cache.
#pragma once

#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "blocks.h"
#include "world.h"

namespace wnbd::nbd::sim {

/// Whose cache a change is in.
struct Holder {
    std::uint32_t life = 0;     // of a server
    std::uint32_t session = 0;  // of that life; each number once in a simulation
};

/// One value of a block.
struct Version {
    std::uint64_t moment = 0;    // it was there from then on
    std::uint64_t sequence = 0;  // of the writer; 0: zeroes
    Holder holder{};
    bool reverted = false;  // not written: what a lost cache left
};

/// Versions of a block are numbered from 0 on; old ones are forgotten.
class Store {
  public:
    explicit Store(World& world);

    /// Changes one kept block. `durable`: at once.
    void change(std::uint32_t index, std::uint64_t sequence, Holder holder, bool durable);
    [[nodiscard]] std::uint64_t value(std::uint32_t index) const noexcept;

    /// Makes durable what `covered(holder)` allows.
    template <typename Covered>
    void persist(Covered&& covered) {
        for (auto& block : blocks_) {
            const auto durable = block.durable - block.base;
            for (auto at = block.count() - 1; at > durable; --at) {
                if (!covered(block.versions[at].holder)) continue;
                block.durable = block.base + at;
                break;
            }
        }
    }
    /// A server's cache is lost, or half of it: blocks go back to what is durable. `lost` hears of
    /// each such block, and which version it had that is durable.
    void lose(std::uint32_t life,
              const std::function<void(std::uint32_t index, std::uint64_t durable)>& lost);

    /// Was this the block's value at any moment since?
    [[nodiscard]] bool held(std::uint32_t index, std::uint64_t sequence,
                            std::uint64_t since) const noexcept;
    /// The number of the version that this writer made at or after the moment, the last if several;
    /// nothing: it did not.
    [[nodiscard]] std::optional<std::uint64_t> written(std::uint32_t index, std::uint64_t sequence,
                                                       std::uint64_t since) const noexcept;
    /// Something else was written here after this writer had been here before.
    [[nodiscard]] bool overtaken(std::uint32_t index, std::uint64_t sequence) const noexcept;
    [[nodiscard]] std::uint64_t durable(std::uint32_t index) const noexcept {
        return blocks_[index].durable;
    }
    /// Nobody will ask about earlier moments any more.
    void forget_before(std::uint64_t moment);

  private:
    struct Block {
        std::uint64_t base = 0;     // number of versions[0]
        std::uint64_t durable = 0;  // number of the version that is
        std::vector<Version> versions;
        [[nodiscard]] std::uint64_t count() const noexcept { return versions.size(); }
    };

    World& world_;
    std::vector<Block> blocks_;
};

}  // namespace wnbd::nbd::sim
