// SPDX-License-Identifier: LGPL-2.1-or-later
// The order of a request's steps. It is a list of at most three verbs, none of them twice, each of
// which covers the whole range in as many steps as its limit asks for: so the step that was done
// says by itself which one is next, and no state is kept anywhere.
#include <algorithm>

#include "scsi/limits.h"
#include "scsi/step.h"

namespace wnbd::scsi {
namespace {

class Plan {
  public:
    void add(Verb verb) noexcept { verbs_[count_++] = verb; }
    [[nodiscard]] Verb first() const noexcept { return verbs_[0]; }

    [[nodiscard]] std::optional<Verb> after(Verb verb) const noexcept {
        for (unsigned i = 0; i + 1 < count_; ++i) {
            if (verbs_[i] == verb) return verbs_[i + 1];
        }
        return std::nullopt;
    }

  private:
    Verb verbs_[3]{};
    unsigned count_ = 0;
};

/// FUA that the storage cannot give is made of a flush (SBC-3, caches). On a read-only disk nothing
/// waits in a cache.
bool flush_stands_for_fua(const Disk& disk) noexcept {
    return disk.flush_supported && !disk.fua_supported && !disk.read_only;
}

/// VERIFY and WRITE AND VERIFY are about the medium, not about a volatile cache before it.
bool wants_medium(const BlockRequest& request) noexcept {
    return request.force_unit_access || request.action == Action::verify ||
           request.action == Action::write_and_verify;
}

/// SBC-3, WRITE SAME and unmap operations: a block may be unmapped only when it reads back
/// afterwards as what was to be written.
bool write_same_unmaps(const Disk& disk, const BlockRequest& request) noexcept {
    return request.unmap && request.zeroes && disk.unmap_supported && disk.unmap_reads_zeroes;
}

Plan plan_of(const Disk& disk, const BlockRequest& request) noexcept {
    const bool flush = wants_medium(request) && flush_stands_for_fua(disk);
    Plan plan;
    switch (request.action) {
        case Action::read:
        case Action::verify:
            // What a cache still holds goes to the medium first, then the medium is read.
            if (flush) plan.add(Verb::flush);
            plan.add(Verb::read);
            break;
        case Action::write:
            plan.add(Verb::write);
            if (flush) plan.add(Verb::flush);
            break;
        case Action::write_and_verify:
            plan.add(Verb::write);
            if (flush) plan.add(Verb::flush);
            plan.add(Verb::read);
            break;
        case Action::compare_and_write:
        case Action::or_write:
            plan.add(Verb::read);
            plan.add(Verb::write);
            if (flush) plan.add(Verb::flush);
            break;
        case Action::write_same:
            plan.add(write_same_unmaps(disk, request) ? Verb::unmap : Verb::write);
            break;
        case Action::flush: plan.add(Verb::flush); break;
        case Action::unmap: plan.add(Verb::unmap); break;
        case Action::get_lba_status: plan.add(Verb::get_lba_status); break;
        case Action::persistent_reserve_in: plan.add(Verb::persistent_reserve_in); break;
        case Action::persistent_reserve_out: plan.add(Verb::persistent_reserve_out); break;
    }
    return plan;
}

Step read_step(const Disk& disk, const BlockRequest& request, std::uint64_t position) noexcept {
    Step step;
    step.verb = Verb::read;
    step.lba = request.lba + position;
    step.blocks = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(request.blocks - position, step_blocks_max(disk)));
    step.reply_length = std::size_t{step.blocks} * disk.block_size;
    step.force_unit_access = wants_medium(request) && disk.fua_supported;
    if (request.action == Action::read) {
        step.sink = Sink::data;
    } else if (request.action == Action::or_write) {
        step.sink = Sink::combine;
    } else if (request.byte_check_repeats) {
        step.sink = Sink::compare_repeated_block;
    } else if (request.byte_check || request.action == Action::compare_and_write) {
        step.sink = Sink::compare;
    } else {
        step.sink = Sink::discard;
    }
    if (step.sink == Sink::data || step.sink == Sink::compare || step.sink == Sink::combine) {
        step.data_offset = static_cast<std::size_t>(position * disk.block_size);
    }
    return step;
}

Step write_step(const Disk& disk, const BlockRequest& request, std::uint64_t position) noexcept {
    Step step;
    step.verb = Verb::write;
    step.lba = request.lba + position;
    step.blocks = static_cast<std::uint32_t>(
        std::min<std::uint64_t>(request.blocks - position, step_blocks_max(disk)));
    step.payload_length = std::size_t{step.blocks} * disk.block_size;
    step.force_unit_access = wants_medium(request) && disk.fua_supported;
    if (request.action == Action::write_same) {
        step.source = request.zeroes ? Source::zeroes : Source::repeated_block;
        return step;
    }
    // COMPARE AND WRITE: the second half of the buffer is what is written.
    const std::uint64_t skipped = request.action == Action::compare_and_write ? request.blocks : 0;
    step.source = Source::data;
    step.data_offset = static_cast<std::size_t>((skipped + position) * disk.block_size);
    return step;
}

Step flush_step(const BlockRequest& request) noexcept {
    Step step;
    step.verb = Verb::flush;
    step.lba = request.lba;
    step.blocks = static_cast<std::uint32_t>(request.blocks);  // a CDB's field, so it fits
    return step;
}

Step lba_status_step(const BlockRequest& request) noexcept {
    Step step;
    step.verb = Verb::get_lba_status;
    step.lba = request.lba;
    step.block_count = request.block_count;
    step.reply_length = request.data_length;
    return step;
}

/// Position counts blocks. A descriptor has 32 bits for them, and WRITE SAME is limited to fewer.
Step unmap_range_step(const BlockRequest& request, std::uint64_t position) noexcept {
    Step step;
    step.verb = Verb::unmap;
    step.source = Source::unmap_range;
    step.lba = request.lba + position;
    step.blocks =
        static_cast<std::uint32_t>(std::min<std::uint64_t>(request.blocks - position, UINT32_MAX));
    step.block_count = request.block_count;
    step.descriptor_count = 1;
    step.payload_length = sizeof(UnmapDescriptor);
    return step;
}

bool in_use(const BlockRequest& request, std::uint32_t descriptor) noexcept {
    return (request.descriptors_in_use[descriptor / 64] >> (descriptor % 64) & 1) != 0;
}

/// The next run of descriptors that have blocks, from `from` on.
std::optional<Step> unmap_list_step(const Disk& disk, const BlockRequest& request,
                                    std::uint32_t from) noexcept {
    const std::uint32_t count = std::min(request.descriptor_count, max_unmap_descriptors);
    const auto fitting =
        static_cast<std::uint32_t>(disk.max_transfer_length / sizeof(UnmapDescriptor));
    const std::uint32_t limit =
        std::max(std::min(disk.max_unmap_descriptors_per_step, fitting), 1U);
    while (from < count && !in_use(request, from))
        ++from;
    if (from >= count) return std::nullopt;
    std::uint32_t end = from + 1;
    while (end < count && end - from < limit && in_use(request, end))
        ++end;
    Step step;
    step.verb = Verb::unmap;
    step.source = Source::unmap_descriptors;
    step.block_count = request.block_count;
    step.first_descriptor = from;
    step.descriptor_count = end - from;
    step.payload_length = step.descriptor_count * sizeof(UnmapDescriptor);
    return step;
}

Step persistent_reserve_step(Verb verb, const BlockRequest& request) noexcept {
    Step step;
    step.verb = verb;
    if (verb == Verb::persistent_reserve_in) {
        step.sink = Sink::data;
        step.reply_length = request.data_length;
    } else {
        step.source = Source::data;
        step.payload_length = request.data_length;
    }
    return step;
}

Step start_of(const Disk& disk, const BlockRequest& request, Verb verb) noexcept {
    switch (verb) {
        case Verb::read: return read_step(disk, request, 0);
        case Verb::write: return write_step(disk, request, 0);
        case Verb::flush: return flush_step(request);
        case Verb::get_lba_status: return lba_status_step(request);
        case Verb::unmap:
            if (request.action == Action::write_same) return unmap_range_step(request, 0);
            // decode() lets no list pass that has nothing to unmap.
            return unmap_list_step(disk, request, 0).value_or(Step{.verb = Verb::unmap});
        default: return persistent_reserve_step(verb, request);
    }
}

/// The step that carries on with the verb of `done`, if its range has not been covered.
std::optional<Step> rest_of(const Disk& disk, const BlockRequest& request,
                            const Step& done) noexcept {
    if (done.source == Source::unmap_descriptors) {
        return unmap_list_step(disk, request, done.first_descriptor + done.descriptor_count);
    }
    const std::uint64_t position = done.lba - request.lba + done.blocks;
    if (position >= request.blocks) return std::nullopt;
    switch (done.verb) {
        case Verb::read: return read_step(disk, request, position);
        case Verb::write: return write_step(disk, request, position);
        case Verb::unmap: return unmap_range_step(request, position);
        default: return std::nullopt;
    }
}

}  // namespace

Step first_step(const Disk& disk, const BlockRequest& request) noexcept {
    return start_of(disk, request, plan_of(disk, request).first());
}

std::optional<Step> next_step(const Disk& disk, const BlockRequest& request,
                              const Step& done) noexcept {
    if (auto step = rest_of(disk, request, done)) return step;
    const auto verb = plan_of(disk, request).after(done.verb);
    if (!verb) return std::nullopt;
    return start_of(disk, request, *verb);
}

bool runs_alone(const BlockRequest& request) noexcept {
    return request.action == Action::compare_and_write || request.action == Action::or_write;
}

std::size_t transferred(const BlockRequest& request, const Answer& last) noexcept {
    // How many runs there are is known only when they have been looked at.
    return request.action == Action::get_lba_status ? last.transferred : request.data_length;
}

}  // namespace wnbd::scsi
