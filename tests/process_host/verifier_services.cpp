// SPDX-License-Identifier: LGPL-2.1-or-later
// The rules about the kernel's services: work items, tracing, handles, strings, references.
#include <atomic>
#include <string>

#include "driver/ddk/etw.h"
#include "lab/kernel/os.h"
#include "lab/kernel/services.h"
#include "lab/kernel/verifier.h"
#include "lab/process/objects.h"
#include "lab/process/registry.h"
#include "tests/process_host/check.h"
#include "tests/process_host/verifier_cases.h"

namespace wnbd::test {

namespace kernel = lab::kernel;
namespace os = lab::os;
namespace process = lab::process;

// What Windows takes: MAX_EVENT_DATA_DESCRIPTORS.
static constexpr ULONG event_parts_max = 128;

void test_services() {
    expect("a work item never freed", "work-item-leak", [] {
        IoAllocateWorkItem(nullptr);
        kernel::check_balance();
    });
    expect("a work item queued twice", "work-item-queued", [] {
        static std::atomic<std::uint32_t> go{0};
        // All workers are kept busy, so that the item stays queued.
        for (int index = 0; index < 8; ++index) {
            kernel::queue_worker(
                [](void*) {
                    while (go.load() == 0)
                        os::sleep_ms(1);
                },
                nullptr);
        }
        PIO_WORKITEM const item = IoAllocateWorkItem(nullptr);
        const auto routine = [](PDEVICE_OBJECT, PVOID) NTAPI {};
        IoQueueWorkItem(item, routine, DelayedWorkQueue, nullptr);
        IoQueueWorkItem(item, routine, DelayedWorkQueue, nullptr);
        go.store(1);
        kernel::drain_workers(5000);
        IoFreeWorkItem(item);
    });
    expect("a tracing provider never unregistered", "etw-leak", [] {
        REGHANDLE handle;
        static const GUID provider{};
        EtwRegister(&provider, nullptr, nullptr, &handle);
        kernel::check_balance();
    });
    expect("a tracing provider unregistered twice", "etw-handle", [] {
        REGHANDLE handle;
        static const GUID provider{};
        EtwRegister(&provider, nullptr, nullptr, &handle);
        EtwUnregister(handle);
        EtwUnregister(handle);
    });
    expect("traits that are none", "etw-traits", [] {
        REGHANDLE handle;
        static const GUID provider{};
        EtwRegister(&provider, nullptr, nullptr, &handle);
        char garbage[3] = {9, 9, 9};
        EtwSetInformation(handle, EventProviderSetTraits, garbage, sizeof garbage);
        EtwUnregister(handle);
    });
    expect("an event of too many parts", "etw-event", [] {
        REGHANDLE handle;
        static const GUID provider{};
        EtwRegister(&provider, nullptr, nullptr, &handle);
        static EVENT_DATA_DESCRIPTOR data[event_parts_max + 1];
        const EVENT_DESCRIPTOR event{};
        EtwWrite(handle, &event, nullptr, event_parts_max + 1, data);
        EtwUnregister(handle);
    });
    expect("a registry key left open", "handle-leak", [] {
        PDRIVER_OBJECT const driver = process::create_driver_object(L"x", nullptr, 0);
        OBJECT_ATTRIBUTES attributes;
        InitializeObjectAttributes(&attributes, process::registry_path_of(driver),
                                   OBJ_KERNEL_HANDLE, nullptr, nullptr);
        HANDLE key = nullptr;
        ZwCreateKey(&key, KEY_READ, &attributes, 0, nullptr, 0, nullptr);
        process::check_registry_balance();
        process::free_driver_object(driver);
    });
    expect("a registry key closed twice", "bad-handle",
           [] { ZwClose(reinterpret_cast<HANDLE>(0x4444)); });
    expect("an object dereferenced once too often", "bad-object", [] {
        static int nothing;
        ObfDereferenceObject(&nothing);
    });
    expect("a work item freed twice", "bad-work-item", [] {
        PIO_WORKITEM const item = IoAllocateWorkItem(nullptr);
        IoFreeWorkItem(item);
        IoFreeWorkItem(item);
    });
    expect("a registry key that user space could close", "user-handle", [] {
        PDRIVER_OBJECT const driver = process::create_driver_object(L"x", nullptr, 0);
        OBJECT_ATTRIBUTES attributes;
        InitializeObjectAttributes(&attributes, process::registry_path_of(driver), 0, nullptr,
                                   nullptr);
        HANDLE key = nullptr;
        ZwCreateKey(&key, KEY_READ, &attributes, 0, nullptr, 0, nullptr);
        ZwClose(key);
        process::free_driver_object(driver);
    });
    expect("a string longer than its length can say", "string", [] {
        const std::wstring text(0x8000, L'x');
        UNICODE_STRING string;
        RtlInitUnicodeString(&string, text.c_str());
    });
    expect("a wait for several objects without wait blocks", "wait-count", [] {
        KEVENT events[THREAD_WAIT_OBJECTS + 1];
        PVOID objects[THREAD_WAIT_OBJECTS + 1];
        for (unsigned index = 0; index < THREAD_WAIT_OBJECTS + 1; ++index) {
            KeInitializeEvent(&events[index], NotificationEvent, TRUE);
            objects[index] = &events[index];
        }
        KeWaitForMultipleObjects(THREAD_WAIT_OBJECTS + 1, objects, WaitAny, Executive, KernelMode,
                                 FALSE, nullptr, nullptr);
    });
}

}  // namespace wnbd::test
