// SPDX-License-Identifier: LGPL-2.1-or-later
// Replies of unknown length: a head with ElementSize and Count, then the elements.
#pragma once

#include <cstddef>

#include "libwnbd/device_control.h"

namespace wnbd::libwnbd {

/// Runs a listing command by the library's convention: *buffer_size holds the bytes of `list` and
/// receives those used, or, when they do not suffice, those needed; the result is 0 either way. A
/// list that did not fit says Count 0, if it has room for its head.
[[nodiscard]] DWORD ask_list_bytes(HANDLE adapter, std::span<const std::byte> command,
                                   std::byte* list, PDWORD buffer_size,
                                   LPOVERLAPPED overlapped) noexcept;

template <typename Command, typename List>
[[nodiscard]] DWORD ask_list(HANDLE adapter, const Command& command, List* list, PDWORD buffer_size,
                             LPOVERLAPPED overlapped) noexcept {
    static_assert(offsetof(List, ElementSize) == 0 && offsetof(List, Count) == sizeof(UINT32));
    return ask_list_bytes(adapter, std::as_bytes(std::span(&command, 1)),
                          reinterpret_cast<std::byte*>(list), buffer_size, overlapped);
}

}  // namespace wnbd::libwnbd
