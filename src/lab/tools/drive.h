// SPDX-License-Identifier: LGPL-2.1-or-later
// An open \\.\PhysicalDriveN.
#pragma once

// clang-format off: the second needs the first
#include <windows.h>
#include <winioctl.h>
// clang-format on

#include <cstdint>
#include <memory>
#include <stdexcept>
#include <string>

namespace wnbd::disktool {

/// What failed, and the Win32 error: ends the program with that exit code.
class Win32Failure : public std::runtime_error {
  public:
    Win32Failure(const std::string& what, DWORD error);
    explicit Win32Failure(const std::string& what) : Win32Failure(what, GetLastError()) {}
    [[nodiscard]] DWORD error() const noexcept { return error_; }

  private:
    DWORD error_;
};

struct OpenMode {
    bool write = false;
    bool unbuffered = false;     // FILE_FLAG_NO_BUFFERING
    bool write_through = false;  // FILE_FLAG_WRITE_THROUGH
    bool overlapped = false;
};

class Drive {
  public:
    Drive(unsigned number, const OpenMode& mode);
    Drive(const Drive&) = delete;
    Drive& operator=(const Drive&) = delete;
    ~Drive();

    [[nodiscard]] HANDLE handle() const noexcept { return handle_; }
    [[nodiscard]] std::uint64_t size() const;  // bytes
    void flush() const;
    /// DeviceIoControl that must succeed; returns the bytes it gave.
    DWORD control(DWORD code, const void* in, DWORD in_length, void* out, DWORD out_length,
                  const char* name) const;

  private:
    HANDLE handle_;
};

/// Memory aligned for unbuffered I/O.
struct VirtualFreeDeleter {
    void operator()(void* memory) const noexcept { VirtualFree(memory, 0, MEM_RELEASE); }
};
using AlignedBuffer = std::unique_ptr<std::uint8_t, VirtualFreeDeleter>;
[[nodiscard]] AlignedBuffer allocate_aligned(std::size_t bytes);

}  // namespace wnbd::disktool
