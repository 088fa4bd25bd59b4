// SPDX-License-Identifier: LGPL-2.1-or-later
#include "judge.h"

#include <algorithm>

namespace wnbd::nbd::sim {
namespace {

bool overlap(const Blocks& left, const Blocks& right) {
    return left.first < right.end() && right.first < left.end();
}

bool covers(const Blocks& outer, const Blocks& inner) {
    return outer.first <= inner.first && inner.end() <= outer.end();
}

std::string text(const Blocks& range) {
    return "LBA " + std::to_string(range.first) + "+" + std::to_string(range.count);
}

const char* name_of(CommandType type) {
    switch (type) {
        case CommandType::read: return "read";
        case CommandType::write: return "write";
        case CommandType::flush: return "flush";
        case CommandType::trim: return "trim";
        case CommandType::cache: return "cache";
        case CommandType::write_zeroes: return "write zeroes";
        case CommandType::block_status: return "block status";
        case CommandType::disconnect: return "disconnect";
    }
    return "?";
}

constexpr std::uint64_t forget_every = 256;  // ended requests

}  // namespace

Judge::Judge(World& world, Store& store)
    : world_(world), store_(store), acknowledged_(kept_blocks), zeroed_(kept_blocks) {}

std::string Judge::name(const Intent& intent) const {
    return std::string(name_of(intent.type)) + " of " + text(intent.range) + ", number " +
           std::to_string(intent.sequence) + ", begun at moment " + std::to_string(intent.begun) +
           ", judged at " + std::to_string(world_.moment()) + ": ";
}

void Judge::begins(const Intent& intent) {
    auto& entry = intents_.emplace(next_number_++, intent).first->second;
    entry.begun = world_.moment();
    if (entry.type == CommandType::flush) entry.promised = acknowledged_;
}

void Judge::ends(std::uint64_t number, const Outcome& outcome, const std::uint8_t* data,
                 const ExtentList* extents) {
    const auto found = intents_.find(number);
    if (found == intents_.end())
        return complain("request " + std::to_string(number) + " ends more than once");
    const auto intent = std::move(found->second);
    intents_.erase(found);
    if (outcome.disconnected) {
        disconnected_ = true;
    } else if (outcome.error != 0) {
        judge_error(intent, outcome.error);
    } else if (intent.type == CommandType::read) {
        judge_read(intent, data);
    } else if (intent.type == CommandType::block_status) {
        judge_extents(intent, *extents);
    } else if (intent.type == CommandType::flush) {
        judge_flush(intent);
    } else if (changes(intent.type)) {
        judge_change(intent);
    }
    if (++ended_ % forget_every == 0) forget();
}

void Judge::judge_read(const Intent& intent, const std::uint8_t* data) {
    for_kept(intent.range, [&](std::uint64_t lba, std::uint32_t index) {
        const auto writer = writer_of(data + (lba - intent.range.first) * block_size, lba);
        if (!writer)
            complain(name(intent) + "LBA " + std::to_string(lba) + " is no block of anybody");
        else if (!store_.held(index, *writer, intent.begun))
            complain(name(intent) + "LBA " + std::to_string(lba) + " is of writer " +
                     std::to_string(*writer) + ", which it was not at that time");
    });
}

void Judge::judge_change(const Intent& intent) {
    const bool forced = write_through_ || (intent.flags & command_flag_fua) != 0;
    const bool is_write = intent.type == CommandType::write;
    for_kept(intent.range, [&](std::uint64_t lba, std::uint32_t index) {
        const auto version = store_.written(index, is_write ? intent.sequence : 0, intent.begun);
        // Zeroes have no writer's name: a lost cache may have taken their version away unseen.
        if (!version) {
            if (is_write || zeroed_[index] < intent.begun)
                complain(name(intent) + "was acknowledged, and LBA " + std::to_string(lba) +
                         " was not written");
            return;
        }
        if (forced && store_.durable(index) < *version)
            complain(name(intent) + "was to be durable, and LBA " + std::to_string(lba) +
                     " is not");
        acknowledged_[index] = std::max(acknowledged_[index], *version);
    });
}

void Judge::judge_flush(const Intent& intent) {
    if (flushed_ < intent.begun)
        return complain(name(intent) + "was acknowledged, and no server has made one");
    for (std::uint32_t index = 0; index < kept_blocks; ++index)
        if (store_.durable(index) < intent.promised[index])
            return complain(name(intent) + "was acknowledged, and version " +
                            std::to_string(intent.promised[index]) + " of kept block " +
                            std::to_string(index) + " is not durable; only version " +
                            std::to_string(store_.durable(index)) + " is");
}

void Judge::judge_extents(const Intent& intent, const ExtentList& extents) {
    std::uint64_t at = intent.range.first * block_size;
    for (std::uint32_t i = 0; i < extents.count; ++i) {
        const auto& extent = extents.first[i];
        if (extent.length == 0) return complain(name(intent) + "an extent of nothing");
        const Blocks range{at / block_size, extent.length / block_size};
        at += extent.length;
        if ((extent.flags & allocation_zero) == 0) continue;
        for_kept(range, [&](std::uint64_t lba, std::uint32_t index) {
            if (covers(intent.range, {lba, 1}) && !store_.held(index, 0, intent.begun))
                complain(name(intent) + "LBA " + std::to_string(lba) +
                         " is said to be zeroes, and was not");
        });
    }
    if (extents.count == 0) complain(name(intent) + "no extent");
}

void Judge::judge_error(const Intent& intent, std::uint32_t error) {
    if (closed_ && error == error_shutdown) return;
    if (intent.range.end() * block_size > smallest_ &&
        error == (changes(intent.type) ? error_no_space : error_invalid))
        return;
    const bool said = std::any_of(errors_.begin(), errors_.end(), [&](const Said& what) {
        if (what.moment < intent.begun || what.error != error) return false;
        if (what.type == CommandType::flush)
            return intent.type == CommandType::flush || (write_through_ && changes(intent.type));
        return what.type == intent.type && covers(intent.range, what.range);
    });
    if (!said)
        complain(name(intent) + "ends with error " + std::to_string(error) +
                 ", which no server said");
}

void Judge::received(std::uint32_t session, const Job& job) {
    for (const auto& other : in_flight_)
        if (overlap(other.range, job.range()))
            return complain("a change of " + text(job.range()) + " is sent while one of " +
                            text(other.range) + " is in flight");
    in_flight_.push_back({session, job.cookie, job.range()});
}

void Judge::answered(std::uint32_t session, const Job& job) {
    std::erase_if(in_flight_, [&](const InFlight& it) {
        return it.session == session && it.cookie == job.cookie;
    });
}

void Judge::dropped(std::uint32_t session) {
    std::erase_if(in_flight_, [&](const InFlight& it) { return it.session == session; });
}

void Judge::executes(const Job& job) {
    const bool wanted = std::any_of(intents_.begin(), intents_.end(), [&](const auto& entry) {
        const Intent& intent = entry.second;
        return intent.type == job.type && covers(intent.range, job.range()) &&
               (job.type != CommandType::write ||
                (!job.sequences.empty() && intent.sequence == job.sequences.front()));
    });
    if (!wanted)
        complain(std::string("a ") + name_of(job.type) + " of " + text(job.range()) +
                 " is made that nobody waits for any more");
    for_kept(job.range(), [&](std::uint64_t lba, std::uint32_t index) {
        if (job.type != CommandType::write)
            zeroed_[index] = world_.moment();
        else if (store_.overtaken(index, job.sequences[lba - job.range().first]))
            complain("writer " + std::to_string(job.sequences.front()) + " comes again to LBA " +
                     std::to_string(lba) + ", over one that came after it");
    });
}

void Judge::says_error(const Job& job, std::uint32_t error) {
    errors_.push_back({world_.moment(), job.type, job.range(), error});
}

/// What lies before everything that is unfinished.
void Judge::forget() {
    auto oldest = world_.moment();
    for (const auto& [number, intent] : intents_)
        oldest = std::min(oldest, intent.begun);
    store_.forget_before(oldest);
    std::erase_if(errors_, [&](const Said& said) { return said.moment < oldest; });
}

}  // namespace wnbd::nbd::sim
