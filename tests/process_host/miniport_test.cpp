// SPDX-License-Identifier: LGPL-2.1-or-later
// What the lab's Storport says to a miniport that starts, answers or calls it wrongly: a toy
// miniport lives the whole life of an adapter and does one thing wrong in each case. (Wrong SRBs
// are tests/lab/port_test.cpp's.)
#include <atomic>
#include <cstring>
#include <functional>

#include "driver/ddk/storport.h"
#include "lab/kernel/services.h"
#include "lab/kernel/verifier.h"
#include "lab/process/objects.h"
#include "lab/process/pnp.h"
#include "tests/process_host/check.h"
#include "tests/process_host/lab.h"
#include "tests/process_host/verifier_cases.h"

using namespace wnbd::lab;
using namespace wnbd::test;

namespace {

constexpr UCHAR op_inquiry = 0x12;
constexpr UCHAR above_dispatch = 3;

/// What the toy does where a case wants something else than the proper thing.
struct Deeds {
    std::function<void(HW_INITIALIZATION_DATA&)> describe{};
    std::function<void(void* extension)> find{};
    std::function<void(PORT_CONFIGURATION_INFORMATION&)> configure{};
    std::function<SCSI_ADAPTER_CONTROL_STATUS(SCSI_SUPPORTED_CONTROL_TYPE_LIST&)> controls{};
    std::function<void(void* extension, SCSI_REQUEST_BLOCK&)> start_io{};
};
Deeds deeds;
std::atomic<void*> extension_now{nullptr};

void finish(void* extension, SCSI_REQUEST_BLOCK& srb, UCHAR status) {
    srb.SrbStatus = status;
    StorPortNotification(RequestComplete, extension, &srb);
}

ULONG find_adapter(PVOID extension, PVOID, PVOID, PVOID, PCHAR, PORT_CONFIGURATION_INFORMATION* at,
                   BOOLEAN*) {
    extension_now.store(extension);
    at->VirtualDevice = TRUE;
    at->NumberOfBuses = 1;
    at->MaximumNumberOfTargets = 1;
    at->MaximumNumberOfLogicalUnits = 1;
    if (deeds.configure) deeds.configure(*at);
    if (deeds.find) deeds.find(extension);
    return SP_RETURN_FOUND;
}

BOOLEAN start_io(PVOID extension, PSCSI_REQUEST_BLOCK srb) {
    if (deeds.start_io)
        deeds.start_io(extension, *srb);
    else
        finish(extension, *srb, SRB_STATUS_NO_DEVICE);
    return TRUE;
}

SCSI_ADAPTER_CONTROL_STATUS adapter_control(PVOID, SCSI_ADAPTER_CONTROL_TYPE type, PVOID argument) {
    if (type != ScsiQuerySupportedControlTypes) return ScsiAdapterControlSuccess;
    auto& list = *static_cast<SCSI_SUPPORTED_CONTROL_TYPE_LIST*>(argument);
    list.SupportedTypeList[ScsiQuerySupportedControlTypes] = TRUE;
    list.SupportedTypeList[ScsiStopAdapter] = TRUE;
    return deeds.controls ? deeds.controls(list) : ScsiAdapterControlSuccess;
}

HW_INITIALIZATION_DATA proper_description() {
    HW_INITIALIZATION_DATA hw{};
    hw.HwInitializationDataSize = sizeof hw;
    hw.AdapterInterfaceType = Internal;
    hw.HwInitialize = [](PVOID) -> BOOLEAN { return TRUE; };
    hw.HwStartIo = start_io;
    hw.HwFindAdapter = reinterpret_cast<PVOID>(find_adapter);
    hw.HwResetBus = [](PVOID, ULONG) -> BOOLEAN { return TRUE; };
    hw.HwAdapterControl = adapter_control;
    hw.HwFreeAdapterResources = [](PVOID) {};
    hw.DeviceExtensionSize = 64;
    hw.SrbExtensionSize = 64;
    hw.MapBuffers = STOR_MAP_NON_READ_WRITE_BUFFERS;
    hw.TaggedQueuing = hw.AutoRequestSense = hw.MultipleRequestPerLu = TRUE;
    hw.FeatureSupport = STOR_FEATURE_VIRTUAL_MINIPORT;
    hw.SrbTypeFlags = SRB_TYPE_FLAG_SCSI_REQUEST_BLOCK;
    return hw;
}

/// A driver object that has called StorPortInitialize.
class ToyMiniport {
  public:
    ToyMiniport() : driver_(process::create_driver_object(L"toyport", nullptr, 0)) {
        HW_INITIALIZATION_DATA hw = proper_description();
        if (deeds.describe) deeds.describe(hw);
        const ULONG status =
            StorPortInitialize(driver_, process::registry_path_of(driver_), &hw, nullptr);
        claim(status == 0, "StorPortInitialize gave %08lx", status);
    }
    ~ToyMiniport() {
        driver_->DriverUnload(driver_);
        process::free_driver_object(driver_);
    }
    ToyMiniport(const ToyMiniport&) = delete;
    ToyMiniport& operator=(const ToyMiniport&) = delete;

