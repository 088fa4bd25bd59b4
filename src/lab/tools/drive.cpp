// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/tools/drive.h"

#include <new>

namespace wnbd::disktool {

Win32Failure::Win32Failure(const std::string& what, DWORD error)
    : std::runtime_error(what + ": error " + std::to_string(error)), error_(error) {}

Drive::Drive(unsigned number, const OpenMode& mode) {
    const std::string path = "\\\\.\\PhysicalDrive" + std::to_string(number);
    DWORD flags = 0;
    if (mode.unbuffered) flags |= FILE_FLAG_NO_BUFFERING;
    if (mode.write_through) flags |= FILE_FLAG_WRITE_THROUGH;
    if (mode.overlapped) flags |= FILE_FLAG_OVERLAPPED;
    handle_ =
        CreateFileA(path.c_str(), GENERIC_READ | (mode.write ? GENERIC_WRITE : 0),
                    FILE_SHARE_READ | FILE_SHARE_WRITE, nullptr, OPEN_EXISTING, flags, nullptr);
    if (handle_ == INVALID_HANDLE_VALUE) throw Win32Failure("can't open " + path);
}

Drive::~Drive() {
    CloseHandle(handle_);
}

std::uint64_t Drive::size() const {
    GET_LENGTH_INFORMATION length{};
    control(IOCTL_DISK_GET_LENGTH_INFO, nullptr, 0, &length, sizeof length, "GET_LENGTH_INFO");
    return static_cast<std::uint64_t>(length.Length.QuadPart);
}

void Drive::flush() const {
    if (!FlushFileBuffers(handle_)) throw Win32Failure("FlushFileBuffers");
}

DWORD Drive::control(DWORD code, const void* in, DWORD in_length, void* out, DWORD out_length,
                     const char* name) const {
    DWORD returned = 0;
    if (!DeviceIoControl(handle_, code, const_cast<void*>(in), in_length, out, out_length,
                         &returned, nullptr))
        throw Win32Failure(name);
    return returned;
}

AlignedBuffer allocate_aligned(std::size_t bytes) {
    void* const memory = VirtualAlloc(nullptr, bytes, MEM_RESERVE | MEM_COMMIT, PAGE_READWRITE);
    if (memory == nullptr) throw std::bad_alloc();
    return AlignedBuffer(static_cast<std::uint8_t*>(memory));
}

}  // namespace wnbd::disktool
