// SPDX-License-Identifier: LGPL-2.1-or-later
// Any CDB and any data against a small disk, while the initiator's buffer changes between the
// steps.
//
// Input: eight bytes that choose the disk, the lengths and the change, then the CDB, then the data.
#include <algorithm>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>

#include "scsi/model_disk.h"

namespace {

using namespace wnbd::scsi;

constexpr std::size_t header_length = 8;
constexpr std::uint64_t small_block_count = 48;
constexpr std::size_t data_length_max = 64U << 10;

[[noreturn]] void fail(const char* what) {
    std::fprintf(stderr, "%s\n", what);
    std::abort();
}

void require(bool condition, const char* what) {
    if (!condition) fail(what);
}

Disk disk_of(std::span<const std::uint8_t> header) {
    Disk disk;
    disk.block_size = (header[1] & 1) != 0 ? 4096 : 512;
    disk.physical_block_exponent = header[1] >> 4;
    // From one block a step to the usual two mebibytes.
    disk.max_transfer_length = disk.block_size << ((header[1] >> 1) & 7);
    disk.max_unmap_descriptors_per_step = header[2] + 1U;
    disk.read_only = (header[0] & 0x01) != 0;
    disk.flush_supported = (header[0] & 0x02) != 0;
    disk.fua_supported = (header[0] & 0x04) != 0;
    disk.unmap_supported = (header[0] & 0x08) != 0;
    disk.unmap_reads_zeroes = (header[0] & 0x10) != 0;
    disk.persistent_reservations_supported = (header[0] & 0x20) != 0;
    disk.has_naa = (header[0] & 0x40) != 0;
    disk.extents_told = (header[0] & 0x80) != 0;
    std::ranges::fill(disk.naa, header[2]);
    std::ranges::fill(disk.serial, static_cast<char>(header[2]));
    return disk;
}

void check_sense(const Sense& sense) {
    std::uint8_t room[32];
    for (std::size_t length = 0; length <= sizeof(room); ++length) {
        require(encode_fixed_sense(sense, std::span(room).first(length)) <= length, "fixed sense");
        require(encode_descriptor_sense(sense, std::span(room).first(length)) <= length,
                "descriptor sense");
    }
}

/// On a disk too large for memory the steps are only counted and held against the range.
void walk_huge_disk(Disk disk, std::span<const std::uint8_t> cdb, std::span<std::uint8_t> data) {
    constexpr std::uint64_t block_count = ~std::uint64_t{0} - 0x1000;
    disk.max_transfer_length = 64U << 10;
    const Decision decision = decode(disk, block_count, Command{cdb, data, data.size()});
    const auto* const request = std::get_if<BlockRequest>(&decision);
    if (request == nullptr) return;
    std::size_t count = 0;
    for (std::optional<Step> step = first_step(disk, *request); step;
         step = next_step(disk, *request, *step)) {
        require(++count < 20'000, "a request without end");
        require(step->payload_length <= disk.max_transfer_length, "payload too large");
        require(
            step->verb == Verb::get_lba_status || step->reply_length <= disk.max_transfer_length,
            "reply too large");
        if (step->source == Source::unmap_descriptors) continue;
        require(step->lba <= block_count && step->blocks <= block_count - step->lba, "range");
        require(step->lba >= request->lba, "a step before its request");
    }
}

void run_small_disk(const Disk& disk, std::span<const std::uint8_t> header,
                    std::span<const std::uint8_t> cdb, std::span<std::uint8_t> data) {
    ModelDisk model(disk, small_block_count);
    for (std::size_t i = 0; i < model.content.size(); i += 509)
        model.content[i] = header[7];
    model.reservation_reply.assign(header[7], header[6]);
    model.before_step = [&](const Step& step) {
        if (data.empty() || header[6] == 0) return;
        data[(header[6] + 16U * step.first_descriptor) % data.size()] = header[7];
    };
    const std::vector<std::uint8_t> before = model.content;
    const Answer answer = model.run(cdb, data);
    check_sense(answer.sense);
    for (const auto& violation : model.violations)
        fail(violation.c_str());
    const bool changed = model.content != before;
    require(!changed || !disk.read_only, "a read-only disk has changed");
    require(!changed || !model.steps.empty(), "a change without a step");
    const bool compare_and_write = !cdb.empty() && cdb[0] == 0x89;
    const bool refused = answer.status == Status::check_condition;
    require(!changed || !refused || !compare_and_write, "COMPARE AND WRITE wrote after all");
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    if (size < header_length) return 0;
    const std::span<const std::uint8_t> input(bytes, size);
    const auto header = input.first(header_length);
    const auto rest = input.subspan(header_length);
    const auto cdb_bytes = rest.first(std::min<std::size_t>(rest.size(), header[3] % 20));
    const auto data_bytes = rest.subspan(cdb_bytes.size());
    const std::size_t data_length =
        std::min<std::size_t>((std::size_t{header[4]} << 8 | header[5]) * 4, data_length_max);

    // Heap blocks of just the right size: AddressSanitizer sees one byte too many.
    const std::unique_ptr<std::uint8_t[]> cdb(new std::uint8_t[cdb_bytes.size()]);
    std::ranges::copy(cdb_bytes, cdb.get());
    const std::unique_ptr<std::uint8_t[]> data(new std::uint8_t[data_length]{});
    std::ranges::copy(data_bytes.first(std::min(data_bytes.size(), data_length)), data.get());

    const Disk disk = disk_of(header);
    const std::span<const std::uint8_t> cdb_span(cdb.get(), cdb_bytes.size());
    const std::span<std::uint8_t> data_span(data.get(), data_length);
    walk_huge_disk(disk, cdb_span, data_span);
    run_small_disk(disk, header, cdb_span, data_span);
    return 0;
}
