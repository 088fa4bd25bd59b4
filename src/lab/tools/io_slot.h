// SPDX-License-Identifier: LGPL-2.1-or-later
// One overlapped transfer of a block at a time, as the loads keep many of under way.
#pragma once

#include <windows.h>

#include <cstdint>

#include "lab/tools/drive.h"

namespace wnbd::disktool {

struct IoSlot {
    explicit IoSlot(std::uint32_t block_bytes)
        : buffer(allocate_aligned(block_bytes)), bytes(block_bytes) {
        overlapped.hEvent = CreateEventW(nullptr, TRUE, FALSE, nullptr);
    }
    ~IoSlot() { CloseHandle(overlapped.hEvent); }
    IoSlot(const IoSlot&) = delete;
    IoSlot& operator=(const IoSlot&) = delete;

    /// Starts to read or write `block`. False: GetLastError() says why not.
    bool begin(const Drive& drive) {
        const std::uint64_t offset = block * bytes;
        overlapped.Offset = static_cast<DWORD>(offset);
        overlapped.OffsetHigh = static_cast<DWORD>(offset >> 32);
        const BOOL done = writes
                              ? WriteFile(drive.handle(), buffer.get(), bytes, nullptr, &overlapped)
                              : ReadFile(drive.handle(), buffer.get(), bytes, nullptr, &overlapped);
        return done || GetLastError() == ERROR_IO_PENDING;
    }

    /// Waits for the end of what was begun; its error.
    DWORD finish(const Drive& drive) {
        DWORD moved = 0;
        if (!GetOverlappedResult(drive.handle(), &overlapped, &moved, TRUE)) return GetLastError();
        return moved == bytes ? ERROR_SUCCESS : ERROR_HANDLE_EOF;
    }

    OVERLAPPED overlapped{};
    AlignedBuffer buffer;
    const std::uint32_t bytes;
    std::uint64_t block = 0;
    bool writes = false;
    bool busy = false;
};

}  // namespace wnbd::disktool
