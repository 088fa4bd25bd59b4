// SPDX-License-Identifier: LGPL-2.1-or-later
// What there is once per loaded driver: options, their store, the adapters, and the entry points of
// Storport's that ours stand in front of.
#pragma once

#include <cstddef>
#include <new>

#include "base/intrusive_list.h"
#include "driver/ddk/nt.h"
#include "driver/registry_store.h"
#include "engine/options.h"
#include "engine/platform.h"

namespace wnbd::driver {

class AdapterDevice;

/// The adapters that exist, for code that is handed a device object. An adapter stays while
/// somebody holds a reference to it.
class AdapterList {
  public:
    void add(AdapterDevice& adapter) noexcept;
    /// False when it was not in the list.
    bool remove(AdapterDevice& adapter) noexcept;

    // The result is referenced: AdapterReference below releases it.
    [[nodiscard]] AdapterDevice* find_by_fdo(PDEVICE_OBJECT fdo) noexcept;
    /// The n-th adapter (0: the first), or nullptr. For walks that tolerate changes in between.
    [[nodiscard]] AdapterDevice* at(unsigned index) noexcept;

  private:
    platform::SpinLock lock_;  // guards list_; held for a walk over a handful of members
    IntrusiveList<AdapterDevice> list_;
};

struct Driver {
    PDRIVER_OBJECT object = nullptr;
    RegistryStore store;
    engine::Options options;
    AdapterList adapters;
    // Storport's own, set before ours are installed.
    PDRIVER_UNLOAD storport_unload = nullptr;
    PDRIVER_DISPATCH storport_pnp = nullptr;
    PDRIVER_DISPATCH storport_cleanup = nullptr;
    PDRIVER_DISPATCH storport_close = nullptr;
};

/// Where it lives. Built by DriverEntry: no run-time library runs constructors here.
// NOLINTNEXTLINE(bugprone-dynamic-static-initializers): constinit says that it is not
alignas(Driver) extern constinit std::byte driver_storage[sizeof(Driver)];

/// Valid from DriverEntry on.
[[nodiscard]] inline Driver& driver() noexcept {
    return *std::launder(reinterpret_cast<Driver*>(driver_storage));
}

}  // namespace wnbd::driver
