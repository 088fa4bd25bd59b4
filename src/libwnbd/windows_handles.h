// SPDX-License-Identifier: LGPL-2.1-or-later
// Owners of what Windows hands out, and the border that no exception crosses.
#pragma once

#include <new>
#include <utility>

#include "wnbd.h"

namespace wnbd::libwnbd {

class UniqueHandle {
  public:
    UniqueHandle() = default;
    explicit UniqueHandle(HANDLE handle) noexcept : handle_(handle) {}
    UniqueHandle(UniqueHandle&& other) noexcept : handle_(other.release()) {}
    UniqueHandle& operator=(UniqueHandle&& other) noexcept {
        std::swap(handle_, other.handle_);
        return *this;
    }
    ~UniqueHandle() {
        if (valid()) CloseHandle(handle_);
    }

    [[nodiscard]] bool valid() const noexcept {
        return handle_ != nullptr && handle_ != INVALID_HANDLE_VALUE;
    }
    [[nodiscard]] HANDLE get() const noexcept { return handle_; }
    HANDLE release() noexcept { return std::exchange(handle_, nullptr); }

  private:
    HANDLE handle_ = nullptr;
};

/// A SetupAPI device information set.
class DeviceSet {
  public:
    explicit DeviceSet(HDEVINFO set) noexcept : set_(set) {}
    DeviceSet(const DeviceSet&) = delete;
    DeviceSet& operator=(const DeviceSet&) = delete;
    ~DeviceSet() {
        if (valid()) SetupDiDestroyDeviceInfoList(set_);
    }

    [[nodiscard]] bool valid() const noexcept { return set_ != INVALID_HANDLE_VALUE; }
    [[nodiscard]] HDEVINFO get() const noexcept { return set_; }

  private:
    HDEVINFO set_;
};

/// GetLastError, for calls that have failed: never success.
[[nodiscard]] inline DWORD last_error() noexcept {
    const DWORD error = GetLastError();
    return error == ERROR_SUCCESS ? ERROR_GEN_FAILURE : error;
}

/// Runs the body of an exported function. Only memory can run out in there.
template <typename Body>
DWORD guarded(Body&& body) noexcept {
    try {
        return body();
    } catch (const std::bad_alloc&) {
        return ERROR_NOT_ENOUGH_MEMORY;
    } catch (...) {
        return ERROR_INTERNAL_ERROR;
    }
}

}  // namespace wnbd::libwnbd
