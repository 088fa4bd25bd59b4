// SPDX-License-Identifier: LGPL-2.1-or-later
// Kernel objects of the one-process host: drivers, devices and their stacks, reference counts.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "driver/ddk/kernel.h"

namespace wnbd::lab::process {

/// Counts references to an object that lives in pool memory. `destroy` runs when the last one goes.
void register_object(void* object, void (*destroy)(void* object));
void reference_object(void* object);
void dereference_object(void* object);
/// Current count, 0 if unknown.
long object_references(void* object);

/// A driver object with nothing in it but its name; `service` names its registry key.
/// All dispatch routines refuse with STATUS_INVALID_DEVICE_REQUEST until the driver sets its own.
PDRIVER_OBJECT create_driver_object(const std::wstring& service, void* image_base,
                                    std::size_t image_size);
void free_driver_object(PDRIVER_OBJECT driver);
/// `\Registry\Machine\System\CurrentControlSet\Services\<service>` of a driver object made above.
PUNICODE_STRING registry_path_of(PDRIVER_OBJECT driver);
std::wstring service_of(PDRIVER_OBJECT driver);

/// The highest device of the stack, without a reference.
PDEVICE_OBJECT top_of_stack(PDEVICE_OBJECT device);
/// The device a name or a symbolic link stands for, or nullptr.
PDEVICE_OBJECT find_device(const std::wstring& name);

/// Reports names and links that still exist.
void check_object_balance();

}  // namespace wnbd::lab::process
