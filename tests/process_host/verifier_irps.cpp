// SPDX-License-Identifier: LGPL-2.1-or-later
// The rules about IRPs, about processes that end while they are in the driver, and about what is
// left when the driver is unloaded.
#include <atomic>

#include "lab/kernel/os.h"
#include "lab/kernel/services.h"
#include "lab/kernel/verifier.h"
#include "lab/process/driver_host.h"
#include "lab/process/file.h"
#include "lab/process/irp.h"
#include "lab/process/objects.h"
#include "tests/process_host/check.h"
#include "tests/process_host/verifier_cases.h"

namespace wnbd::test {

namespace kernel = lab::kernel;
namespace os = lab::os;
namespace process = lab::process;

namespace {

// What the device of the next test does with a device control.
using Dispatch = NTSTATUS (*)(PIRP irp);
Dispatch dispatch_now;

class ToyDevice {
  public:
    ToyDevice() : driver_(process::create_driver_object(L"toy", nullptr, 0)) {
        const auto fine = [](PDEVICE_OBJECT, PIRP irp)
                              NTAPI -> NTSTATUS { return complete(irp, STATUS_SUCCESS, 0); };
        driver_->MajorFunction[IRP_MJ_CREATE] = fine;
        driver_->MajorFunction[IRP_MJ_CLEANUP] = fine;
        driver_->MajorFunction[IRP_MJ_CLOSE] = fine;
        driver_->MajorFunction[IRP_MJ_DEVICE_CONTROL] =
            [](PDEVICE_OBJECT, PIRP irp) NTAPI -> NTSTATUS { return dispatch_now(irp); };
        IoCreateDevice(driver_, 0, nullptr, FILE_DEVICE_UNKNOWN, 0, FALSE, &device_);
        NTSTATUS status;
        file_ = process::File::open(process_, device_, status);
    }
    ~ToyDevice() {
        if (file_ != nullptr) process::File::close(file_);
        IoDeleteDevice(device_);
        process::free_driver_object(driver_);
    }
    ToyDevice(const ToyDevice&) = delete;
    ToyDevice& operator=(const ToyDevice&) = delete;

    NTSTATUS control(Dispatch dispatch, ULONG output_length) {
        dispatch_now = dispatch;
        char output[64];
        ULONG returned;
        return file_->device_io_control(CTL_CODE(FILE_DEVICE_UNKNOWN, 1, METHOD_BUFFERED, 0),
                                        nullptr, 0, output, output_length, returned);
    }
    process::Process& process() { return process_; }
    PDEVICE_OBJECT device() { return device_; }
    /// Its process ended and took the handle with it.
    void handle_is_gone() { file_ = nullptr; }

