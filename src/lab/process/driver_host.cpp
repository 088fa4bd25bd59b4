// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/process/driver_host.h"

#include <cstdio>

#include "lab/kernel/os.h"
#include "lab/kernel/services.h"
#include "lab/kernel/verifier.h"
#include "lab/process/irp.h"
#include "lab/process/objects.h"
#include "lab/process/registry.h"

#define KERNEL_FUNCTION(name) extern "C" void lab_entry_##name() asm("lab_" #name);
#include "lab/process/process_functions.inc"
#undef KERNEL_FUNCTION

namespace wnbd::lab::process {
namespace {

void* find_process_export(std::string_view name) {
    static constexpr struct {
        std::string_view name;
        void (*function)();
    } exports[] = {
#define KERNEL_FUNCTION(name) {#name, lab_entry_##name},
#include "lab/process/process_functions.inc"
#undef KERNEL_FUNCTION
    };
    for (const auto& entry : exports) {
        if (entry.name == name) return reinterpret_cast<void*>(entry.function);
    }
    return nullptr;
}

bool same_module(std::string_view left, std::string_view right) {
    if (left.size() != right.size()) return false;
    for (std::size_t index = 0; index < left.size(); ++index) {
        if ((left[index] | 0x20) != (right[index] | 0x20)) return false;
    }
    return true;
}

std::string status_text(const char* what, NTSTATUS status) {
    char text[80];
    std::snprintf(text, sizeof text, "%s gave %08lx", what, static_cast<unsigned long>(status));
    return text;
}

}  // namespace

DriverHost::~DriverHost() {
    if (adapter_ != nullptr) stop_adapter(true);
    if (driver_ != nullptr) unload();
}

bool DriverHost::load(const std::string& path, const std::wstring& service,
                      ExportFinder other_exports) {
    kernel::install_fault_reporter();
    image_ = std::make_unique<Image>();
    const bool loaded = image_->load(path, [other_exports](const Image::Import& import) -> void* {
        if (!same_module(import.module, "ntoskrnl.exe") && !same_module(import.module, "hal.dll")) {
            return other_exports == nullptr ? nullptr : other_exports(import.module, import.name);
        }
        void* const function = find_process_export(import.name);
        return function != nullptr ? function : kernel::find_kernel_export(import.name);
    });
    if (!loaded) {
        error_ = image_->error();
        return false;
    }
    kernel::set_driver_image(image_->base(), image_->size());
    os::set_crash_image(image_->base(), image_->size());
    driver_ = create_driver_object(service, image_->base(), image_->size());
    auto* const entry = reinterpret_cast<PDRIVER_INITIALIZE>(image_->entry());
    driver_->DriverInit = entry;
    NTSTATUS status;
    {
        const kernel::CallbackGuard guard("DriverEntry");
        status = entry(driver_, registry_path_of(driver_));
    }
    if (NT_SUCCESS(status)) return true;
    error_ = status_text("DriverEntry", status);
    driver_->DriverUnload = nullptr;  // not called after a failed DriverEntry
    unload();
    return false;
}

bool DriverHost::start_adapter(const std::wstring& instance_path) {
    NTSTATUS status = STATUS_INVALID_DEVICE_REQUEST;
    if (driver_->DriverExtension->AddDevice != nullptr)
        adapter_ = add_root_device(driver_, instance_path, status);
    if (adapter_ == nullptr) error_ = status_text("starting the adapter", status);
    return adapter_ != nullptr;
}

bool DriverHost::stop_adapter(bool surprise) {
    wait_for_scans(10'000);
    const NTSTATUS status = remove_root_device(adapter_, surprise);
    if (!NT_SUCCESS(status)) {
        error_ = status_text("QUERY_REMOVE", status);
        return false;
    }
    adapter_ = nullptr;
    return true;
}

void DriverHost::unload(std::uint32_t patience_ms) {
    if (!wait_for_scans(patience_ms) || !kernel::drain_workers(patience_ms)) {
        kernel::violation("worker", "work items do not end before unload");
    }
    if (driver_->DriverUnload != nullptr) {
        const kernel::CallbackGuard guard("DriverUnload");
        driver_->DriverUnload(driver_);
    }
    check_interface_balance();
    check_object_balance();
    check_registry_balance();
    if (irps_outstanding() != 0) {
        kernel::violation("irp-leak", "%lld IRPs were not completed",
                          static_cast<long long>(irps_outstanding()));
    }
    kernel::check_balance();
    free_driver_object(driver_);
    driver_ = nullptr;
    kernel::set_driver_image(nullptr, 0);
    os::set_crash_image(nullptr, 0);
    image_.reset();
}

int exit_code(int code) {
    const std::uint64_t count = kernel::violation_count();
    if (count == 0) return code;
    std::fprintf(stderr, "VERIFIER: %llu violations\n", static_cast<unsigned long long>(count));
    return 3;
}

}  // namespace wnbd::lab::process
