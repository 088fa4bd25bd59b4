// SPDX-License-Identifier: LGPL-2.1-or-later
// For tests and fuzzers: a disk in memory that runs every command the way the driver does, step by
// step, and watches that no step breaks what step.h promises. A volatile cache can lose its
// content, which tells a kept FUA from a dropped one.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <variant>
#include <vector>

#include "scsi/lba_status.h"
#include "scsi/limits.h"
#include "scsi/reservations.h"
#include "scsi/step.h"

namespace wnbd::scsi {

class ModelDisk {
  public:
    ModelDisk(const Disk& description, std::uint64_t block_count)
        : disk(description),
          blocks(block_count),
          content(static_cast<std::size_t>(block_count) * description.block_size),
          medium(content.size()) {}

    /// Runs a command from its CDB to its status.
    Answer run(std::span<const std::uint8_t> cdb, std::span<std::uint8_t> data) {
        steps.clear();
        const Decision decision = decode(disk, blocks, Command{cdb, data, data.size()});
        if (const auto* const answer = std::get_if<Answer>(&decision))
            return checked(*answer, data);
        if (const auto* const about = std::get_if<ReservationCommand>(&decision))
            return checked(run_reservation(*about), data);
        const BlockRequest& request = *std::get_if<BlockRequest>(&decision);
        if (request.data_length > data.size()) violate("more data than the initiator's buffer");
        std::optional<Step> step = first_step(disk, request);
        Answer last;
        while (step) {
            if (steps.size() > step_count_max) {
                violate("a request without end");
                break;
            }
            if (before_step) before_step(*step);
            last = run_step(*step, data);
            if (last.status != Status::good) return checked(last, data);
            step = next_step(disk, request, steps.back());
        }
        return checked(Answer{Status::good, {}, transferred(request, last)}, data);
    }

    /// What a volatile cache held is gone.
    void lose_power() { content = medium; }

    Disk disk;
    std::uint64_t blocks;
    std::vector<std::uint8_t> content;  // what reads see
    std::vector<std::uint8_t> medium;   // what outlives a loss of power
    std::vector<Step> steps;            // of the last command
    std::vector<std::string> violations;
    std::function<void(const Step&)> before_step;
    std::vector<std::uint8_t> reservation_reply;
    std::vector<std::uint8_t> reservation_parameters;
    std::uint8_t unmapped_pattern = 0;  // what an unmapped block reads as
    Reservations reservations;

  private:
    static constexpr std::size_t step_count_max = 100'000;

    struct Names final : NexusNames {};

    Answer run_reservation(const ReservationCommand& command) {
        if (command.kind == ReservationCommand::Kind::persistent_in)
            return reservations.report(command, Names());
        Consequences consequences;
        return reservations.change(0, command, consequences);
    }

    void violate(const char* what) { violations.emplace_back(what); }

    Answer checked(const Answer& answer, std::span<const std::uint8_t> data) {
        if (answer.transferred > data.size()) violate("transferred more than the buffer holds");
        const bool refused = answer.status == Status::check_condition;
        if (refused && answer.sense.key == SenseKey::no_sense) violate("a refusal without sense");
        if (refused && answer.transferred != 0) violate("a refusal that transferred");
        return answer;
    }

    Answer run_step(const Step& step, std::span<std::uint8_t> data) {
        steps.push_back(step);
        if (step.verb == Verb::get_lba_status) return tell_status(step, data);
        const std::size_t length_max = std::max(disk.max_transfer_length, disk.block_size);
        if (step.payload_length > length_max) violate("payload above max_transfer_length");
        if (step.reply_length > length_max) violate("reply above max_transfer_length");
        const bool has_range = step.verb != Verb::unmap || step.source == Source::unmap_range;
        if (has_range && (step.lba > blocks || step.blocks > blocks - step.lba)) {
            violate("a step out of range");
            return refuse(SenseKey::hardware_error, AdditionalSense::internal_target_failure);
        }
        // Exactly as large as promised, so that AddressSanitizer sees every byte beyond.
        const std::unique_ptr<std::uint8_t[]> payload(new std::uint8_t[step.payload_length]);
        const std::span<std::uint8_t> out(payload.get(), step.payload_length);
        std::ranges::fill(out, std::uint8_t{0xEE});
        fill_payload(disk, step, data, out);
        const std::vector<std::uint8_t> reply = serve(step, out);
        return absorb_reply(disk, step, reply, data);
    }

