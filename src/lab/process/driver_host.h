// SPDX-License-Identifier: LGPL-2.1-or-later
// The one-process host: loads a driver's file, gives it a kernel, an adapter and users, and takes
// it all away again. One driver at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "driver/ddk/kernel.h"
#include "lab/process/file.h"
#include "lab/process/image.h"
#include "lab/process/pnp.h"

namespace wnbd::lab::process {

/// Gives the address of an export of another driver (storport.sys), or nullptr.
using ExportFinder = void* (*)(std::string_view module, std::string_view name);

class DriverHost {
  public:
    DriverHost() = default;
    ~DriverHost();
    DriverHost(const DriverHost&) = delete;
    DriverHost& operator=(const DriverHost&) = delete;

    /// Maps the file and calls DriverEntry. False: error() says why, and nothing is left.
    bool load(const std::string& path, const std::wstring& service, ExportFinder other_exports);
    /// Adds the root device and starts it. False: error().
    bool start_adapter(const std::wstring& instance_path = L"ROOT\\SCSIADAPTER\\0000");
    /// Removes the adapter; a veto gives false, and everything stays.
    bool stop_adapter(bool surprise = false);
    /// DriverUnload, then every balance is checked (leaks are violations), then the image goes.
    /// Scans and work items get `patience_ms` each to end first.
    void unload(std::uint32_t patience_ms = 10'000);

    [[nodiscard]] const std::string& error() const noexcept { return error_; }
    [[nodiscard]] PDEVICE_OBJECT adapter_pdo() const noexcept { return adapter_; }
    [[nodiscard]] PDRIVER_OBJECT driver() const noexcept { return driver_; }
    [[nodiscard]] const Image& image() const noexcept { return *image_; }

  private:
    std::unique_ptr<Image> image_;
    PDRIVER_OBJECT driver_ = nullptr;
    PDEVICE_OBJECT adapter_ = nullptr;
    std::string error_;
};

/// Prints the last violations' number and gives what the program must return: `code`, or 3 if rules
/// were broken.
int exit_code(int code);

}  // namespace wnbd::lab::process
