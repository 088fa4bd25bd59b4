// SPDX-License-Identifier: LGPL-2.1-or-later
// Persistent option values: REG_QWORD values of the driver's persistent-state key.
#pragma once

#include "driver/ddk/nt.h"
#include "engine/options.h"

namespace wnbd::driver {

class RegistryStore final : public engine::OptionStore {
  public:
    /// Opens the key. When that fails the store stays usable: each operation gives the reason.
    /// PASSIVE_LEVEL.
    void open(PDRIVER_OBJECT driver) noexcept;
    void close() noexcept;
    [[nodiscard]] NTSTATUS status() const noexcept { return status_; }

    Result<std::int64_t, nt::Status> read(const WCHAR* name) noexcept override;
    nt::Status write(const WCHAR* name, std::int64_t value) noexcept override;
    nt::Status erase(const WCHAR* name) noexcept override;
    /// Logs it.
    void ignored(const char* name, nt::Status why) noexcept override;

  private:
    HANDLE key_ = nullptr;
    NTSTATUS status_ = STATUS_DEVICE_NOT_READY;  // not opened yet
};

}  // namespace wnbd::driver
