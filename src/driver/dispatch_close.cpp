// SPDX-License-Identifier: LGPL-2.1-or-later
// A handle of the adapter goes, by CloseHandle or with its process: so do the disks it owns. This
// is how the death of a serving process is noticed, whatever its threads were doing.
#include "driver/adapter_device.h"
#include "driver/entry_points.h"

namespace wnbd::driver {

namespace {

void remove_disks_of(PDEVICE_OBJECT device, PIRP irp) noexcept {
    const PFILE_OBJECT handle = IoGetCurrentIrpStackLocation(irp)->FileObject;
    if (const AdapterReference adapter(driver().adapters.find_by_fdo(device)); adapter)
        adapter->adapter().remove_owned_by(handle);
}

}  // namespace

// The handle is closed. Calls of other threads on it may still be under way.
NTSTATUS NTAPI dispatch_cleanup(PDEVICE_OBJECT device, PIRP irp) {
    remove_disks_of(device, irp);
    return driver().storport_cleanup(device, irp);
}

// The last of those calls has ended. One that made a disk, or became the owner of one, after the
// handle was closed came too late for the cleanup; nobody else would ever take that disk away.
NTSTATUS NTAPI dispatch_close(PDEVICE_OBJECT device, PIRP irp) {
    remove_disks_of(device, irp);
    return driver().storport_close(device, irp);
}

}  // namespace wnbd::driver
