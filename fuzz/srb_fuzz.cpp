// SPDX-License-Identifier: LGPL-2.1-or-later
// SRBs of any content, as large as they say: what the driver reads of one stays inside it. The
// input is an SRB, and behind it what its data buffer holds.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <vector>

#include "driver/srb_functions.h"
#include "driver/srb_view.h"
#include "engine/adapter.h"

namespace {

using namespace wnbd;

class NoPort final : public engine::Port {
  public:
    void complete(void*, engine::Cause, const scsi::Answer&) noexcept override {}
    std::span<std::uint8_t> data(void*) noexcept override { return {}; }
    void reset_done(void*) noexcept override {}
    void disks_changed() noexcept override {}
    void schedule_removal(std::uint64_t) noexcept override {}
};

/// An adapter with a disk at target 0.
struct World {
    World() {
        adapter.initialize(port);
        WNBD_PROPERTIES properties{};
        std::strcpy(properties.InstanceName, "disk");
        properties.BlockSize = 512;
        properties.BlockCount = 2048;
        if (!adapter.create(properties, nullptr, 1).ok()) std::abort();
    }

    NoPort port;
    engine::Adapter adapter;
};

engine::UnitReference disk() {
    static World* const world = new World;  // never ended: exit ends the platform's threads first
    return world->adapter.unit_at(0);
}

/// The input's SRB, with its pointers and its length made true: those are Storport's.
std::vector<std::uint64_t> make_srb(std::span<const std::uint8_t> input,
                                    std::vector<std::uint8_t>& buffer,
                                    std::vector<std::uint8_t>& sense) {
    const std::size_t size =
        std::max(input.size() & ~std::size_t{7}, sizeof(STORAGE_REQUEST_BLOCK));
    std::vector<std::uint64_t> memory(size / 8);
    std::memcpy(memory.data(), input.data(), std::min(input.size(), size));
    auto* const classic = reinterpret_cast<SCSI_REQUEST_BLOCK*>(memory.data());
    auto* const extended = reinterpret_cast<STORAGE_REQUEST_BLOCK*>(memory.data());
    if (classic->Function == SRB_FUNCTION_STORAGE_REQUEST_BLOCK) {
        extended->SrbLength = static_cast<ULONG>(size);
        extended->DataBuffer = buffer.data();
        extended->DataTransferLength = static_cast<ULONG>(buffer.size());
    } else {
        classic->DataBuffer = buffer.data();
        classic->DataTransferLength = static_cast<ULONG>(buffer.size());
        classic->SenseInfoBuffer = sense.data();
        classic->SenseInfoBufferLength = static_cast<UCHAR>(sense.size());
    }
    return memory;
}

unsigned sum(std::span<const std::uint8_t> bytes) {
    unsigned total = 0;
    for (const std::uint8_t byte : bytes)
        total += byte;
    return total;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 1) return 0;
    const std::size_t srb_size = std::min<std::size_t>(size - 1, std::size_t{data[0]} * 4);
    std::vector<std::uint8_t> buffer(data + 1 + srb_size, data + size);
    std::vector<std::uint8_t> sense(18);
    std::vector<std::uint64_t> memory = make_srb({data + 1, srb_size}, buffer, sense);
    driver::SrbView view(memory.data());

    // An extended SRB's sense pointer is the input's: only its bounds are looked at.
    const volatile std::size_t seen = sum(view.cdb()) + view.address().target +
                                      (driver::is_read_or_write(view.cdb()) ? 1 : 0) +
                                      view.sense_buffer().size();
    (void)seen;

    (void)driver::answer_io_control(disk(), view);
    (void)driver::answer_pnp(disk(), view);
    scsi::Answer answer;
    answer.transferred = size;
    driver::apply_answer(view, answer);
    return 0;
}
