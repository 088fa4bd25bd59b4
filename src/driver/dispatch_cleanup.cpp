// SPDX-License-Identifier: LGPL-2.1-or-later
// A handle of the adapter goes, by CloseHandle or with its process: so do the disks it owns. This
// is how the death of a serving process is noticed, whatever its threads were doing.
#include "driver/adapter_device.h"
#include "driver/entry_points.h"

namespace wnbd::driver {

NTSTATUS NTAPI dispatch_cleanup(PDEVICE_OBJECT device, PIRP irp) {
    const PFILE_OBJECT handle = IoGetCurrentIrpStackLocation(irp)->FileObject;
    if (const AdapterReference adapter(driver().adapters.find_by_fdo(device)); adapter)
        adapter->adapter().remove_owned_by(handle);
    return driver().storport_cleanup(device, irp);
}

}  // namespace wnbd::driver
