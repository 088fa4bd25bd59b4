// SPDX-License-Identifier: LGPL-2.1-or-later
// Requests on their way down (queue depths, SRB building) and back (checks, BUSY, completion).
#include <algorithm>
#include <chrono>
#include <cstring>

#include "lab/storport/adapter.h"
#include "lab/storport/host.h"
#include "lab/storport/srb_build.h"

namespace wnbd::lab {
namespace {

/// Where READ/WRITE payload is not mapped for the miniport: an address that faults when touched.
void* const kUnmapped = reinterpret_cast<void*>(0x0000'DEAD'0000'0000ULL);

/// With inline completion: what a miniport completed while HwStartIo was on this thread's stack.
struct Deferred {
    std::vector<Request*> requests;
    std::vector<Unit*> units;
};
thread_local Deferred* deferred = nullptr;

}  // namespace

std::uint64_t now_ms() {
    return static_cast<std::uint64_t>(std::chrono::duration_cast<std::chrono::milliseconds>(
                                          std::chrono::steady_clock::now().time_since_epoch())
                                          .count());
}

Unit& Adapter::unit_locked(Address address) {
    std::unique_ptr<Unit>& unit = units_[address.key()];
    if (!unit) {
        unit = std::make_unique<Unit>();
        unit->address = address;
        unit->depth = std::min(config_.InitialLunQueueDepth, config_.MaxIOsPerLun);
        if (options_.unit_depth != 0) unit->depth = options_.unit_depth;
        if (unit->depth == 0) unit->depth = 1;
        for (const Hold& held : holds_)
            if (matches(address, held.address, held.filter)) ++unit->resets;
    }
    return *unit;
}

bool Adapter::may_issue_locked(const Unit& unit, std::uint64_t now) const {
    return unit.outstanding < unit.depth && outstanding_ < config_.MaxNumberOfIO &&
           unit.resets == 0 && unit.paused_until_ms <= now && !stopping_;
}

void Adapter::submit(Request& request) {
    request.srb_status = SRB_STATUS_PENDING;
    request.scsi_status = SCSISTAT_GOOD;
    request.sense_length = 0;
    request.transferred = 0;
    Unit* unit = nullptr;
    {
        const std::lock_guard lock(mutex_);
        if (!stopping_) {
            unit = &unit_locked(request.address);
            if (!unit->waiting.empty() || !may_issue_locked(*unit, now_ms())) ++counters_.held_back;
            unit->waiting.push_back(&request);
        }
    }
    if (unit != nullptr) return pump(*unit);
    request.srb_status = SRB_STATUS_NO_HBA;
    finish(request);
}

void Adapter::pump(Unit& unit) {
    for (;;) {
        Slot* slot = nullptr;
        {
            const std::lock_guard lock(mutex_);
            if (unit.waiting.empty() || !may_issue_locked(unit, now_ms())) return;
            slot = claim_slot_locked(*unit.waiting.front(), &unit, true);
            if (slot == nullptr) return;
            unit.waiting.pop_front();
        }
        if (!attach_payload(*slot)) {
            Request& request = *slot->request;
            request.srb_status = SRB_STATUS_INTERNAL_ERROR;
            slot->state.store(SlotState::Idle);
            release_slot(*slot);
            finish(request);
            continue;
        }
        issue(*slot);
    }
}

void Adapter::pump_all() {
    std::vector<Unit*> ready;
    {
        const std::lock_guard lock(mutex_);
        for (auto& [key, unit] : units_)
            if (!unit->waiting.empty()) ready.push_back(unit.get());
    }
    for (Unit* unit : ready)
        pump(*unit);
}

Slot* Adapter::claim_slot_locked(Request& request, Unit* unit, bool counted) {
    Slot* slot = slots_.take();
    if (slot == nullptr) return nullptr;
    slot->request = &request;
    slot->unit = unit;
    slot->sequence = ++sequence_;
    slot->counted = counted;
    slot->recovering = false;
    slot->extended = choose_extended(request);
    const std::uint64_t timeout =
        options_.timeout_ms != 0 ? options_.timeout_ms : request.timeout_seconds * 1000ULL;
    slot->deadline_ms = counted && timeout != 0 ? now_ms() + timeout : UINT64_MAX;
    if (counted) {
        ++unit->outstanding;
        ++outstanding_;
        counters_.outstanding_max = std::max(counters_.outstanding_max, outstanding_);
        counters_.unit_outstanding_max =
            std::max(counters_.unit_outstanding_max, unit->outstanding);
    }
    ++counters_.issued;
    return slot;
}

bool Adapter::choose_extended(const Request& request) {
    const bool takes_extended = (hw_.SrbTypeFlags & SRB_TYPE_FLAG_STORAGE_REQUEST_BLOCK) != 0;
    const bool takes_classic =
        hw_.SrbTypeFlags == 0 || (hw_.SrbTypeFlags & SRB_TYPE_FLAG_SCSI_REQUEST_BLOCK) != 0;
    const bool negotiated = config_.SrbType == SRB_TYPE_STORAGE_REQUEST_BLOCK;
    if (request.cdb_length > 16) return true;
    switch (request.form) {
        case SrbForm::Adapter: return negotiated;
        case SrbForm::Classic: return !takes_classic;
        case SrbForm::Extended: return takes_extended;
        case SrbForm::Alternate:
            return takes_extended && takes_classic ? (sequence_ & 1) != 0 : negotiated;
    }
    return negotiated;
}

bool Adapter::attach_payload(Slot& slot) {
    Request& request = *slot.request;
    slot.payload_length = request.data_length;
    slot.payload = static_cast<std::uint8_t*>(request.data);
    slot.shadow = nullptr;
    if (!options_.shadow_data || request.data_length == 0) return true;
    slot.shadow = shadows_.acquire(request.data_length);
    if (slot.shadow == nullptr) return false;
    if (request.direction == Direction::Out || request.direction == Direction::Unspecified)
        std::memcpy(slot.shadow, request.data, request.data_length);
    slot.payload = slot.shadow;
    return true;
}

void Adapter::issue(Slot& slot) {
    Request& request = *slot.request;
    slots_.prepare(slot);
    SrbParts parts;
    parts.sense = slots_.sense(slot);
    parts.sense_length = sizeof request.sense;
    parts.extension = hw_.SrbExtensionSize != 0 ? slots_.extension(slot) : nullptr;
    parts.tag = slot.index;
    parts.flags = request.flags | SRB_FLAGS_QUEUE_ACTION_ENABLE | SRB_FLAGS_NO_QUEUE_FREEZE;
    const bool either = request.direction == Direction::Unspecified;
    if (request.direction == Direction::In || either) parts.flags |= SRB_FLAGS_DATA_IN;
    if (request.direction == Direction::Out || either) parts.flags |= SRB_FLAGS_DATA_OUT;
    const bool mapped = config_.MapBuffers == STOR_MAP_ALL_BUFFERS_INCLUDING_READ_WRITE ||
                        (config_.MapBuffers != STOR_MAP_NO_BUFFERS && !is_read_or_write(request)) ||
                        request.function == SRB_FUNCTION_IO_CONTROL;
    if (request.data_length != 0) parts.data_buffer = mapped ? slot.payload : kUnmapped;
    if (request.function == SRB_FUNCTION_ABORT_COMMAND) parts.next = request.abort_srb;
    build_srb(slots_.srb(slot), slot.extended, request, parts);

    // From this store on the slot may come back on any thread: only locals are used below.
    void* const srb = slots_.srb(slot);
    const std::uint64_t sequence = slot.sequence;
    slot.state.store(SlotState::Issued);
    Deferred mine;
    if (options_.inline_completion && deferred == nullptr) deferred = &mine;
    BOOLEAN accepted = FALSE;
    {
        const AtDispatch raised;
        accepted = hw_.HwStartIo(extension_, static_cast<PSCSI_REQUEST_BLOCK>(srb));
    }
    if (accepted == FALSE)
        report_violation("HwStartIo refused", "SRB %p (issue %llu): it must be taken and completed",
                         srb, static_cast<unsigned long long>(sequence));
    if (deferred != &mine) return;
    for (std::size_t i = 0; i < mine.requests.size(); ++i)
        mine.requests[i]->complete(*mine.requests[i]);
    deferred = nullptr;
    for (Unit* unit : mine.units)
        unit != nullptr ? pump(*unit) : pump_all();
}

void Adapter::complete_srb(void* srb) {
    Slot* const slot = slots_.find(srb);
    if (slot == nullptr)
        return report_violation("completing an SRB never issued", "%p is no SRB of this adapter",
                                srb);
    SlotState expected = SlotState::Issued;
    if (!slot->state.compare_exchange_strong(expected, SlotState::Done)) {
        if (expected == SlotState::GivenUp) return;
        if (!slot->used)
            return report_violation("completing an SRB never issued", "%p was never handed out",
                                    srb);
        return report_violation("SRB completed twice", "%p", srb);
    }
    Request& request = *slot->request;
    take_results(*slot);
    if (retry_busy(*slot, request)) return;
    release_slot(*slot);
    finish(request);
}

void Adapter::take_results(Slot& slot) {
    Request& request = *slot.request;
    const SrbAnswer answer = read_answer(slots_.srb(slot), slot.extended);
    check_answer(slot, answer);
    request.srb_status = answer.raw_status & SRB_STATUS_MASK;
    request.scsi_status = answer.scsi_status;
    request.transferred = std::min(answer.transferred, slot.payload_length);
    const bool says_why = request.srb_status == SRB_STATUS_INTERNAL_ERROR;
    request.system_status = says_why ? answer.system_status : 0;
    request.sense_length = 0;
    if ((answer.raw_status & SRB_STATUS_AUTOSENSE_VALID) != 0) {
        request.sense_length = std::min<std::uint8_t>(answer.sense_length, sizeof request.sense);
        std::memcpy(request.sense, slots_.sense(slot), request.sense_length);
    }
    if (slot.shadow != nullptr) {
        if (request.direction == Direction::In || request.direction == Direction::Unspecified)
            std::memcpy(request.data, slot.shadow, request.transferred);
        else if (request.direction == Direction::Out &&
                 std::memcmp(request.data, slot.shadow, slot.payload_length) != 0)
            report_violation("write payload changed",
                             "CDB %02x, %u bytes: the miniport wrote into it", request.cdb[0],
                             slot.payload_length);
        shadows_.release(slot.shadow, slot.payload_length);
        slot.shadow = nullptr;
    }
    slots_.poison(slot);
}

void Adapter::check_answer(const Slot& slot, const SrbAnswer& answer) {
    const Request& request = *slot.request;
    const unsigned opcode = request.function == SRB_FUNCTION_EXECUTE_SCSI ? request.cdb[0] : 0;
    const std::uint8_t status = answer.raw_status & SRB_STATUS_MASK;
    if (status == SRB_STATUS_PENDING)
        report_violation("SRB completed as PENDING", "function %02x, CDB %02x", request.function,
                         opcode);
    if (answer.transferred > slot.payload_length)
        report_violation("transfer length grown", "CDB %02x: %u bytes of a buffer of %u", opcode,
                         answer.transferred, slot.payload_length);
    if (request.function != SRB_FUNCTION_EXECUTE_SCSI) return;
    // Storport sends the same SRB again.
    if (status == SRB_STATUS_BUSY && answer.transferred != slot.payload_length)
        report_violation("transfer length of BUSY", "CDB %02x: %u bytes instead of %u", opcode,
                         answer.transferred, slot.payload_length);
    if (answer.scsi_status == SCSISTAT_CHECK_CONDITION && status != SRB_STATUS_ERROR)
        report_violation("CHECK CONDITION without ERROR", "CDB %02x: SRB status %02x", opcode,
                         answer.raw_status);
    if (answer.scsi_status == SCSISTAT_CHECK_CONDITION) check_sense(slot, answer);
}

/// SenseInfoBufferLength is the room that was given; whoever fills less says how much.
void Adapter::check_sense(const Slot& slot, const SrbAnswer& answer) {
    constexpr unsigned head = 8;  // of sense data of either format, the last byte counts the rest
    const unsigned opcode = slot.request->cdb[0];
    if ((answer.raw_status & SRB_STATUS_AUTOSENSE_VALID) == 0)
        return report_violation("CHECK CONDITION without sense", "CDB %02x", opcode);
    const std::uint8_t* const sense = slots_.sense(slot);
    if (answer.sense_length > head && answer.sense_length > head + sense[head - 1])
        report_violation("sense length not told", "CDB %02x: %u bytes of a buffer of %u", opcode,
                         head + sense[head - 1], answer.sense_length);
}

bool Adapter::retry_busy(Slot& slot, Request& request) {
    if (!slot.counted || request.function != SRB_FUNCTION_EXECUTE_SCSI) return false;
    if (request.srb_status != SRB_STATUS_BUSY && request.scsi_status != SCSISTAT_QUEUE_FULL &&
        request.scsi_status != SCSISTAT_BUSY)
        return false;
    Unit& unit = *slot.unit;
    {
        const std::lock_guard lock(mutex_);
        if (stopping_) return false;
        ++counters_.busy;
        ++request.busy_retries;
        unit.paused_until_ms = now_ms() + options_.busy_pause_ms;
        unit.waiting.push_front(&request);
    }
    release_slot(slot);
    return true;  // the watch thread goes on with the unit when the pause is over
}

void Adapter::release_slot(Slot& slot) {
    Unit* const unit = slot.unit;
    bool starved = false;
    bool more = false;
    {
        const std::lock_guard lock(mutex_);
        slot.request = nullptr;
        slot.unit = nullptr;
        if (slot.counted) {
            --unit->outstanding;
            starved = outstanding_-- >= config_.MaxNumberOfIO;
        }
        more = unit != nullptr && !unit->waiting.empty();
        ++counters_.completed;
        slot.state.store(SlotState::Idle);
        slots_.give_back(slot);
        drained_.notify_all();
    }
    if (starved)
        kick(nullptr);
    else if (more)
        kick(unit);
}

// The miniport may call RequestComplete with its own locks held: HwStartIo is not called from here.
void Adapter::kick(Unit* unit) {
    if (options_.inline_completion) {
        if (deferred != nullptr)
            deferred->units.push_back(unit);
        else
            unit != nullptr ? pump(*unit) : pump_all();
        return;
    }
    const std::lock_guard lock(completion_mutex_);
    kicks_.push_back(unit);
    completion_ready_.notify_one();
}

void Adapter::finish(Request& request) {
    if (options_.inline_completion) {
        if (deferred != nullptr)
            deferred->requests.push_back(&request);
        else
            request.complete(request);
        return;
    }
    {
        const std::lock_guard lock(completion_mutex_);
        if (!completion_end_) {
            completions_.push_back(&request);
            completion_ready_.notify_one();
            return;
        }
    }
    request.complete(request);  // the adapter is stopped: nobody else would
}

void Adapter::completion_loop() {
    std::vector<Request*> batch;
    std::vector<Unit*> kicks;
    for (;;) {
        {
            std::unique_lock lock(completion_mutex_);
            completion_ready_.wait(
                lock, [&] { return completion_end_ || !completions_.empty() || !kicks_.empty(); });
            if (completions_.empty() && kicks_.empty()) return;
            batch.swap(completions_);
            kicks.swap(kicks_);
        }
        for (Unit* unit : kicks)
            unit != nullptr ? pump(*unit) : pump_all();
        {
            const AtDispatch raised;
            for (Request* request : batch)
                request->complete(*request);
        }
        batch.clear();
        kicks.clear();
    }
}

void Adapter::execute(Request& request) {
    struct Waiter {
        std::mutex mutex;
        std::condition_variable done;
        bool finished = false;
    };
    // Held by both sides: the waiting thread may be gone before the other has left the mutex.
    auto waiter = std::make_shared<Waiter>();
    void* const context = request.context;
    void (*const complete)(Request&) = request.complete;
    request.context = &waiter;
    request.complete = [](Request& r) {
        const std::shared_ptr<Waiter> own = *static_cast<std::shared_ptr<Waiter>*>(r.context);
        const std::lock_guard lock(own->mutex);
        own->finished = true;
        own->done.notify_all();
    };
    submit(request);
    std::unique_lock lock(waiter->mutex);
    waiter->done.wait(lock, [&] { return waiter->finished; });
    request.context = context;
    request.complete = complete;
}

}  // namespace wnbd::lab
