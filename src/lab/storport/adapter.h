// SPDX-License-Identifier: LGPL-2.1-or-later
// One started virtual adapter: its configuration, its units' queues, its SRBs and its recovery
// thread. Private to src/lab/storport; port.h is the face.
//
// Lock: `mutex_` guards queues, slots' records and units; it is never held while the miniport or a
// caller's completion runs. A slot that is Issued belongs to whoever moves its state on.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>
#include <vector>

#include "driver/ddk/storport.h"
#include "lab/storport/guarded_memory.h"
#include "lab/storport/port.h"
#include "lab/storport/slots.h"

namespace wnbd::lab {

struct SrbAnswer;

/// The queue of one address, whether or not a device answers there.
struct Unit {
    Address address;
    std::deque<Request*> waiting;
    std::uint32_t outstanding = 0;
    std::uint32_t depth = 0;
    std::uint32_t resets = 0;           ///< resets under way: nothing new is issued
    std::uint64_t paused_until_ms = 0;  ///< after BUSY
    bool in_recovery = false;
};

class Adapter {
  public:
    Adapter(const HW_INITIALIZATION_DATA& hw, const PORT_CONFIGURATION_INFORMATION& config,
            void* extension, std::uint8_t port_number, std::uint8_t bus_type);
    ~Adapter();
    Adapter(const Adapter&) = delete;
    Adapter& operator=(const Adapter&) = delete;

    void submit(Request& request);
    void execute(Request& request);
    /// From StorPortNotification(RequestComplete).
    void complete_srb(void* srb);
    /// StorPortCompleteRequest: completes all that is out at the address (0xFF: any) with the
    /// status.
    void complete_all(std::uint8_t path, std::uint8_t target, std::uint8_t lun,
                      std::uint8_t status);
    ULONG system_address(void* srb, void** address);
    bool set_depth(Address address, std::uint32_t depth);

    /// A reset SRB by function code, or HwResetBus for SRB_FUNCTION_RESET_BUS, with its checks.
    std::uint8_t reset(std::uint8_t function, Address address);
    [[nodiscard]] std::optional<std::uint8_t> abort_one(Address address, std::uint64_t choice);
    /// The number of the SRB that was issued last.
    [[nodiscard]] std::uint64_t last_sequence();
    /// Called when a unit is gone: what is still out of the SRBs up to `last`, and of those issued
    /// so far, must come back within the grace time.
    void expect_drained(Address address, std::uint64_t last, const char* after);

    /// No new SRBs from here on; those waiting complete with NO_HBA. Waits for those that are out.
    /// Ends its threads, too; the adapter then only refuses. Once; later calls do nothing.
    void stop();

    [[nodiscard]] PortCounters counters();
    [[nodiscard]] const PORT_CONFIGURATION_INFORMATION& config() const { return config_; }
    [[nodiscard]] const HW_INITIALIZATION_DATA& hw() const { return hw_; }
    [[nodiscard]] void* extension() const { return extension_; }
    [[nodiscard]] std::uint8_t port_number() const { return port_number_; }
    [[nodiscard]] std::uint8_t bus_type() const { return bus_type_; }
    [[nodiscard]] const PortOptions& options() const { return options_; }
    /// True once every `fail_every` calls: the caller then pretends that there is no memory.
    bool inject_failure();

    PDEVICE_OBJECT fdo = nullptr;

  private:
    enum class Filter { Unit, Target, Path };
    [[nodiscard]] static bool matches(const Address& a, const Address& b, Filter filter);

    Unit& unit_locked(Address address);
    [[nodiscard]] bool may_issue_locked(const Unit& unit, std::uint64_t now) const;
    void pump(Unit& unit);
    void pump_all();
    void issue(Slot& slot);
    Slot* claim_slot_locked(Request& request, Unit* unit, bool counted);
    [[nodiscard]] bool choose_extended(const Request& request);
    bool attach_payload(Slot& slot);
    void take_results(Slot& slot);
    void check_answer(const Slot& slot, const SrbAnswer& answer);
    void check_sense(const Slot& slot, const SrbAnswer& answer);
    void release_slot(Slot& slot);
    /// True when the request goes back into its queue rather than to its owner.
    bool retry_busy(Slot& slot, Request& request);
    void finish(Request& request);
    /// Has the unit's queue (nullptr: all queues) served soon, from a thread without locks.
    void kick(Unit* unit);

    /// Sends a control SRB outside the queues and waits up to the grace time for its answer.
    std::uint8_t send_control(std::uint8_t function, Address address, void* abort_srb);
    [[nodiscard]] static bool is_out_locked(const Slot& slot, Address address, Filter filter,
                                            std::uint64_t sequence);
    [[nodiscard]] std::uint32_t count_older_locked(Address address, Filter filter,
                                                   std::uint64_t sequence);
    bool wait_older_gone(Address address, Filter filter, std::uint64_t sequence);
    void hold(Address address, Filter filter);
    void let_go(Address address, Filter filter);
    void watch_loop();
    void recovery_loop();
    void recover(Address address);
    void give_up(Address address, Filter filter, std::uint64_t sequence);
    void completion_loop();
    void end_threads();

    const HW_INITIALIZATION_DATA hw_;
    const PORT_CONFIGURATION_INFORMATION config_;
    void* const extension_;
    const std::uint8_t port_number_;
    const std::uint8_t bus_type_;
    const PortOptions options_;

    std::mutex mutex_;
    std::condition_variable drained_;  // notified when an SRB came back
    std::map<std::uint32_t, std::unique_ptr<Unit>> units_;
    struct Hold {
        Address address;
        Filter filter;
        bool operator==(const Hold&) const = default;
    };
    std::vector<Hold> holds_;  // one for each reset under way
    SlotTable slots_;
    ShadowPool shadows_;
    std::uint64_t sequence_ = 0;
    std::uint32_t outstanding_ = 0;
    bool stopping_ = false;
    PortCounters counters_;
    std::atomic<std::uint64_t> failure_clock_{0};

    std::mutex completion_mutex_;
    std::condition_variable completion_ready_;
    std::vector<Request*> completions_;
    std::vector<Unit*> kicks_;
    bool completion_end_ = false;
    std::vector<std::thread> completion_threads_;

    std::condition_variable watch_wake_;
    bool watch_end_ = false;
    std::thread watch_thread_;
    std::thread recovery_thread_;
    std::deque<Address> recovery_queue_;
    std::condition_variable recovery_ready_;
};

/// Milliseconds of a clock that never goes back.
[[nodiscard]] std::uint64_t now_ms();

/// The adapter to which a miniport's device extension belongs, or nullptr. Any thread.
[[nodiscard]] Adapter* adapter_of(const void* extension);
void register_adapter(Adapter& adapter);
void unregister_adapter(Adapter& adapter);

}  // namespace wnbd::lab
