// SPDX-License-Identifier: LGPL-2.1-or-later
// Time-outs and resets. On expiry the port escalates: ABORT_COMMAND (where the miniport says that
// it takes it), RESET_LOGICAL_UNIT, RESET_DEVICE, HwResetBus; after each step that the miniport
// answered, what was out before must come back within the grace time.
#include <algorithm>
#include <chrono>
#include <cstdlib>

#include "lab/storport/adapter.h"
#include "lab/storport/host.h"

namespace wnbd::lab {
namespace {

constexpr std::uint32_t kSlotReserve =
    256;  // idle SRBs kept back as long as possible, and controls
constexpr std::uint32_t kSlotsMax = 65536;
constexpr std::uint64_t kVerifyPeriodMs = 1000;

std::uint32_t slot_count(const PORT_CONFIGURATION_INFORMATION& config) {
    return std::min<std::uint32_t>(config.MaxNumberOfIO * 2 + kSlotReserve, kSlotsMax);
}

}  // namespace

Adapter::Adapter(const HW_INITIALIZATION_DATA& hw, const PORT_CONFIGURATION_INFORMATION& config,
                 void* extension, std::uint8_t port_number, std::uint8_t bus_type)
    : hw_(hw),
      config_(config),
      extension_(extension),
      port_number_(port_number),
      bus_type_(bus_type),
      options_(port_options()),
      slots_(slot_count(config), config.SrbExtensionSize) {
    if (!options_.inline_completion) {
        completion_threads_.emplace_back([this] { completion_loop(); });
        completion_threads_.emplace_back([this] { completion_loop(); });
    }
    watch_thread_ = std::thread([this] { watch_loop(); });
    recovery_thread_ = std::thread([this] { recovery_loop(); });
}

Adapter::~Adapter() {
    stop();
}

void Adapter::end_threads() {
    {
        const std::lock_guard lock(mutex_);
        watch_end_ = true;
        watch_wake_.notify_all();
        recovery_ready_.notify_all();
    }
    watch_thread_.join();
    recovery_thread_.join();
    {
        const std::lock_guard lock(completion_mutex_);
        completion_end_ = true;
        completion_ready_.notify_all();
    }
    for (std::thread& thread : completion_threads_)
        thread.join();
}

bool Adapter::matches(const Address& a, const Address& b, Filter filter) {
    if (a.path != b.path) return false;
    if (filter != Filter::Path && a.target != b.target) return false;
    return filter != Filter::Unit || a.lun == b.lun;
}

bool Adapter::is_out_locked(const Slot& slot, Address address, Filter filter,
                            std::uint64_t sequence) {
    return slot.unit != nullptr && slot.counted && slot.sequence <= sequence &&
           slot.state.load() != SlotState::GivenUp && matches(slot.unit->address, address, filter);
}

std::uint32_t Adapter::count_older_locked(Address address, Filter filter, std::uint64_t sequence) {
    std::uint32_t count = 0;
    for (std::uint32_t i = 0; i < slots_.size(); ++i)
        count += is_out_locked(slots_[i], address, filter, sequence) ? 1 : 0;
    return count;
}

bool Adapter::wait_older_gone(Address address, Filter filter, std::uint64_t sequence) {
    std::unique_lock lock(mutex_);
    return drained_.wait_for(lock, std::chrono::milliseconds(options_.grace_ms),
                             [&] { return count_older_locked(address, filter, sequence) == 0; });
}

void Adapter::hold(Address address, Filter filter) {
    const std::lock_guard lock(mutex_);
    holds_.push_back({address, filter});
    for (auto& [key, unit] : units_)
        if (matches(unit->address, address, filter)) ++unit->resets;
}

void Adapter::let_go(Address address, Filter filter) {
    {
        const std::lock_guard lock(mutex_);
        holds_.erase(std::find(holds_.begin(), holds_.end(), Hold{address, filter}));
        for (auto& [key, unit] : units_)
            if (matches(unit->address, address, filter)) --unit->resets;
    }
    pump_all();
}

std::uint8_t Adapter::send_control(std::uint8_t function, Address address, void* abort_srb) {
    struct Control : Request {
        std::mutex mutex;
        std::condition_variable done;
        bool finished = false;
    };
    // Owned by both sides: a miniport that answers after the grace time still finds the request.
    auto shared = std::make_shared<Control>();
    auto* const keeper = new std::shared_ptr<Control>(shared);
    shared->function = function;
    shared->address = address;
    shared->abort_srb = abort_srb;
    shared->context = keeper;
    shared->complete = [](Request& request) {
        auto* own = static_cast<std::shared_ptr<Control>*>(request.context);
        {
            const std::lock_guard lock((*own)->mutex);
            (*own)->finished = true;
            (*own)->done.notify_all();
        }
        delete own;
    };
    Slot* slot = nullptr;
    {
        const std::lock_guard lock(mutex_);
        slot = claim_slot_locked(*shared, &unit_locked(address), false);
    }
    if (slot == nullptr) {
        delete keeper;
        return SRB_STATUS_BUSY;
    }
    if (attach_payload(*slot)) issue(*slot);
    std::unique_lock lock(shared->mutex);
    if (!shared->done.wait_for(lock, std::chrono::milliseconds(options_.grace_ms),
                               [&] { return shared->finished; })) {
        report_violation("control SRB unanswered", "function %02x for %u:%u:%u", function,
                         address.path, address.target, address.lun);
        return SRB_STATUS_TIMEOUT;
    }
    return shared->srb_status;
}

std::uint8_t Adapter::reset(std::uint8_t function, Address address) {
    const Filter filter = function == SRB_FUNCTION_RESET_LOGICAL_UNIT ? Filter::Unit
                          : function == SRB_FUNCTION_RESET_DEVICE     ? Filter::Target
                                                                      : Filter::Path;
    std::uint64_t sequence = 0;
    {
        const std::lock_guard lock(mutex_);
        if (stopping_) return SRB_STATUS_NO_HBA;
        unit_locked(address);  // so that a reset of an idle unit holds back what comes meanwhile
        sequence = sequence_;
        ++counters_.resets;
    }
    hold(address, filter);
    std::uint8_t status = SRB_STATUS_SUCCESS;
    if (function != SRB_FUNCTION_RESET_BUS) {
        status = send_control(function, address, nullptr);
    } else if (hw_.HwResetBus != nullptr) {
        const AtDispatch raised;
        if (hw_.HwResetBus(extension_, address.path) == FALSE) status = SRB_STATUS_ERROR;
    }
    if (status == SRB_STATUS_SUCCESS && !wait_older_gone(address, filter, sequence))
        report_violation("SRB left after reset",
                         "function %02x for %u:%u:%u: still out after %u ms", function,
                         address.path, address.target, address.lun, options_.grace_ms);
    let_go(address, filter);
    return status;
}

std::optional<std::uint8_t> Adapter::abort_one(Address address, std::uint64_t choice) {
    Slot* victim = nullptr;
    std::uint64_t sequence = 0;
    {
        const std::lock_guard lock(mutex_);
        if (stopping_) return std::nullopt;
        std::vector<Slot*> out;
        for (std::uint32_t i = 0; i < slots_.size(); ++i) {
            Slot& slot = slots_[i];
            if (slot.unit != nullptr && slot.counted && slot.unit->address == address &&
                slot.state.load() == SlotState::Issued)
                out.push_back(&slot);
        }
        if (out.empty()) return std::nullopt;
        victim = out[choice % out.size()];
        sequence = victim->sequence;
        ++counters_.aborts;
    }
    // It may complete, and its SRB be that of another request, before the miniport looks: then that
    // one is aborted, or none.
    const std::uint8_t status =
        send_control(SRB_FUNCTION_ABORT_COMMAND, address, slots_.srb(*victim));
    if (status != SRB_STATUS_SUCCESS) return status;
    std::unique_lock lock(mutex_);
    const auto is_back = [&] { return victim->request == nullptr || victim->sequence != sequence; };
    if (!drained_.wait_for(lock, std::chrono::milliseconds(options_.grace_ms), is_back))
        report_violation("SRB left after abort", "%u:%u:%u: still out after %u ms", address.path,
                         address.target, address.lun, options_.grace_ms);
    return status;
}

std::uint64_t Adapter::last_sequence() {
    const std::lock_guard lock(mutex_);
    return sequence_;
}

void Adapter::expect_drained(Address address, std::uint64_t last, const char* after) {
    last = std::min(last, last_sequence());
    if (wait_older_gone(address, Filter::Unit, last)) return;
    const std::lock_guard lock(mutex_);
    for (std::uint32_t i = 0; i < slots_.size(); ++i) {
        const Slot& slot = slots_[i];
        if (!is_out_locked(slot, address, Filter::Unit, last)) continue;
        report_violation("SRB left after removal",
                         "%u:%u:%u: function %02x, CDB %02x still out (state %u) %u ms after %s",
                         address.path, address.target, address.lun, slot.request->function,
                         slot.request->cdb[0], static_cast<unsigned>(slot.state.load()),
                         options_.grace_ms, after);
    }
}

void Adapter::watch_loop() {
    const std::uint64_t timeout = options_.timeout_ms != 0 ? options_.timeout_ms : 1000;
    const auto tick = std::chrono::milliseconds(std::clamp<std::uint64_t>(timeout / 4, 5, 100));
    std::uint64_t next_verify = now_ms() + kVerifyPeriodMs;
    for (;;) {
        bool resume = false;
        {
            std::unique_lock lock(mutex_);
            if (watch_wake_.wait_for(lock, tick, [&] { return watch_end_; })) return;
            const std::uint64_t now = now_ms();
            for (std::uint32_t i = 0; i < slots_.size(); ++i) {
                Slot& slot = slots_[i];
                if (slot.request == nullptr || slot.recovering || slot.deadline_ms > now ||
                    slot.state.load() != SlotState::Issued)
                    continue;
                slot.recovering = true;
                ++counters_.timed_out;
                if (slot.unit->in_recovery) continue;
                slot.unit->in_recovery = true;
                recovery_queue_.push_back(slot.unit->address);
                recovery_ready_.notify_one();
            }
            for (auto& [key, unit] : units_)
                if (!unit->waiting.empty() && may_issue_locked(*unit, now)) resume = true;
            if (now >= next_verify) {
                slots_.verify_all();
                next_verify = now + kVerifyPeriodMs;
            }
        }
        if (resume) pump_all();
    }
}

void Adapter::recovery_loop() {
    for (;;) {
        Address address;
        {
            std::unique_lock lock(mutex_);
            recovery_ready_.wait(lock, [&] { return watch_end_ || !recovery_queue_.empty(); });
            if (watch_end_) return;
            address = recovery_queue_.front();
            recovery_queue_.pop_front();
        }
        recover(address);
        const std::lock_guard lock(mutex_);
        unit_locked(address).in_recovery = false;
    }
}

void Adapter::recover(Address address) {
    std::vector<void*> expired;
    std::uint64_t sequence = 0;
    {
        const std::lock_guard lock(mutex_);
        sequence = sequence_;
        for (std::uint32_t i = 0; i < slots_.size(); ++i)
            if (slots_[i].recovering && slots_[i].unit != nullptr &&
                slots_[i].unit->address == address && slots_[i].state.load() == SlotState::Issued)
                expired.push_back(slots_.srb(slots_[i]));
    }
    DbgPrint("storport: %u:%u:%u: %u SRBs timed out\n", address.path, address.target, address.lun,
             static_cast<unsigned>(expired.size()));
    const auto gone = [&](Filter filter) {
        const std::lock_guard lock(mutex_);
        return count_older_locked(address, filter, sequence) == 0;
    };
    if ((config_.FeatureSupport & STOR_ADAPTER_FEATURE_ABORT_COMMAND) != 0) {
        for (void* srb : expired)
            send_control(SRB_FUNCTION_ABORT_COMMAND, address, srb);
        if (gone(Filter::Unit)) return;
    }
    const std::uint8_t steps[] = {SRB_FUNCTION_RESET_LOGICAL_UNIT, SRB_FUNCTION_RESET_DEVICE,
                                  SRB_FUNCTION_RESET_BUS};
    for (const std::uint8_t step : steps) {
        reset(step, address);
        if (gone(Filter::Unit)) return;
    }
    give_up(address, Filter::Unit, sequence);
}

void Adapter::give_up(Address address, Filter filter, std::uint64_t sequence) {
    for (std::uint32_t i = 0; i < slots_.size(); ++i) {
        Slot& slot = slots_[i];
        Request* request = nullptr;
        {
            const std::lock_guard lock(mutex_);
            if (slot.unit == nullptr || !slot.counted || slot.sequence > sequence ||
                !matches(slot.unit->address, address, filter))
                continue;
            SlotState expected = SlotState::Issued;
            if (!slot.state.compare_exchange_strong(expected, SlotState::GivenUp)) continue;
            request = slot.request;
            --slot.unit->outstanding;
            --outstanding_;
            slot.request = nullptr;
            slot.unit = nullptr;  // the SRB and its payload stay the miniport's for ever
            drained_.notify_all();
        }
        report_violation("SRB never completed", "%p (CDB %02x) survived all resets",
                         static_cast<void*>(slots_.srb(slot)), request->cdb[0]);
        request->srb_status = SRB_STATUS_TIMEOUT;
        finish(*request);
    }
}

void Adapter::complete_all(std::uint8_t path, std::uint8_t target, std::uint8_t lun,
                           std::uint8_t status) {
    for (std::uint32_t i = 0; i < slots_.size(); ++i) {
        Slot& slot = slots_[i];
        {
            const std::lock_guard lock(mutex_);
            if (slot.unit == nullptr || !slot.counted) continue;
            const Address& at = slot.unit->address;
            if ((path != 0xFF && path != at.path) || (target != 0xFF && target != at.target) ||
                (lun != 0xFF && lun != at.lun) || slot.state.load() != SlotState::Issued)
                continue;
        }
        slots_.srb(slot)[offsetof(SCSI_REQUEST_BLOCK, SrbStatus)] = status;
        complete_srb(slots_.srb(slot));
    }
}

void Adapter::stop() {
    std::deque<Request*> refused;
    {
        const std::lock_guard lock(mutex_);
        if (stopping_) return;
        stopping_ = true;
        for (auto& [key, unit] : units_) {
            refused.insert(refused.end(), unit->waiting.begin(), unit->waiting.end());
            unit->waiting.clear();
        }
    }
    for (Request* request : refused) {
        request->srb_status = SRB_STATUS_NO_HBA;
        finish(*request);
    }
    {
        std::unique_lock lock(mutex_);
        const bool drained = drained_.wait_for(lock, std::chrono::milliseconds(options_.grace_ms),
                                               [&] { return outstanding_ == 0; });
        if (!drained)
            report_violation("SRB left at adapter stop", "%u still out after %u ms", outstanding_,
                             options_.grace_ms);
    }
    end_threads();
    const std::lock_guard lock(mutex_);
    slots_.verify_all();
}

bool Adapter::set_depth(Address address, std::uint32_t depth) {
    if (depth == 0 || depth > config_.MaxIOsPerLun) return false;
    {
        const std::lock_guard lock(mutex_);
        unit_locked(address).depth = depth;
    }
    pump_all();
    return true;
}

ULONG Adapter::system_address(void* srb, void** address) {
    *address = nullptr;
    Slot* const slot = slots_.find(srb);
    if (slot == nullptr || slot->state.load() != SlotState::Issued) {
        report_violation("StorPortGetSystemAddress without an SRB", "%p is not out", srb);
        return STOR_STATUS_INVALID_PARAMETER;
    }
    if (slot->payload_length == 0) return STOR_STATUS_UNSUCCESSFUL;
    if (inject_failure()) return STOR_STATUS_INSUFFICIENT_RESOURCES;
    *address = slot->payload;
    return STOR_STATUS_SUCCESS;
}

bool Adapter::inject_failure() {
    return options_.fail_every != 0 &&
           failure_clock_.fetch_add(1) % options_.fail_every == options_.fail_every - 1;
}

PortCounters Adapter::counters() {
    const std::lock_guard lock(mutex_);
    PortCounters now = counters_;
    now.outstanding = outstanding_;
    return now;
}

}  // namespace wnbd::lab
