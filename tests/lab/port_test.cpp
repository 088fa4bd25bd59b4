// SPDX-License-Identifier: LGPL-2.1-or-later
// What the lab's Storport promises to those above it, and what it catches below it: a miniport of a
// few lines does one thing right or wrong per case.
#include <algorithm>
#include <atomic>
#include <cstring>
#include <functional>
#include <mutex>
#include <set>
#include <string>
#include <thread>
#include <vector>

#include "lab/storport/adapter.h"
#include "lab/storport/host.h"
#include "tests/process_host/check.h"

using namespace wnbd::lab;
using wnbd::test::claim;
using wnbd::test::fired;

namespace {

constexpr ULONG kExtensionBytes = 64;
constexpr std::uint32_t kGraceMs = 300;
constexpr std::uint32_t kTimeoutMs = 60;
constexpr UCHAR kOpRead = 0x28;
constexpr UCHAR kOpWrite = 0x2A;
constexpr UCHAR kOpInquiry = 0x12;

std::mutex rules_mutex;
std::multiset<std::string> rules;

void note_rule(const char* rule, const char*) {
    const std::lock_guard lock(rules_mutex);
    rules.insert(rule);
}

std::size_t said(const std::string& rule) {
    const std::lock_guard lock(rules_mutex);
    return rules.count(rule);
}

/// The classic and the extended SRB, as far as the cases need them.
struct View {
    void* srb;
    [[nodiscard]] bool extended() const {
        return static_cast<SCSI_REQUEST_BLOCK*>(srb)->Function ==
               SRB_FUNCTION_STORAGE_REQUEST_BLOCK;
    }
    [[nodiscard]] SCSI_REQUEST_BLOCK& classic() const {
        return *static_cast<SCSI_REQUEST_BLOCK*>(srb);
    }
    [[nodiscard]] STORAGE_REQUEST_BLOCK& ext() const {
        return *static_cast<STORAGE_REQUEST_BLOCK*>(srb);
    }
    [[nodiscard]] SRBEX_DATA_SCSI_CDB16& cdb_block() const {
        return *reinterpret_cast<SRBEX_DATA_SCSI_CDB16*>(static_cast<char*>(srb) +
                                                         ext().SrbExDataOffset[0]);
    }
    [[nodiscard]] ULONG function() const {
        return extended() ? ext().SrbFunction : classic().Function;
    }
    [[nodiscard]] ULONG& length() const {
        return extended() ? ext().DataTransferLength : classic().DataTransferLength;
    }
    [[nodiscard]] void* data() const {
        return extended() ? ext().DataBuffer : classic().DataBuffer;
    }
    [[nodiscard]] UCHAR* extension() const {
        return static_cast<UCHAR*>(extended() ? ext().MiniportContext : classic().SrbExtension);
    }
    void scsi_status(UCHAR status) const {
        if (extended())
            cdb_block().ScsiStatus = status;
        else
            classic().ScsiStatus = status;
    }
    void status(UCHAR status) const { classic().SrbStatus = status; }
};

/// What the miniport does with a request; set before each case.
std::function<BOOLEAN(View)> on_start_io;
std::function<BOOLEAN()> on_reset_bus;
Adapter* the_adapter = nullptr;
std::mutex held_mutex;
std::vector<void*> held;
std::atomic<unsigned> lun_resets;
std::atomic<unsigned> target_resets;
std::atomic<unsigned> bus_resets;

void finish(View view, UCHAR status = SRB_STATUS_SUCCESS) {
    view.status(status);
    the_adapter->complete_srb(view.srb);
}

void hold(View view) {
    const std::lock_guard lock(held_mutex);
    held.push_back(view.srb);
}

void finish_held(UCHAR status) {
    std::vector<void*> all;
    {
        const std::lock_guard lock(held_mutex);
        all.swap(held);
    }
    for (void* srb : all)
        finish(View{srb}, status);
}

BOOLEAN start_io(PVOID, PSCSI_REQUEST_BLOCK srb) {
    const View view{srb};
    if (view.function() == SRB_FUNCTION_RESET_LOGICAL_UNIT) ++lun_resets;
    if (view.function() == SRB_FUNCTION_RESET_DEVICE) ++target_resets;
    return on_start_io(view);
}

BOOLEAN reset_bus_callback(PVOID, ULONG) {
    ++bus_resets;
    return on_reset_bus ? on_reset_bus() : TRUE;
}

/// An adapter for one case; the rules said so far are forgotten.
class Case {
  public:
    explicit Case(ULONG features = 0, std::uint32_t depth = 8,
                  std::uint32_t timeout_ms = kTimeoutMs) {
        {
            const std::lock_guard lock(rules_mutex);
            rules.clear();
        }
        held.clear();
        lun_resets = target_resets = bus_resets = 0;
        on_reset_bus = nullptr;
        HW_INITIALIZATION_DATA hw{};
        hw.HwStartIo = start_io;
        hw.HwResetBus = reset_bus_callback;
        hw.SrbExtensionSize = kExtensionBytes;
        hw.SrbTypeFlags = SRB_TYPE_FLAG_SCSI_REQUEST_BLOCK | SRB_TYPE_FLAG_STORAGE_REQUEST_BLOCK;
        PORT_CONFIGURATION_INFORMATION config{};
        config.MapBuffers = STOR_MAP_NON_READ_WRITE_BUFFERS;
        config.SrbType = SRB_TYPE_STORAGE_REQUEST_BLOCK;
        config.SrbExtensionSize = kExtensionBytes;
        config.MaxNumberOfIO = 32;
        config.MaxIOsPerLun = depth;
        config.InitialLunQueueDepth = depth;
        config.FeatureSupport = features;
        PortOptions options;
        options.grace_ms = kGraceMs;
        options.timeout_ms = timeout_ms;
        options.busy_pause_ms = 20;
        set_port_options(options);
        adapter_ = std::make_unique<Adapter>(hw, config, this, 0, 0);
        the_adapter = adapter_.get();
    }
    ~Case() { adapter_->stop(); }
    Case(const Case&) = delete;
    Case& operator=(const Case&) = delete;

