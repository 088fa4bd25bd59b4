// SPDX-License-Identifier: LGPL-2.1-or-later
// The serving process of the engine's tests: carries steps out on a disk image in memory.
#pragma once

#include <algorithm>
#include <atomic>
#include <cstring>
#include <vector>

#include "engine/disk.h"
#include "engine/model/initiator.h"

namespace wnbd::engine::model {

/// What a fetch gave to the serving process.
struct Fetched {
    Tag tag = 0;
    scsi::Step step{};
    std::vector<std::uint8_t> payload;
};

/// Any thread. Steps that overlap are the caller's to avoid, as on a disk.
class MemoryServer {
  public:
    explicit MemoryServer(std::uint64_t blocks) : image_(blocks * block_size) {}

    /// Copies a taken request out and publishes it.
    [[nodiscard]] static Fetched fetch(Disk& disk, Request& request) {
        Fetched fetched;
        fetched.tag = request.tag();
        fetched.step = request.step;
        fetched.payload.resize(request.step.payload_length);
        scsi::fill_payload(disk.description(), request.step, disk.data(request), fetched.payload);
        disk.publish(request);
        return fetched;
    }

    /// Replies, carrying the step out while the reply is under way: so a step whose request was
    /// ended before leaves no trace. False for such a late reply.
    bool answer(Disk& disk, const Fetched& fetched) {
        Request* const request = disk.begin_reply(fetched.tag);
        if (request == nullptr) return false;
        disk.finish_reply(*request, {}, carry_out(fetched));
        return true;
    }

    [[nodiscard]] std::uint8_t* block(std::uint64_t lba) { return &image_[lba * block_size]; }
    [[nodiscard]] unsigned flushes() const { return flushes_.load(); }

  private:
    std::vector<std::uint8_t> carry_out(const Fetched& fetched) {
        const scsi::Step& step = fetched.step;
        const std::size_t length = std::size_t{step.blocks} * block_size;
        switch (step.verb) {
            case scsi::Verb::read: return {block(step.lba), block(step.lba) + length};
            case scsi::Verb::write:
                require(fetched.payload.size() == length, "a write's payload is its blocks");
                std::memcpy(block(step.lba), fetched.payload.data(), length);
                break;
            case scsi::Verb::flush: flushes_.fetch_add(1); break;
            case scsi::Verb::unmap: unmap(fetched.payload); break;
            case scsi::Verb::get_lba_status: break;
            case scsi::Verb::persistent_reserve_in: return {0, 0, 0, 1, 0, 0, 0, 0};
            case scsi::Verb::persistent_reserve_out: break;
        }
        return {};
    }

    void unmap(const std::vector<std::uint8_t>& payload) {
        for (std::size_t at = 0; at < payload.size(); at += sizeof(scsi::UnmapDescriptor)) {
            scsi::UnmapDescriptor range{};
            std::memcpy(&range, &payload[at], sizeof(range));
            std::fill_n(block(range.lba), std::size_t{range.blocks} * block_size, 0);
        }
    }

    std::vector<std::uint8_t> image_;
    std::atomic<unsigned> flushes_{0};
};

}  // namespace wnbd::engine::model
