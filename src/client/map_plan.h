// SPDX-License-Identifier: LGPL-2.1-or-later
// What `map` was asked to do, checked as far as it can be checked without the driver and the
// server.
#pragma once

#include <cstdint>
#include <string>

#include "base/result.h"
#include "client/abi_types.h"
#include "client/arguments.h"

namespace wnbd::client {

struct MapPlan {
    WNBD_PROPERTIES properties{};
    /// For WnbdRunBackendDaemon; empty: an NBD server that the properties tell, for
    /// WnbdRunNbdDaemon.
    std::string backend_uri;
    /// Through Windows's iSCSI initiator, without the driver.
    bool driverless = false;
    /// A remark for the user about an option that has no effect here, or empty.
    std::string remark;
};

struct MapRefusal {
    std::uint32_t code;  // a Win32 error
    std::string text;    // one line
};

/// `pid` becomes the disk's owning process.
[[nodiscard]] Result<MapPlan, MapRefusal> plan_map(const Arguments& arguments, std::int32_t pid);

}  // namespace wnbd::client