    Adapter& operator*() { return *adapter_; }
    Adapter* operator->() { return adapter_.get(); }

  private:
    std::unique_ptr<Adapter> adapter_;
};

struct Command {
    Request request;
    std::vector<std::uint8_t> data;

    Command(UCHAR opcode, Direction direction, std::size_t length, SrbForm form = SrbForm::Adapter)
        : data(length, 0x11) {
        request.cdb[0] = opcode;
        request.cdb_length = opcode == kOpInquiry ? 6 : 10;
        request.direction = direction;
        request.form = form;
        request.data = data.data();
        request.data_length = static_cast<std::uint32_t>(length);
    }
};

void send(Case& on, Command& command) {
    on->execute(command.request);
}

constexpr SrbForm kForms[] = {SrbForm::Classic, SrbForm::Extended};

void payload_goes_both_ways() {
    for (const SrbForm form : kForms) {
        Case on;
        on_start_io = [](View view) {
            void* address = nullptr;
            the_adapter->system_address(view.srb, &address);
            if (view.cdb_block().Cdb[0] == kOpRead ||
                (!view.extended() && view.classic().Cdb[0] == kOpRead))
                std::memset(address, 0x5A, view.length());
            finish(view);
            return TRUE;
        };
        Command read(kOpRead, Direction::In, 4096, form);
        send(on, read);
        claim(read.request.srb_status == SRB_STATUS_SUCCESS && read.request.transferred == 4096,
              "a read ends well (form %d)", static_cast<int>(form));
        claim(std::all_of(read.data.begin(), read.data.end(), [](auto b) { return b == 0x5A; }),
              "a read's bytes arrive (form %d)", static_cast<int>(form));
        claim(rules.empty(), "a good miniport breaks no rule (form %d)", static_cast<int>(form));
    }
}

void read_payload_is_not_mapped() {
    Case on;
    void* seen = nullptr;
    on_start_io = [&](View view) {
        seen = view.data();
        finish(view);
        return TRUE;
    };
    Command read(kOpRead, Direction::In, 512);
    send(on, read);
    claim(seen == reinterpret_cast<void*>(0x0000'DEAD'0000'0000ULL),
          "DataBuffer of a READ cannot be touched");
    Command inquiry(kOpInquiry, Direction::In, 64);
    send(on, inquiry);
    claim(seen != reinterpret_cast<void*>(0x0000'DEAD'0000'0000ULL),
          "DataBuffer of INQUIRY is mapped");
}

void depth_is_kept() {
    Case on(0, 4);
    on_start_io = [](View view) {
        hold(view);
        return TRUE;
    };
    std::vector<Command> commands;
    for (int i = 0; i < 20; ++i)
        commands.emplace_back(kOpRead, Direction::In, 512);
    std::atomic<int> done{0};
    for (Command& command : commands) {
        command.request.data = command.data.data();
        command.request.context = &done;
        command.request.complete = [](Request& r) { ++*static_cast<std::atomic<int>*>(r.context); };
        on->submit(command.request);
    }
    claim(on->counters().outstanding == 4, "no more than the unit's depth is out");
    for (int i = 0; i < 500 && done < 20; ++i) {
        finish_held(SRB_STATUS_SUCCESS);
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
    claim(done == 20, "what was held back is sent later: %d of 20", done.load());
    claim(on->counters().unit_outstanding_max == 4, "depth was never exceeded");
}

void busy_is_tried_again() {
    Case on;
    std::atomic<int> tries{0};
    on_start_io = [&](View view) {
        finish(view, ++tries < 3 ? SRB_STATUS_BUSY : SRB_STATUS_SUCCESS);
        return TRUE;
    };
    Command read(kOpRead, Direction::In, 512);
    send(on, read);
    claim(tries == 3 && read.request.srb_status == SRB_STATUS_SUCCESS, "BUSY is retried: %d tries",
          tries.load());
}

/// Claims that the rule was reported so often in this case.
void claim_fired(const char* rule, std::size_t times, const char* what) {
    const std::size_t heard = said(rule);
    if (claim(heard == times, "%s: %s was reported %u times, not %u", what, rule,
              static_cast<unsigned>(heard), static_cast<unsigned>(times)) &&
        times != 0)
        fired(rule);
}

void time_out_escalates() {
    const auto run = [](unsigned steps_ignored, const char* what) {
        Case on;
        on_start_io = [=](View view) {
            const ULONG function = view.function();
            if (function == SRB_FUNCTION_EXECUTE_SCSI) {
                hold(view);
                return TRUE;
            }
            if (function == SRB_FUNCTION_RESET_LOGICAL_UNIT && steps_ignored < 1)
                finish_held(SRB_STATUS_BUS_RESET);
            if (function == SRB_FUNCTION_RESET_DEVICE && steps_ignored < 2)
                finish_held(SRB_STATUS_BUS_RESET);
            finish(view, SRB_STATUS_SUCCESS);
            return TRUE;
        };
        on_reset_bus = [=]() -> BOOLEAN {
            if (steps_ignored < 3) finish_held(SRB_STATUS_BUS_RESET);
            return TRUE;
        };
        Command read(kOpRead, Direction::In, 512);
        send(on, read);
        claim(read.request.srb_status ==
                  (steps_ignored < 3 ? SRB_STATUS_BUS_RESET : SRB_STATUS_TIMEOUT),
              "%s: the request ends with %02x", what, read.request.srb_status);
        claim(lun_resets == 1 && target_resets == (steps_ignored > 0 ? 1 : 0) &&
                  bus_resets == (steps_ignored > 1 ? 1 : 0),
              "%s: %u unit, %u target, %u bus resets", what, lun_resets.load(),
              target_resets.load(), bus_resets.load());
        claim_fired("SRB left after reset", steps_ignored, what);
        claim_fired("SRB never completed", steps_ignored == 3 ? 1U : 0U, what);
    };
    run(0, "unit reset helps");
    run(1, "target reset helps");
    run(2, "bus reset helps");
    run(3, "nothing helps");
}

void abort_is_sent_where_it_is_taken() {
    Case on(STOR_ADAPTER_FEATURE_ABORT_COMMAND);
    std::atomic<bool> named{false};
    on_start_io = [&](View view) {
        if (view.function() == SRB_FUNCTION_EXECUTE_SCSI) {
            hold(view);
            return TRUE;
        }
        if (view.function() == SRB_FUNCTION_ABORT_COMMAND) {
            {
                const std::lock_guard lock(held_mutex);
                named = !held.empty() && (view.extended() ? static_cast<void*>(view.ext().NextSrb)
                                                          : view.classic().NextSrb) == held.front();
            }
            finish_held(SRB_STATUS_ABORTED);
        }
        finish(view);
        return TRUE;
    };
    Command read(kOpRead, Direction::In, 512);
    send(on, read);
    claim(named && read.request.srb_status == SRB_STATUS_ABORTED && lun_resets == 0,
          "ABORT_COMMAND names the SRB and suffices");
}

/// One misuse: the miniport's deed, and the rule that must be said (at least once).
void misuse(const char* rule, Direction direction, UCHAR opcode,
            std::function<BOOLEAN(View)> deed) {
    bool reported = true;
    for (const SrbForm form : kForms) {
        {
            Case on;
            on_start_io = deed;
            for (int i = 0; i < 2; ++i) {
                Command command(opcode, direction, 512, form);
                send(on, command);
            }
            // Poison is looked at when memory is used again, and once a second.
            if (said(rule) == 0) std::this_thread::sleep_for(std::chrono::milliseconds(1200));
        }
        reported &= claim(said(rule) != 0, "misuse is reported: %s (form %d)", rule,
                          static_cast<int>(form));
    }
    if (reported) fired(rule);
}

void srb_misuses() {
    misuse("SRB completed twice", Direction::In, kOpRead, [](View view) {
        finish(view);
        the_adapter->complete_srb(view.srb);
        return TRUE;
    });
    misuse("SRB touched after completion", Direction::In, kOpRead, [](View view) {
        finish(view);
        view.length() = 1;
        return TRUE;
    });
    misuse("SRB touched after completion", Direction::In, kOpRead, [](View view) {
        UCHAR* const extension = view.extension();
        finish(view);
        *extension = 1;
        return TRUE;
    });
    misuse("SRB extension overrun", Direction::In, kOpRead, [](View view) {
        view.extension()[kExtensionBytes] = 1;
        finish(view);
        return TRUE;
    });
    misuse("completing an SRB never issued", Direction::In, kOpRead, [](View view) {
        SCSI_REQUEST_BLOCK own{};
        the_adapter->complete_srb(&own);
        finish(view);
        return TRUE;
    });
    misuse("HwStartIo refused", Direction::In, kOpRead, [](View view) {
        finish(view);
        return FALSE;
    });
    misuse("SRB completed as PENDING", Direction::In, kOpRead, [](View view) {
        finish(view, SRB_STATUS_PENDING);
        return TRUE;
    });
    misuse("CHECK CONDITION without ERROR", Direction::In, kOpRead, [](View view) {
        view.scsi_status(SCSISTAT_CHECK_CONDITION);
        finish(view, SRB_STATUS_SUCCESS | SRB_STATUS_AUTOSENSE_VALID);
        return TRUE;
    });
    misuse("CHECK CONDITION without sense", Direction::In, kOpRead, [](View view) {
        view.scsi_status(SCSISTAT_CHECK_CONDITION);
        finish(view, SRB_STATUS_ERROR);
        return TRUE;
    });
    misuse("sense length not told", Direction::In, kOpRead, [](View view) {
        view.scsi_status(SCSISTAT_CHECK_CONDITION);
        finish(view, SRB_STATUS_ERROR | SRB_STATUS_AUTOSENSE_VALID);
        return TRUE;
    });
}

void data_misuses() {
    const auto mapped = [](View view) {
        void* address = nullptr;
        the_adapter->system_address(view.srb, &address);
        return static_cast<UCHAR*>(address);
    };
    misuse("transfer length grown", Direction::In, kOpRead, [](View view) {
        view.length() += 1;
        finish(view);
        return TRUE;
    });
    std::atomic<bool> refused{false};
    misuse("transfer length of BUSY", Direction::In, kOpRead, [&](View view) {
        const bool first = !refused;
        refused = first;
        if (first) view.length() = 0;
        finish(view, first ? SRB_STATUS_BUSY : SRB_STATUS_SUCCESS);
        return TRUE;
    });
    misuse("data buffer overrun", Direction::In, kOpRead, [=](View view) {
        mapped(view)[512] = 1;
        finish(view);
        return TRUE;
    });
    misuse("write payload changed", Direction::Out, kOpWrite, [=](View view) {
        mapped(view)[7] ^= 1;
        finish(view);
        return TRUE;
    });
    misuse("StorPortGetSystemAddress without an SRB", Direction::In, kOpRead, [=](View view) {
        finish(view);
        void* address = nullptr;
        the_adapter->system_address(view.srb, &address);
        return TRUE;
    });
    // A released buffer lies idle until enough others were released: send more than that.
    Case on;
    on_start_io = [=](View view) {
        UCHAR* const address = mapped(view);
        finish(view);
        *address = 1;
        return TRUE;
    };
    for (int i = 0; i < 40; ++i) {
        Command read(kOpRead, Direction::In, 512);
        send(on, read);
    }
    if (claim(said("data touched after completion") != 0,
              "misuse is reported: data touched after completion"))
        fired("data touched after completion");
}

void control_and_stop_misuses() {
    {
        Case on;
        on_start_io = [](View) { return TRUE; };  // answers nothing at all
        claim(on->reset(SRB_FUNCTION_RESET_LOGICAL_UNIT, {}) == SRB_STATUS_TIMEOUT,
              "an unanswered reset times out");
        claim_fired("control SRB unanswered", 1, "an unanswered reset");
    }
    {
        Case on;
        on_start_io = [](View view) {
            hold(view);
            return TRUE;
        };
        Command read(kOpRead, Direction::In, 512);
        read.request.complete = [](Request&) {};
        set_port_options(PortOptions{});
        const std::uint64_t before = on->last_sequence();
        on->submit(read.request);
        on->expect_drained({}, before, "the test");
        claim(said("SRB left after removal") == 0, "the next unit's SRBs may stay out");
        on->expect_drained({}, UINT64_MAX, "the test");
        claim_fired("SRB left after removal", 1, "what a removal leaves");
        finish_held(SRB_STATUS_NO_DEVICE);
    }
    {
        Case on(STOR_ADAPTER_FEATURE_ABORT_COMMAND, 8, 60'000);
        on_start_io = [](View view) {
            if (view.function() == SRB_FUNCTION_EXECUTE_SCSI)
                hold(view);
            else
                finish(view);
            return TRUE;
        };
        Command read(kOpRead, Direction::In, 512);
        read.request.complete = [](Request&) {};
        claim(!on->abort_one({}, 0), "nothing is out, nothing to abort");
        on->submit(read.request);
        claim(on->abort_one({}, 7) == SRB_STATUS_SUCCESS, "the abort is answered");
        claim_fired("SRB left after abort", 1, "an SRB that survives its abort");
        finish_held(SRB_STATUS_ABORTED);
    }
    {
        Case on(0, 8, 60'000);  // a time-out would give it up before the stop does
        on_start_io = [](View view) {
            hold(view);
            return TRUE;
        };
        Command read(kOpRead, Direction::In, 512);
        read.request.complete = [](Request&) {};
        on->submit(read.request);
        on->stop();
        claim_fired("SRB left at adapter stop", 1, "what is out when the adapter stops");
        finish_held(SRB_STATUS_NO_HBA);
    }
}

}  // namespace

int main() {
    set_host({nullptr, [] { return static_cast<KIRQL>(PASSIVE_LEVEL); }, [](KIRQL) {},
              [] { return static_cast<KIRQL>(PASSIVE_LEVEL); }, nullptr, nullptr, nullptr, false});
    set_violation_sink(note_rule);
    payload_goes_both_ways();
    read_payload_is_not_mapped();
    depth_is_kept();
    busy_is_tried_again();
    time_out_escalates();
    abort_is_sent_where_it_is_taken();
    srb_misuses();
    data_misuses();
    control_and_stop_misuses();
    return wnbd::test::report("port_test");
}
