// SPDX-License-Identifier: LGPL-2.1-or-later
// wnbd.h as C++ code includes it.
#include <type_traits>

#include "vendor.h"
#include "wnbd.h"

#ifndef WNBD_SHARED_H
#error "the include guard's name is part of the interface"
#endif

static_assert(std::is_same_v<PWNBD_CONNECTION_INFO_FLAGS, WNBD_CONNECTION_INFO_FLAGS>);
static_assert(
    std::is_same_v<decltype(&WnbdCreate),
                   DWORD (*)(const PWNBD_PROPERTIES, const PWNBD_INTERFACE, PVOID, PWNBD_DISK*)>);
static_assert(std::is_same_v<decltype(&WnbdGetAdapterDevInst), DWORD (*)(PDEVINST)>);
static_assert(std::is_same_v<decltype(WNBD_INTERFACE::Read), ReadFunc>);
static_assert(WNBD_HARDWAREID_LEN == 10);
static_assert(60000 % WNBD_DEFAULT_RM_TIMEOUT_MS == 0);
static_assert(sizeof(WNBD_PRODUCTNAME_STR) == 5);

// wnbd.h brings these.
static_assert(sizeof(SP_DEVINFO_DATA) > 0);
static_assert(std::is_same_v<CONFIGRET, DWORD>);

int main() {
    return WnbdLogLevelToStr(WnbdLogLevelTrace)[0] == 'T' ? 0 : 1;
}
