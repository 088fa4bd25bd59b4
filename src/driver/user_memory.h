// SPDX-License-Identifier: LGPL-2.1-or-later
// Memory of the process that calls: probed, locked, and mapped for exactly the length asked for.
#pragma once

#include "driver/ddk/nt.h"
#include "ioctl/control.h"

namespace wnbd::driver {

class UserMemory final : public ioctl::UserMemory {
  public:
    Result<Mapping, nt::Status> map(void* address, std::size_t length,
                                    Access access) noexcept override;
    void unmap(const Mapping& mapping) noexcept override;
};

}  // namespace wnbd::driver
