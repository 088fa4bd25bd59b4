// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/process_host/stress_issuer.h"

#include "base/big_endian.h"
#include "driver/ddk/srb.h"
#include "lab/kernel/os.h"
#include "tests/process_host/check.h"

namespace wnbd::test {
namespace {

constexpr std::uint8_t status_success = 0x01;

bool means_absent(std::uint8_t srb_status) {
    switch (srb_status) {
        case 0x08:  // NO_DEVICE
        case 0x0A:  // SELECTION_TIMEOUT
        case 0x11:  // NO_HBA
        case 0x20:  // INVALID_LUN
        case 0x21:  // INVALID_TARGET_ID
            return true;
        default: return false;
    }
}

/// Statuses a request may get when the disk is reset or removed under it, or resources are short.
bool means_given_up(std::uint8_t srb_status) {
    switch (srb_status) {
        case 0x02:  // ABORTED
        case 0x04:  // ERROR, with sense data
        case 0x05:  // BUSY
        case 0x09:  // TIMEOUT
        case 0x0E:  // BUS_RESET
        case 0x16:  // REQUEST_FLUSHED
        case 0x30:  // INTERNAL_ERROR
            return true;
        default: return false;
    }
}

}  // namespace

StressIssuer::StressIssuer(StressState& state, unsigned depth, std::uint64_t seed)
    : state_(state), random_(seed) {
    for (unsigned index = 0; index < depth; ++index) {
        auto slot = std::make_unique<Slot>();
        slot->owner = this;
        slot->data.resize(std::size_t{blocks_max} * state.store.block_size());
        slots_.push_back(std::move(slot));
    }
}

StressIssuer::~StressIssuer() {
    while (!ended())
        lab::os::sleep_ms(1);
}

bool StressIssuer::start() {
    if (lab::os::start_thread(thread_main, this)) return true;
    ended_.store(true);
    return false;
}

void StressIssuer::thread_main(void* context) {
    auto& issuer = *static_cast<StressIssuer*>(context);
    issuer.run();
    issuer.ended_.store(true);
}

void StressIssuer::on_complete(lab::Request& request) {
    auto& slot = *static_cast<Slot*>(request.context);
    StressIssuer& issuer = *slot.owner;
    issuer.state_.completed.fetch_add(1, std::memory_order_relaxed);
    if (!slot.out.exchange(false)) {
        claim(false, "a request was completed twice");
        return;
    }
    Slot* head = issuer.done_.load(std::memory_order_relaxed);
    do {
        slot.next = head;
    } while (!issuer.done_.compare_exchange_weak(head, &slot, std::memory_order_release));
    issuer.done_count_.fetch_add(1);
    lab::os::wake_one(&issuer.done_count_);
}

void StressIssuer::prepare(Slot& slot) {
    const std::uint32_t block_size = state_.store.block_size();
    slot.writes = random_() % 2 == 0;
    do {
        slot.count =
            static_cast<std::uint32_t>(1 + random_() % (random_() % 8 == 0 ? blocks_max : 1));
        slot.block = random_() % (state_.store.blocks() - slot.count + 1);
    } while (!state_.ledger.claim(slot.block, slot.count));
    for (std::uint32_t index = 0; slot.writes && index < slot.count; ++index) {
        slot.versions[index] = state_.ledger.next_version(slot.block + index);
        state_.store.fill(slot.block + index, slot.versions[index],
                          slot.data.data() + std::size_t{index} * block_size);
    }
    lab::Request& request = slot.request;
    request = lab::Request{};
    request.address = state_.address();
    request.data = slot.data.data();
    request.data_length = slot.count * block_size;
    request.direction = slot.writes ? lab::Direction::Out : lab::Direction::In;
    request.form = lab::SrbForm::Alternate;
    request.complete = on_complete;
    request.context = &slot;
    // Half of them with 10-byte, half with 16-byte commands; a few writes force unit access.
    const bool ten = random_() % 2 == 0;
    request.cdb_length = ten ? 10 : 16;
    request.cdb[0] = static_cast<std::uint8_t>((ten ? 0x28 : 0x88) + (slot.writes ? 2 : 0));
    if (slot.writes && random_() % 16 == 0) request.cdb[1] = 0x08;
    if (ten) {
        store_big_endian<std::uint32_t>(request.cdb + 2, static_cast<std::uint32_t>(slot.block));
        store_big_endian<std::uint16_t>(request.cdb + 7, static_cast<std::uint16_t>(slot.count));
    } else {
        store_big_endian<std::uint64_t>(request.cdb + 2, slot.block);
        store_big_endian<std::uint32_t>(request.cdb + 10, slot.count);
    }
}

bool StressIssuer::issue(Slot& slot) {
    if (state_.stop.load(std::memory_order_relaxed)) return false;
    if (state_.succeeded.load(std::memory_order_relaxed) >=
        state_.wanted.load(std::memory_order_relaxed))
        return false;
    prepare(slot);
    slot.out.store(true);
    state_.submitted.fetch_add(1, std::memory_order_relaxed);
    lab::submit(state_.lab.adapter(), slot.request);
    return true;
}

void StressIssuer::check_read(Slot& slot) {
    const std::uint32_t block_size = state_.store.block_size();
    if (slot.request.transferred != slot.request.data_length) {
        state_.unexpected.fetch_add(1);
        claim(false, "a read of %u bytes succeeded with %u", slot.request.data_length,
              slot.request.transferred);
        return;
    }
    for (std::uint32_t index = 0; index < slot.count; ++index) {
        const std::uint64_t block = slot.block + index;
        const std::int64_t version =
            state_.store.version_of(block, slot.data.data() + std::size_t{index} * block_size);
        if (state_.ledger.may_show(block, version)) continue;
        state_.wrong.fetch_add(1);
        claim(false, "block %llu shows version %lld", static_cast<unsigned long long>(block),
              static_cast<long long>(version));
    }
}

void StressIssuer::settle(Slot& slot) {
    const std::uint8_t status = slot.request.srb_status;
    if (status == status_success) {
        if (slot.writes) {
            for (std::uint32_t index = 0; index < slot.count; ++index) {
                state_.ledger.settle(slot.block + index, slot.versions[index]);
            }
        } else {
            check_read(slot);
        }
        state_.succeeded.fetch_add(1, std::memory_order_relaxed);
    } else if (means_absent(status)) {
        state_.absent.fetch_add(1, std::memory_order_relaxed);
        // The scan that brings the next disk is to have the processor meanwhile.
        lab::os::sleep_ms(4);
    } else if (means_given_up(status)) {
        state_.given_up.fetch_add(1, std::memory_order_relaxed);
    } else {
        state_.unexpected.fetch_add(1);
        claim(false, "SRB status %02x, SCSI status %02x for opcode %02x", status,
              slot.request.scsi_status, slot.request.cdb[0]);
    }
    state_.ledger.release(slot.block, slot.count);
}

void StressIssuer::run() {
    std::size_t out = 0;
    for (const auto& slot : slots_)
        out += issue(*slot) ? 1 : 0;
    while (out != 0) {
        const std::uint32_t seen = done_count_.load();
        Slot* slot = done_.exchange(nullptr, std::memory_order_acquire);
        if (slot == nullptr) {
            lab::os::wait_on(&done_count_, seen, 10'000'000);
            continue;
        }
        while (slot != nullptr) {
            Slot* const next = slot->next;
            settle(*slot);
            if (!issue(*slot)) --out;
            slot = next;
        }
    }
}

}  // namespace wnbd::test
