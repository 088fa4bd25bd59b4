// SPDX-License-Identifier: LGPL-2.1-or-later
// What Storport and PnP hear from wnbd.sys: the adapter's configuration, the status with which each
// kind of SRB ends, which requests make a disk stale, when a target is free again, and what a unit
// says of itself. Usage: storport_test WNBD.SYS
#include <atomic>
#include <cstring>
#include <functional>
#include <memory>
#include <string>
#include <vector>

#include "lab/kernel/os.h"
#include "lab/kernel/verifier.h"
#include "lab/process/objects.h"
#include "lab/storport/adapter.h"
#include "tests/process_host/check.h"
#include "tests/process_host/memory_server.h"

using namespace wnbd::test;
using wnbd::lab::Address;
using wnbd::lab::Direction;
using wnbd::lab::SrbForm;
namespace kernel = wnbd::lab::kernel;
namespace os = wnbd::lab::os;
namespace port = wnbd::lab;

namespace {

using Bytes = std::vector<std::uint8_t>;

constexpr std::uint32_t block_size = 512;
constexpr std::uint8_t nobody = 99;  // a target without a disk

const Bytes test_unit_ready{0x00, 0, 0, 0, 0, 0};
const Bytes inquiry{0x12, 0, 0, 0, 36, 0};
const Bytes report_luns{0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 16, 0, 0};
const Bytes read_one{0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0};
const Bytes write_one{0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0};

void set_option(const wchar_t* name, std::int64_t value, bool persistent = false) {
    Client client(600, process::find_interface(WNBD_GUID));
    WNBD_IOCTL_SET_DRV_OPT_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_SET_DRV_OPT;
    for (unsigned i = 0; name[i] != 0; ++i)
        command.Name[i] = name[i];
    command.Persistent = persistent ? 1 : 0;
    command.Value.Type = WnbdOptWstr;  // the driver knows what it is a number or a truth value of
    const std::wstring text = std::to_wstring(value);
    std::memcpy(command.Value.Data.AsWstr, text.c_str(), (text.size() + 1) * sizeof(WCHAR));
    ULONG returned;
    const NTSTATUS status = client.control(&command, sizeof command, nullptr, 0, returned);
    claim(NT_SUCCESS(status), "setting %ls gave %08lx", name, static_cast<unsigned long>(status));
}

/// A request that is sent and not waited for.
struct Sent {
    port::Request request;
    Bytes data = Bytes(block_size);
    std::atomic<bool> done{false};

