// SPDX-License-Identifier: LGPL-2.1-or-later
// Wine's PnP manager takes the children of a device away on one thread while it walks them on
// another when the device itself is removed, without a lock. So that no test dies of that, a
// service IRP that made disks go (REMOVE, just before an uninstall) is completed after their
// devices are removed. Disks that come are not waited for: Windows does not either.
#include <algorithm>
#include <chrono>
#include <thread>

#include "lab/storport/devices.h"
#include "lab/storport/host.h"

namespace wnbd::lab {
namespace {

constexpr std::chrono::seconds kPatience{5};
constexpr std::chrono::milliseconds kPause{2};

thread_local bool bus_changed_by_this_thread = false;

/// Units that PnP knows and that do not answer any more. A scan under way counts as one.
bool departing(FunctionalDevice& device) {
    if (device.removals_due > 0) return true;
    const std::unique_lock no_scan(device.scan_mutex, std::try_to_lock);
    if (!no_scan) return true;
    if (!device.adapter) return false;
    std::vector<Address> known;
    {
        const std::lock_guard lock(device.units_mutex);
        for (const PhysicalDevice* unit : device.units)
            known.push_back(unit->identity.address);
    }
    return std::any_of(known.begin(), known.end(),
                       [&](Address address) { return !unit_answers(*device.adapter, address); });
}

}  // namespace

void note_bus_change() {
    bus_changed_by_this_thread = true;
}

void await_departures(FunctionalDevice& device) {
    if (!bus_changed_by_this_thread || !host().awaits_departures) return;
    bus_changed_by_this_thread = false;
    const auto end = std::chrono::steady_clock::now() + kPatience;
    while (departing(device) && std::chrono::steady_clock::now() < end)
        std::this_thread::sleep_for(kPause);
}

}  // namespace wnbd::lab