    /// Starts an adapter, scans it, calls `meanwhile` with the miniport's extension, and removes
    /// it.
    void run_adapter(const std::function<void(void* extension)>& meanwhile) {
        NTSTATUS status = STATUS_SUCCESS;
        PDEVICE_OBJECT const root =
            process::add_root_device(driver_, L"ROOT\\TOYPORT\\0000", status);
        if (!claim(root != nullptr, "the toy starts: %08lx", static_cast<unsigned long>(status)))
            return;
        claim(process::wait_for_scans(30'000), "the toy is scanned");
        if (meanwhile) meanwhile(extension_now.load());
        claim(process::wait_for_scans(30'000), "the toy is scanned again");
        claim(NT_SUCCESS(process::remove_root_device(root, false)), "the toy can be removed");
        claim(kernel::drain_workers(30'000), "the workers end");
    }

  private:
    PDRIVER_OBJECT driver_;
};

void expect_of_description(const char* name, std::function<void(HW_INITIALIZATION_DATA&)> wrong) {
    deeds = Deeds{.describe = std::move(wrong)};
    expect(name, "initialisation data", [] { const ToyMiniport toy; });
}

void expect_of_life(const char* name, const char* rule, Deeds wrong,
                    const std::function<void(void* extension)>& meanwhile = nullptr) {
    deeds = std::move(wrong);
    expect(name, rule, [&] { ToyMiniport().run_adapter(meanwhile); });
}

void test_descriptions() {
    expect_of_description("not an internal bus",
                          [](auto& hw) { hw.AdapterInterfaceType = PCIBus; });
    expect_of_description("hardware resources", [](auto& hw) { hw.NumberOfAccessRanges = 1; });
    expect_of_description("an interrupt routine", [](auto& hw) { hw.HwInterrupt = &deeds; });
    expect_of_description("a build routine", [](auto& hw) { hw.HwBuildIo = &deeds; });
    expect_of_description("no tagged queueing", [](auto& hw) { hw.TaggedQueuing = FALSE; });
    expect_of_description("no automatic sense", [](auto& hw) { hw.AutoRequestSense = FALSE; });
    expect_of_description("no reset routine", [](auto& hw) { hw.HwResetBus = nullptr; });
    expect_of_description("no end for its tracing",
                          [](auto& hw) { hw.HwInitializeTracing = [](PVOID, PVOID) {}; });
    expect_of_description("an unknown way to map buffers", [](auto& hw) { hw.MapBuffers = 4; });
}

void test_configurations() {
    const char* const rule = "adapter configuration";
    const auto with = [](std::function<void(PORT_CONFIGURATION_INFORMATION&)> configure) {
        return Deeds{.configure = std::move(configure)};
    };
    expect_of_life("not a virtual device", rule,
                   with([](auto& config) { config.VirtualDevice = FALSE; }));
    expect_of_life("no requests at all", rule,
                   with([](auto& config) { config.MaxNumberOfIO = 0; }));
    expect_of_life("more for a unit than for the adapter", rule, with([](auto& config) {
                       config.MaxNumberOfIO = 10;
                       config.MaxIOsPerLun = 11;
                   }));
    expect_of_life("more than a classic SRB's tag can tell apart", rule,
                   with([](auto& config) { config.MaxIOsPerLun = 256; }));
    expect_of_life("no bus", rule, with([](auto& config) { config.NumberOfBuses = 0; }));
}

void test_controls() {
    const char* const rule = "adapter control";
    using List = SCSI_SUPPORTED_CONTROL_TYPE_LIST;
    expect_of_life("a query of controls that fails", rule,
                   {.controls = [](List&) { return ScsiAdapterControlUnsuccessful; }});
    expect_of_life("a list of controls overrun", rule, {.controls = [](List& list) {
                       list.SupportedTypeList[list.MaxControlType] = TRUE;
                       return ScsiAdapterControlSuccess;
                   }});
    expect_of_life("an adapter that cannot stop", rule, {.controls = [](List& list) {
                       list.SupportedTypeList[ScsiStopAdapter] = FALSE;
                       return ScsiAdapterControlSuccess;
                   }});
}

void test_calls() {
    expect_of_life("a request completed above DISPATCH_LEVEL", "IRQL",
                   {.start_io = [](void* extension, SCSI_REQUEST_BLOCK& srb) {
                       const kernel::RaisedIrql raised(above_dispatch);
                       finish(extension, srb, SRB_STATUS_NO_DEVICE);
                   }});
    expect_of_life("an address asked for above DISPATCH_LEVEL", "IRQL",
                   {.start_io = [](void* extension, SCSI_REQUEST_BLOCK& srb) {
                       PVOID address = nullptr;
                       {
                           const kernel::RaisedIrql raised(above_dispatch);
                           StorPortExtendedFunction(ExtFunctionGetSystemAddress, extension, &srb,
                                                    &address);
                       }
                       finish(extension, srb, SRB_STATUS_NO_DEVICE);
                   }});
    expect_of_life("an INQUIRY answered with ten bytes", "short INQUIRY",
                   {.start_io = [](void* extension, SCSI_REQUEST_BLOCK& srb) {
                       if (srb.Cdb[0] != op_inquiry)
                           return finish(extension, srb, SRB_STATUS_NO_DEVICE);
                       srb.DataTransferLength = 10;
                       finish(extension, srb, SRB_STATUS_SUCCESS);
                   }});
    expect_of_life("a request completed before there is an adapter",
                   "RequestComplete without an adapter", {.find = [](void* extension) {
                       SCSI_REQUEST_BLOCK srb{};
                       finish(extension, srb, SRB_STATUS_SUCCESS);
                   }});
    expect("a notification from nowhere", "notification without an adapter", [] {
        int nothing = 0;
        StorPortNotification(BusChangeDetected, &nothing);
    });
    expect_of_life("a notification that nobody knows", "notification unknown to the lab", {},
                   [](void* extension) {
                       StorPortNotification(static_cast<SCSI_NOTIFICATION_TYPE>(0x7777), extension);
                   });
    expect_of_life("a timer that was never made", "unknown timer or worker", {},
                   [](void* extension) {
                       StorPortExtendedFunction(ExtFunctionFreeTimer, extension, extension);
                   });
}

}  // namespace

int main() {
    install_host_services();
    // The toy is a part of this program, as the lab's Storport is: nothing is a driver's file.
    static char no_image;
    kernel::set_driver_image(&no_image, sizeof no_image);
    expect_of_life("a proper miniport", nullptr, {});
    test_descriptions();
    test_configurations();
    test_controls();
    test_calls();
    return report("miniport_test");
}