    Sent(Lab& lab, Address address, const Bytes& cdb, Direction direction,
         SrbForm form = SrbForm::Alternate) {
        request.address = address;
        std::memcpy(request.cdb, cdb.data(), cdb.size());
        request.cdb_length = static_cast<std::uint8_t>(cdb.size());
        request.direction = direction;
        request.data = data.data();
        request.data_length = block_size;
        request.form = form;
        request.context = this;
        request.complete = [](port::Request& finished) {
            static_cast<Sent*>(finished.context)->done.store(true);
        };
        port::submit(lab.adapter(), request);
    }
    void wait() const {
        for (unsigned waited = 0; !done.load() && waited < 60'000; ++waited)
            os::sleep_ms(1);
        claim(done.load(), "a request ends");
    }
    Sent(const Sent&) = delete;
    Sent& operator=(const Sent&) = delete;
};

std::uint64_t next_process = 610;

/// A disk with one serving thread, which keeps what it gets to itself while `hold` is set.
class Disk {
  public:
    Disk(Lab& lab, const char* name) : lab_(lab), name_(name), server_(lab, next_process++) {
        claim(process::wait_for_scans(60'000), "scans end");
        server_.start(disk_properties(name, 100, block_size), 1);
        claim(process::wait_for_scans(60'000), "scans end");
    }
    [[nodiscard]] Address address() const { return server_.address(); }
    [[nodiscard]] MemoryServer& server() { return server_; }

    /// From here on the server answers nothing; `read` is in its hands when this returns.
    void keep(std::unique_ptr<Sent>& read) {
        server_.hold.store(true);
        read = std::make_unique<Sent>(lab_, address(), read_one, Direction::In);
        for (int waited = 0; server_.in_hand.load() != 1 && waited < 60'000; ++waited)
            os::sleep_ms(1);
        claim(server_.in_hand.load() == 1, "the server has the read");
    }
    void let_go() {
        server_.hold.store(false);
        for (int waited = 0; server_.in_hand.load() != 0 && waited < 60'000; ++waited)
            os::sleep_ms(1);
    }
    [[nodiscard]] bool is_there() {
        Client client(601, lab_.device());
        WNBD_CONNECTION_INFO info{};
        return NT_SUCCESS(client.show(name_, info));
    }
    [[nodiscard]] bool goes() {
        for (int waited = 0; waited < 60'000 && is_there(); ++waited)
            os::sleep_ms(1);
        return !is_there();
    }

  private:
    Lab& lab_;
    const char* name_;
    MemoryServer server_;
};

void expect_number(const char* what, std::uint64_t found, std::uint64_t wanted) {
    claim(found == wanted, "%s is %llu, not %llu", what, static_cast<unsigned long long>(found),
          static_cast<unsigned long long>(wanted));
}
#define EXPECT_IN(structure, field, wanted) \
    expect_number(#field, static_cast<std::uint64_t>((structure).field), wanted)

void the_port_is_told_what_an_adapter_is(Lab& lab) {
    const PORT_CONFIGURATION_INFORMATION& config = lab.adapter().config();
    EXPECT_IN(config, MaximumTransferLength, 2U << 20);
    EXPECT_IN(config, NumberOfPhysicalBreaks, SP_UNINITIALIZED_VALUE);
    EXPECT_IN(config, AlignmentMask, 0);
    EXPECT_IN(config, NumberOfBuses, 1);
    EXPECT_IN(config, MaximumNumberOfTargets, 128);
    EXPECT_IN(config, MaximumNumberOfLogicalUnits, 1);
    EXPECT_IN(config, ScatterGather, TRUE);
    EXPECT_IN(config, Master, TRUE);
    EXPECT_IN(config, CachesData, TRUE);
    EXPECT_IN(config, Dma64BitAddresses, 3);
    EXPECT_IN(config, WmiDataProvider, FALSE);
    EXPECT_IN(config, SynchronizationModel, StorSynchronizeFullDuplex);
    EXPECT_IN(config, FeatureSupport, STOR_ADAPTER_FEATURE_ABORT_COMMAND);
    EXPECT_IN(config, MaxNumberOfIO, 1000);
    EXPECT_IN(config, MaxIOsPerLun, 255);
    EXPECT_IN(config, InitialLunQueueDepth, 255);
    const HW_INITIALIZATION_DATA& data = lab.adapter().hw();
    EXPECT_IN(data, FeatureSupport,
              STOR_FEATURE_VIRTUAL_MINIPORT | STOR_FEATURE_FULL_PNP_DEVICE_CAPABILITIES |
                  STOR_FEATURE_ADAPTER_NOT_REQUIRE_IO_PORT);
    EXPECT_IN(data, SrbTypeFlags,
              SRB_TYPE_FLAG_SCSI_REQUEST_BLOCK | SRB_TYPE_FLAG_STORAGE_REQUEST_BLOCK);
    EXPECT_IN(data, MapBuffers, STOR_MAP_NON_READ_WRITE_BUFFERS);
}

void its_control_types_are_listed_and_answered(Lab& lab) {
    const auto control = lab.adapter().hw().HwAdapterControl;
    void* const extension = lab.adapter().extension();
    struct {
        ULONG count;
        BOOLEAN supported[8];
    } list{};
    for (ULONG room = 0; room <= 8; ++room) {
        list = {};
        list.count = room;
        claim(
            control(extension, ScsiQuerySupportedControlTypes, &list) == ScsiAdapterControlSuccess,
            "the query is answered");
        for (ULONG type = 0; type < 8; ++type) {
            const bool known = type == ScsiQuerySupportedControlTypes || type == ScsiStopAdapter ||
                               type == ScsiRestartAdapter;
            claim((list.supported[type] != FALSE) == (known && type < room),
                  "type %lu in a list of %lu: %d", type, room, list.supported[type]);
        }
    }
    claim(control(extension, ScsiRestartAdapter, nullptr) == ScsiAdapterControlSuccess,
          "a restart is answered");
    claim(control(extension, ScsiAdapterPower, nullptr) == ScsiAdapterControlUnsuccessful,
          "what was not listed is refused");
}

void each_end_has_its_status(Lab& lab) {
    Disk disk(lab, "ends");
    const Address at = disk.address();
    const Address other_unit{at.path, at.target, 5};
    const struct {
        const char* name;
        std::function<void()> act;
        std::uint8_t status;
    } ends[] = {
        {"an abort", [&] { (void)port::abort_one(lab.adapter(), at, 0); }, SRB_STATUS_ABORTED},
        {"a LUN reset", [&] { port::reset_logical_unit(lab.adapter(), at); }, SRB_STATUS_ABORTED},
        {"a target reset", [&] { port::reset_target(lab.adapter(), at); }, SRB_STATUS_ABORTED},
        {"a target reset by another unit's number",
         [&] { port::reset_target(lab.adapter(), other_unit); }, SRB_STATUS_ABORTED},
        {"a bus reset", [&] { port::reset_bus(lab.adapter(), 0); }, SRB_STATUS_BUS_RESET},
        {"a removal", [&] { Client(603, lab.device()).remove("ends"); }, SRB_STATUS_NO_DEVICE},
    };
    std::unique_ptr<Sent> read;
    disk.keep(read);
    port::reset_bus(lab.adapter(), 1);
    os::sleep_ms(20);
    disk.let_go();
    read->wait();
    claim(read->request.srb_status == SRB_STATUS_SUCCESS, "another bus's reset ends nothing: %02x",
          read->request.srb_status);
    for (const auto& end : ends) {
        disk.keep(read);
        end.act();
        read->wait();
        claim(read->request.srb_status == end.status && read->request.transferred == 0,
              "%s ends a read with %02x and %lu bytes, not with %02x", end.name,
              read->request.srb_status, static_cast<unsigned long>(read->request.transferred),
              end.status);
        disk.let_go();
    }
}

void an_abort_ends_nothing_but_its_request(Lab& lab) {
    Disk disk(lab, "neighbours");
    std::unique_ptr<Sent> held;
    disk.keep(held);
    const Sent waiting(lab, disk.address(), read_one, Direction::In);
    (void)port::abort_one(lab.adapter(), disk.address(), 0);
    // Whichever of the two it was.
    for (unsigned waited = 0; !held->done.load() && !waiting.done.load() && waited < 60'000;
         ++waited)
        os::sleep_ms(1);
    os::sleep_ms(20);
    claim(held->done.load() != waiting.done.load(), "one of two requests ends");
    disk.let_go();
    held->wait();
    waiting.wait();
    const auto status = held->request.srb_status;
    const auto other = waiting.request.srb_status;
    claim((status == SRB_STATUS_ABORTED && other == SRB_STATUS_SUCCESS) ||
              (status == SRB_STATUS_SUCCESS && other == SRB_STATUS_ABORTED),
          "they end with %02x and %02x", status, other);
}

std::uint8_t send_function(Lab& lab, Address address, std::uint8_t function) {
    port::Request request;
    request.address = address;
    request.function = function;
    request.form = SrbForm::Alternate;
    port::execute(lab.adapter(), request);
    return request.srb_status;
}

void what_is_not_there_or_not_known_is_told(Lab& lab) {
    Disk disk(lab, "there");
    const Address at = disk.address();
    const Address vacant{0, nobody, 0};
    claim(port::reset_logical_unit(lab.adapter(), vacant) == SRB_STATUS_NO_DEVICE, "a LUN reset");
    claim(port::reset_target(lab.adapter(), vacant) == SRB_STATUS_NO_DEVICE, "a target reset");
    claim(port::flush(lab.adapter(), vacant) == SRB_STATUS_NO_DEVICE, "a flush");
    for (const Address& address : {vacant, Address{0, at.target, 1}, Address{1, at.target, 0}})
        claim(scsi(lab.adapter(), address, test_unit_ready).srb_status == SRB_STATUS_NO_DEVICE,
              "a command for %u:%u:%u", address.path, address.target, address.lun);
    for (const std::uint8_t function : {SRB_FUNCTION_WMI, SRB_FUNCTION_POWER})
        claim(send_function(lab, at, function) == SRB_STATUS_INVALID_REQUEST, "function %02x",
              function);
    claim(send_function(lab, at, SRB_FUNCTION_ABORT_COMMAND) == SRB_STATUS_INVALID_REQUEST,
          "an abort of nothing");
    claim(scsi(lab.adapter(), at, Bytes{}).srb_status == SRB_STATUS_INVALID_REQUEST,
          "a command without a CDB");
}

/// The port itself names the reason when the memory of a request can't be had.
void a_buffer_that_cannot_be_mapped_fails_its_request(const char* driver) {
    port::PortOptions options;
    options.fail_every = 1;
    Lab lab;
    if (!claim(lab.start(driver, options), "cannot start: %s", lab.error().c_str())) return;
    {
        Disk disk(lab, "unmapped");
        for (const SrbForm form : {SrbForm::Classic, SrbForm::Extended}) {
            const Sent write(lab, disk.address(), write_one, Direction::Out, form);
            write.wait();
            claim(write.request.srb_status == SRB_STATUS_INTERNAL_ERROR &&
                      write.request.system_status == STATUS_IO_DEVICE_ERROR &&
                      write.request.transferred == 0,
                  "it ends with %02x, %08lx and %lu bytes", write.request.srb_status,
                  static_cast<unsigned long>(write.request.system_status),
                  static_cast<unsigned long>(write.request.transferred));
        }
    }
    claim(lab.stop(), "the driver unloads: %s", lab.error().c_str());
}

/// Otherwise the device object of the old disk would be taken for the new one's.
void a_target_rests_until_a_scan_finds_it_empty(Lab& lab) {
    claim(process::wait_for_scans(60'000), "scans end");
    process::rescan(lab.host().adapter_pdo());
    process::ignore_bus_changes(true);
    Client client(604, lab.device());
    const auto target_of_next = [&client] {
        WNBD_CONNECTION_INFO info{};
        claim(NT_SUCCESS(client.create(disk_properties("next", 100, block_size), info)), "CREATE");
        claim(NT_SUCCESS(client.remove("next")), "REMOVE");
        return info.TargetId;
    };
    const auto ask = [&lab](std::uint8_t target, std::uint8_t unit, const Bytes& cdb) {
        Bytes data(64);
        const auto status =
            scsi(lab.adapter(), {0, target, unit}, cdb, Direction::In, data.data(), 64).srb_status;
        claim(status == SRB_STATUS_NO_DEVICE, "nobody is at %u: %02x", target, status);
    };
    for (std::uint8_t target = 0; target < 4; ++target)
        expect_number("the next target", target_of_next(), target);
    ask(3, 0, test_unit_ready);
    ask(3, 1, inquiry);
    expect_number("the target after no scan", target_of_next(), 4);
    ask(3, 0, report_luns);
    expect_number("the target that REPORT LUNS found empty", target_of_next(), 3);
    ask(1, 0, inquiry);
    expect_number("the target that INQUIRY found empty", target_of_next(), 1);
    process::ignore_bus_changes(false);
    process::rescan(lab.host().adapter_pdo());
}

/// One work item removes them all.
void several_stale_disks_go_at_once(Lab& lab) {
    std::vector<std::unique_ptr<Disk>> disks;
    std::unique_ptr<Sent> reads[8];
    std::vector<std::string> names;
    for (std::size_t i = 0; i < std::size(reads); ++i)
        names.push_back("stale-" + std::to_string(i));
    for (std::size_t i = 0; i < std::size(reads); ++i) {
        disks.push_back(std::make_unique<Disk>(lab, names[i].c_str()));
        disks.back()->keep(reads[i]);
    }
    os::sleep_ms(20);
    port::reset_bus(lab.adapter(), 0);
    for (std::size_t i = 0; i < std::size(reads); ++i) {
        reads[i]->wait();
        claim(disks[i]->goes(), "disk %zu is still there", i);
    }
}

/// Each lever that ends requests asks whether the disk is served at all.
void a_disk_that_nobody_serves_goes(Lab& lab) {
    const std::function<void(Address)> levers[] = {
        [&](Address at) { (void)port::abort_one(lab.adapter(), at, 0); },
        [&](Address at) { port::reset_logical_unit(lab.adapter(), at); },
        [&](Address at) { port::reset_bus(lab.adapter(), at.path); },
    };
    const struct {
        std::int64_t remove, request_ms, connection_ms;
        bool goes;
    } rules[] = {{1, 1, 1, true}, {0, 1, 1, false}, {1, 60'000, 1, false}, {1, 1, 60'000, false}};
    std::unique_ptr<Sent> read;
    for (const auto& rule : rules) {
        set_option(L"RemoveStaleConnections", rule.remove);
        set_option(L"StaleReqTimeoutMs", rule.request_ms);
        set_option(L"StaleConnTimeoutMs", rule.connection_ms);
        for (const auto& lever : levers) {
            Disk disk(lab, "stale");
            disk.keep(read);
            os::sleep_ms(20);
            lever(disk.address());
            read->wait();
            if (!rule.goes) os::sleep_ms(20);
            claim(rule.goes ? disk.goes() : disk.is_there(),
                  "removal %s, request %lld ms, connection %lld ms: the disk is %s",
                  rule.remove != 0 ? "on" : "off", static_cast<long long>(rule.request_ms),
                  static_cast<long long>(rule.connection_ms), rule.goes ? "still there" : "gone");
            disk.let_go();
        }
    }
    set_option(L"StaleConnTimeoutMs", 1);
    several_stale_disks_go_at_once(lab);
    set_option(L"StaleConnTimeoutMs", 0);
    set_option(L"StaleReqTimeoutMs", 0);
}

void a_unit_says_what_may_be_done_with_it(Lab& lab) {
    const Disk disk(lab, "capable");
    const auto children = process::children_of(lab.host().adapter_pdo());
    if (!claim(children.size() == 1, "%zu devices for one disk", children.size())) return;
    DEVICE_CAPABILITIES told{};
    claim(NT_SUCCESS(process::capabilities_of(children[0].pdo, told)), "QUERY_CAPABILITIES");
    claim(told.Removable && told.EjectSupported && told.SilentInstall, "it can go");
    claim(!told.SurpriseRemovalOK, "but not without being asked");
}

/// The disk does not wait for REMOVE_DEVICE, which an open handle may hold back for long.
void a_surprise_takes_the_disk_away_at_once(Lab& lab) {
    Disk disk(lab, "surprised");
    const auto children = process::children_of(lab.host().adapter_pdo());
    if (!claim(children.size() == 1, "%zu devices for one disk", children.size())) return;
    std::unique_ptr<Sent> read;
    disk.keep(read);
    process::ignore_bus_changes(true);
    process::surprise(children[0].pdo);
    read->wait();
    claim(read->request.srb_status == SRB_STATUS_NO_DEVICE, "what was out ends with %02x",
          read->request.srb_status);
    claim(!disk.is_there(), "the disk is gone");
    disk.let_go();
    process::ignore_bus_changes(false);
    process::rescan(lab.host().adapter_pdo());
}

/// Nor does a lost adapter wait: whoever waits for requests holds a handle open.
void a_surprise_ends_it(const char* driver) {
    Lab lab;
    if (!claim(lab.start(driver), "cannot start: %s", lab.error().c_str())) return;
    {
        Client waiting(605, lab.device());
        WNBD_CONNECTION_INFO info{};
        claim(NT_SUCCESS(waiting.create(disk_properties("waits", 100, block_size), info)),
              "CREATE");
        claim(process::wait_for_scans(60'000), "scans end");
        process::ignore_bus_changes(true);
        process::surprise(lab.host().adapter_pdo());
        process::ignore_bus_changes(false);
        const NTSTATUS status = waiting.show("waits", info);
        claim(status == STATUS_SHUTDOWN_IN_PROGRESS, "a call after the loss gives %08lx",
              static_cast<unsigned long>(status));
    }
    claim(lab.stop(true), "the driver unloads: %s", lab.error().c_str());
}

/// What was remembered of its device goes with a disk.
void a_removed_device_is_forgotten(Lab& lab) {
    PDEVICE_OBJECT pdo = nullptr;
    {
        const Disk disk(lab, "brief");
        const auto children = process::children_of(lab.host().adapter_pdo());
        if (!claim(children.size() == 1, "%zu devices for one disk", children.size())) return;
        pdo = children[0].pdo;
        claim(process::object_references(pdo) > 1, "the driver knows it");
    }
    claim(process::wait_for_scans(60'000), "scans end");
    claim(process::object_references(pdo) == 0, "%ld references to a device that is gone",
          process::object_references(pdo));
}

void restart(Lab& lab) {
    claim(lab.host().stop_adapter() && lab.host().start_adapter(), "the adapter off and on: %s",
          lab.host().error().c_str());
}

void expect_limits(const char* what, ULONG adapter, ULONG unit) {
    const std::vector<port::Adapter*> started = port::adapters();
    if (!claim(started.size() == 1, "%s: an adapter is started", what)) return;
    const PORT_CONFIGURATION_INFORMATION& config = started[0]->config();
    claim(config.MaxNumberOfIO == adapter && config.MaxIOsPerLun == unit &&
              config.InitialLunQueueDepth == unit,
          "%s: %lu requests, %lu per unit, %lu at first; not %lu and %lu", what,
          config.MaxNumberOfIO, config.MaxIOsPerLun, config.InitialLunQueueDepth, adapter, unit);
}

/// Whatever is missing at an adapter's start: what was made before goes again, as unloading checks.
void an_adapter_that_cannot_start_leaves_nothing(Lab& lab) {
    for (std::uint64_t nth = 1; nth <= 4; ++nth) {
        claim(lab.host().stop_adapter(), "the adapter can go: %s", lab.host().error().c_str());
        kernel::FaultPlan plan;
        plan.pool_fail_at = nth;
        kernel::set_fault_plan(plan);
        const bool started = lab.host().start_adapter();
        kernel::set_fault_plan({});
        claim(!started || nth > 2, "the adapter starts without allocation %llu",
              static_cast<unsigned long long>(nth));
        if (!started)
            claim(lab.host().start_adapter(), "it starts later: %s", lab.host().error().c_str());
    }
}

extern "C" ULONG NTAPI refuse_initialization(PVOID, PVOID, HW_INITIALIZATION_DATA*, PVOID) {
    return static_cast<ULONG>(STATUS_INSUFFICIENT_RESOURCES);
}

/// load() checks that nothing is left of a driver that did not come up.
void a_driver_that_storport_refuses_leaves_nothing(const char* driver) {
    process::DriverHost host;
    const bool loaded = host.load(driver, L"wnbd", [](std::string_view, std::string_view) {
        return reinterpret_cast<void*>(&refuse_initialization);
    });
    claim(!loaded && host.error().find("c000009a") != std::string::npos, "DriverEntry: %s",
          host.error().c_str());
}

/// Last: the adapter is another one afterwards.
void limits_are_those_of_the_options(Lab& lab) {
    set_option(L"MaxIOReqPerAdapter", 600, true);
    set_option(L"MaxIOReqPerLun", 300, true);
    restart(lab);
    expect_limits("extended SRBs", 600, 300);
    port::PortOptions options;
    options.classic_srbs = true;
    port::set_port_options(options);
    restart(lab);
    expect_limits("classic SRBs", 600, 255);
    set_option(L"MaxIOReqPerAdapter", 100, true);
    restart(lab);
    expect_limits("a unit is never allowed more than the adapter", 100, 100);
    set_option(L"MaxIOReqPerAdapter", 1000, true);
    set_option(L"MaxIOReqPerLun", 1, true);
}

/// A disk has room for as many requests as were promised; what comes on top is sent again. The
/// option is that of the test before.
void what_does_not_fit_is_busy(const char* driver) {
    port::PortOptions options;
    options.unit_depth = 4;
    options.busy_pause_ms = 10;
    Lab lab;
    if (!claim(lab.start(driver, options), "cannot start: %s", lab.error().c_str())) return;
    {
        Disk disk(lab, "small");
        std::unique_ptr<Sent> read;
        disk.keep(read);
        const Sent more(lab, disk.address(), read_one, Direction::In);
        for (int waited = 0; port::counters(lab.adapter()).busy == 0 && waited < 60'000; ++waited)
            os::sleep_ms(1);
        claim(port::counters(lab.adapter()).busy != 0, "a second request is one too many");
        disk.let_go();
        read->wait();
        more.wait();
        claim(read->request.srb_status == SRB_STATUS_SUCCESS &&
                  more.request.srb_status == SRB_STATUS_SUCCESS &&
                  more.request.transferred == block_size,
              "both end well: %02x, %02x", read->request.srb_status, more.request.srb_status);
    }
    set_option(L"MaxIOReqPerLun", 255, true);
    claim(lab.stop(), "the driver unloads: %s", lab.error().c_str());
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::puts("usage: storport_test WNBD.SYS");
        return 2;
    }
    Lab lab;
    if (!lab.start(argv[1])) {
        std::printf("cannot start: %s\n", lab.error().c_str());
        return 2;
    }
    the_port_is_told_what_an_adapter_is(lab);
    its_control_types_are_listed_and_answered(lab);
    a_target_rests_until_a_scan_finds_it_empty(lab);
    each_end_has_its_status(lab);
    an_abort_ends_nothing_but_its_request(lab);
    what_is_not_there_or_not_known_is_told(lab);
    a_unit_says_what_may_be_done_with_it(lab);
    a_removed_device_is_forgotten(lab);
    a_surprise_takes_the_disk_away_at_once(lab);
    a_disk_that_nobody_serves_goes(lab);
    an_adapter_that_cannot_start_leaves_nothing(lab);
    limits_are_those_of_the_options(lab);
    claim(lab.stop(), "the driver unloads: %s", lab.error().c_str());
    what_does_not_fit_is_busy(argv[1]);
    a_surprise_ends_it(argv[1]);
    a_buffer_that_cannot_be_mapped_fails_its_request(argv[1]);
    a_driver_that_storport_refuses_leaves_nothing(argv[1]);
    return process::exit_code(report("storport_test"));
}