    std::vector<std::uint8_t> serve(const Step& step, std::span<const std::uint8_t> payload) {
        switch (step.verb) {
            case Verb::read: return read(step);
            case Verb::write: write(step, payload); break;
            case Verb::flush:
                if (!disk.flush_supported) violate("a flush that the disk does not support");
                if (disk.read_only) violate("a flush of a read-only disk");
                medium = content;
                break;
            case Verb::unmap: unmap(step, payload); break;
            case Verb::get_lba_status: break;
            case Verb::persistent_reserve_in: return reservation_reply;
            case Verb::persistent_reserve_out:
                reservation_parameters.assign(payload.begin(), payload.end());
                break;
        }
        return {};
    }

    /// A block of zeroes is deallocated.
    Answer tell_status(const Step& step, std::span<std::uint8_t> data) {
        if (!disk.extents_told || !disk.unmap_supported) violate("a status nobody can tell");
        if (step.lba >= step.block_count || step.block_count > blocks) {
            violate("a status of no block of the disk's");
            return refuse(SenseKey::hardware_error, AdditionalSense::internal_target_failure);
        }
        LbaStatus status(data.first(step.reply_length), step.lba, step.block_count);
        while (!status.complete()) {
            const auto block = std::span(content).subspan(
                static_cast<std::size_t>(status.next() * disk.block_size), disk.block_size);
            const bool mapped = std::ranges::any_of(block, [](auto byte) { return byte != 0; });
            status.add(status.next() + 1, mapped);
        }
        Answer answer;
        answer.transferred = status.finish();
        return answer;
    }

    std::vector<std::uint8_t> read(const Step& step) {
        if (step.reply_length != std::size_t{step.blocks} * disk.block_size) {
            violate("reply length and blocks disagree");
        }
        if (step.force_unit_access && !disk.fua_supported) violate("FUA without support");
        const auto from = content.begin() + static_cast<std::ptrdiff_t>(step.lba * disk.block_size);
        return {from, from + static_cast<std::ptrdiff_t>(step.reply_length)};
    }

    void write(const Step& step, std::span<const std::uint8_t> payload) {
        if (disk.read_only) violate("a write to a read-only disk");
        if (step.force_unit_access && !disk.fua_supported) violate("FUA without support");
        if (payload.size() != std::size_t{step.blocks} * disk.block_size) {
            violate("payload length and blocks disagree");
            return;
        }
        store(step.lba, payload, step.force_unit_access);
    }

    void unmap(const Step& step, std::span<const std::uint8_t> payload) {
        if (disk.read_only || !disk.unmap_supported) violate("an unmap that is not allowed");
        if (step.source == Source::unmap_descriptors &&
            step.descriptor_count > disk.max_unmap_descriptors_per_step) {
            violate("more descriptors than user space takes");
        }
        if (payload.size() != step.descriptor_count * sizeof(UnmapDescriptor)) {
            violate("payload length and descriptors disagree");
            return;
        }
        for (std::size_t at = 0; at < payload.size(); at += sizeof(UnmapDescriptor)) {
            UnmapDescriptor descriptor{};
            std::memcpy(&descriptor, payload.data() + at, sizeof(descriptor));
            if (descriptor.lba > blocks || descriptor.blocks > blocks - descriptor.lba) {
                violate("an unmap out of range");
                continue;
            }
            const std::vector<std::uint8_t> gone(std::size_t{descriptor.blocks} * disk.block_size,
                                                 unmapped_pattern);
            store(descriptor.lba, gone, false);
        }
    }

    void store(std::uint64_t lba, std::span<const std::uint8_t> bytes, bool durable) {
        const auto offset = static_cast<std::ptrdiff_t>(lba * disk.block_size);
        std::ranges::copy(bytes, content.begin() + offset);
        if (durable || !disk.flush_supported) std::ranges::copy(bytes, medium.begin() + offset);
    }
};

}  // namespace wnbd::scsi
