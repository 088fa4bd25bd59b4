// SPDX-License-Identifier: LGPL-2.1-or-later
#include "store.h"

namespace wnbd::nbd::sim {

Store::Store(World& world) : world_(world), blocks_(kept_blocks) {
    for (auto& block : blocks_)
        block.versions.push_back({});
}

void Store::change(std::uint32_t index, std::uint64_t sequence, Holder holder, bool durable) {
    auto& block = blocks_[index];
    block.versions.push_back({.moment = world_.moment(), .sequence = sequence, .holder = holder});
    if (durable) block.durable = block.base + block.count() - 1;
}

std::uint64_t Store::value(std::uint32_t index) const noexcept {
    return blocks_[index].versions.back().sequence;
}

void Store::lose(std::uint32_t life,
                 const std::function<void(std::uint32_t, std::uint64_t)>& lost) {
    for (std::uint32_t index = 0; index < kept_blocks; ++index) {
        auto& block = blocks_[index];
        const auto last = block.base + block.count() - 1;
        // A cache writes things out when it likes.
        if (block.durable == last || block.versions.back().holder.life != life) continue;
        if (world_.random().coin()) {
            block.durable = last;
            continue;
        }
        lost(index, block.durable);
        const auto& durable = block.versions[block.durable - block.base];
        block.versions.push_back(
            {.moment = world_.moment(), .sequence = durable.sequence, .reverted = true});
        block.durable = block.base + block.count() - 1;
    }
}

bool Store::held(std::uint32_t index, std::uint64_t sequence, std::uint64_t since) const noexcept {
    const auto& versions = blocks_[index].versions;
    for (auto at = versions.size(); at-- > 0;) {
        if (versions[at].sequence == sequence) return true;
        if (versions[at].moment < since) return false;
    }
    return false;
}

std::optional<std::uint64_t> Store::written(std::uint32_t index, std::uint64_t sequence,
                                            std::uint64_t since) const noexcept {
    const auto& block = blocks_[index];
    for (auto at = block.count(); at-- > 0;) {
        const auto& version = block.versions[at];
        if (version.moment < since) break;
        if (version.sequence == sequence && !version.reverted) return block.base + at;
    }
    return std::nullopt;
}

bool Store::overtaken(std::uint32_t index, std::uint64_t sequence) const noexcept {
    const auto& versions = blocks_[index].versions;
    bool others = false;
    for (auto at = versions.size(); at-- > 0;) {
        if (versions[at].reverted) continue;
        if (versions[at].sequence == sequence) return others;
        others = true;
    }
    return false;
}

void Store::forget_before(std::uint64_t moment) {
    for (auto& block : blocks_) {
        std::uint64_t keep_from = block.durable - block.base;
        for (std::uint64_t at = 0; at < keep_from; ++at)
            if (block.versions[at + 1].moment >= moment) keep_from = at;
        block.versions.erase(block.versions.begin(),
                             block.versions.begin() + static_cast<std::ptrdiff_t>(keep_from));
        block.base += keep_from;
    }
}

}  // namespace wnbd::nbd::sim
