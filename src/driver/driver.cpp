// SPDX-License-Identifier: LGPL-2.1-or-later
#include "driver/driver.h"

#include "driver/adapter_device.h"

namespace wnbd::driver {

void AdapterList::add(AdapterDevice& adapter) noexcept {
    const platform::SpinGuard guard(lock_);
    list_.push_back(adapter);
}

bool AdapterList::remove(AdapterDevice& adapter) noexcept {
    const platform::SpinGuard guard(lock_);
    for (AdapterDevice* member = list_.front(); member != nullptr; member = list_.after(*member)) {
        if (member != &adapter) continue;
        IntrusiveList<AdapterDevice>::remove(adapter);
        return true;
    }
    return false;
}

AdapterDevice* AdapterList::find_by_fdo(PDEVICE_OBJECT fdo) noexcept {
    const platform::SpinGuard guard(lock_);
    for (AdapterDevice* member = list_.front(); member != nullptr; member = list_.after(*member))
        if (member->fdo() == fdo) return member->users().acquire() ? member : nullptr;
    return nullptr;
}

AdapterDevice* AdapterList::at(unsigned index) noexcept {
    const platform::SpinGuard guard(lock_);
    AdapterDevice* member = list_.front();
    while (member != nullptr && index-- > 0)
        member = list_.after(*member);
    return member != nullptr && member->users().acquire() ? member : nullptr;
}

}  // namespace wnbd::driver