  private:
    PDRIVER_OBJECT driver_;
    PDEVICE_OBJECT device_ = nullptr;
    process::Process process_{777};
    process::File* file_;
};

/// Sends an IRP to a device that keeps it, and gives it back.
PIRP send_to_keeper(ToyDevice& toy) {
    PIRP const irp = IoAllocateIrp(1, FALSE);
    dispatch_now = [](PIRP given) -> NTSTATUS {
        IoMarkIrpPending(given);
        return STATUS_PENDING;
    };
    IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_DEVICE_CONTROL;
    IoCallDriver(toy.device(), irp);
    return irp;
}

}  // namespace

void test_irps() {
    ToyDevice toy;
    expect("a device control served well", nullptr, [&] {
        claim(toy.control([](PIRP irp) { return complete(irp, STATUS_SUCCESS, 5); }, 5) ==
                  STATUS_SUCCESS,
              "success");
    });
    expect("a reply longer than its buffer", "information",
           [&] { toy.control([](PIRP irp) { return complete(irp, STATUS_SUCCESS, 6); }, 5); });
    expect("a reply written behind its buffer", "system-buffer", [&] {
        toy.control(
            [](PIRP irp) {
                static_cast<char*>(irp->AssociatedIrp.SystemBuffer)[5] = 0;
                return complete(irp, STATUS_SUCCESS, 5);
            },
            5);
    });
    expect("another status returned than completed", "irp-status", [&] {
        toy.control(
            [](PIRP irp) -> NTSTATUS {
                complete(irp, STATUS_SUCCESS, 0);
                return STATUS_UNSUCCESSFUL;
            },
            5);
    });
    expect("completed with STATUS_PENDING", "irp-status",
           [&] { toy.control([](PIRP irp) { return complete(irp, STATUS_PENDING, 0); }, 5); });
    expect("completed twice", "irp-twice", [&] {
        toy.control(
            [](PIRP irp) {
                complete(irp, STATUS_SUCCESS, 0);
                return complete(irp, STATUS_SUCCESS, 0);
            },
            5);
    });
    expect("completed with a cancel routine", "irp-cancel", [&] {
        toy.control(
            [](PIRP irp) {
                PDRIVER_CANCEL const routine = [](PDEVICE_OBJECT, PIRP) NTAPI {};
                IoSetCancelRoutine(irp, routine);
                return complete(irp, STATUS_SUCCESS, 0);
            },
            5);
    });
    expect("an IRP freed twice", "irp-use-after-free", [] {
        PIRP const irp = IoAllocateIrp(1, FALSE);
        IoFreeIrp(irp);
        IoFreeIrp(irp);
    });
    expect("an IRP freed while its driver has it", "irp-free", [&] {
        PIRP const irp = send_to_keeper(toy);
        try {
            IoFreeIrp(irp);
        } catch (...) {
            // It is out still; what follows is its proper end.
            reinterpret_cast<process::IrpRecord*>(irp)->state.store(
                process::IrpRecord::State::sent);
            complete(irp, STATUS_SUCCESS);
            IoFreeIrp(irp);
            throw;
        }
    });
    expect("an IRP sent further than its stack", "irp-stack", [] {
        PIRP const irp = IoAllocateIrp(1, FALSE);
        IoGetNextIrpStackLocation(irp)->MajorFunction = IRP_MJ_PNP;
        irp->CurrentLocation = 1;
        IofCallDriver(nullptr, irp);
    });
}

void test_process_death() {
    static KEVENT release;
    static std::atomic<std::uint32_t> inside{0};
    KeInitializeEvent(&release, NotificationEvent, FALSE);
    const auto run = [](Dispatch dispatch, bool alertable) {
        auto* const toy = new ToyDevice;
        inside.store(0);
        dispatch_now = dispatch;
        os::start_thread(
            [](void* context) {
                auto* const device = static_cast<ToyDevice*>(context);
                const process::ProcessScope scope(device->process());
                device->control(dispatch_now, 0);
                inside.store(2);
            },
            toy);
        while (inside.load() == 0)
            os::sleep_ms(1);
        os::sleep_ms(20);
        const bool ended = process::end_process(toy->process(), 300);
        claim(ended == alertable, "a process with a thread in %s wait %s",
              alertable ? "an alertable" : "a deaf",
              alertable ? "can be ended" : "cannot be ended");
        KeSetEvent(&release, 0, FALSE);
        while (inside.load() != 2)
            os::sleep_ms(1);
        if (ended) toy->handle_is_gone();
        delete toy;
    };
    expect("a process ends while it waits alertably", nullptr, [&] {
        run(
            [](PIRP irp) {
                inside.store(1);
                const NTSTATUS status =
                    KeWaitForSingleObject(&release, Executive, KernelMode, TRUE, nullptr);
                claim(status == STATUS_ALERTED, "the wait was alerted: %lx",
                      static_cast<unsigned long>(status));
                return complete(irp, STATUS_CANCELLED, 0);
            },
            true);
    });
    KeClearEvent(&release);
    expect("a process cannot end in a deaf wait", "process-stuck", [&] {
        run(
            [](PIRP irp) {
                inside.store(1);
                KeWaitForSingleObject(&release, Executive, KernelMode, FALSE, nullptr);
                return complete(irp, STATUS_SUCCESS, 0);
            },
            false);
    });
}

void test_unloading(const char* misuse_driver) {
    const auto load = [misuse_driver](process::DriverHost& host) {
        return claim(host.load(misuse_driver, L"misuse", nullptr), "the misuse driver loads: %s",
                     host.error().c_str());
    };
    PIRP left = nullptr;
    expect("an IRP that is out when its driver goes", "irp-leak", [&] {
        process::DriverHost host;
        if (!load(host)) return;
        {
            ToyDevice toy;
            left = send_to_keeper(toy);
        }
        host.unload();
    });
    if (left != nullptr) {
        complete(left, STATUS_SUCCESS);
        IoFreeIrp(left);
    }
    static std::atomic<std::uint32_t> go{0};
    expect("work that does not end before its driver goes", "worker", [&] {
        process::DriverHost host;
        if (!load(host)) return;
        kernel::queue_worker(
            [](void*) {
                while (go.load() == 0)
                    os::sleep_ms(1);
            },
            nullptr);
        host.unload(100);
    });
    go.store(1);
    claim(kernel::drain_workers(5000), "the worker ends");
}

}  // namespace wnbd::test
