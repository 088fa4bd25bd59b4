// SPDX-License-Identifier: LGPL-2.1-or-later
// What mingw's DDK headers lack of Event Tracing for Windows, and the fields of events.
#pragma once

#include <cstddef>

#include "driver/ddk/kernel.h"

static_assert(sizeof(EVENT_DESCRIPTOR) == 16);
static_assert(sizeof(EVENT_DATA_DESCRIPTOR) == 16);

// The low byte of EVENT_DATA_DESCRIPTOR::Reserved.
inline constexpr UCHAR EVENT_DATA_DESCRIPTOR_TYPE_NONE = 0;
inline constexpr UCHAR EVENT_DATA_DESCRIPTOR_TYPE_EVENT_METADATA = 1;
inline constexpr UCHAR EVENT_DATA_DESCRIPTOR_TYPE_PROVIDER_METADATA = 2;

enum EVENT_INFO_CLASS : int { EventProviderSetTraits = 2 };

/// Where a self-describing event says that it is one.
inline constexpr UCHAR WINEVENT_CHANNEL_TRACELOGGING = 11;

extern "C" {
NTKERNELAPI NTSTATUS NTAPI EtwSetInformation(REGHANDLE handle, EVENT_INFO_CLASS information,
                                             PVOID data, ULONG bytes);
}

namespace wnbd::driver {

/// A field of an event; what it points to must stay until the event is written.
inline EVENT_DATA_DESCRIPTOR bytes_data(const void* data, std::size_t bytes,
                                        UCHAR type = EVENT_DATA_DESCRIPTOR_TYPE_NONE) noexcept {
    return {reinterpret_cast<ULONGLONG>(data), static_cast<ULONG>(bytes), type};
}

template <typename T>
EVENT_DATA_DESCRIPTOR value_data(const T& value) noexcept {
    return bytes_data(&value, sizeof value);
}

/// A string goes with its terminator.
template <typename Character>
EVENT_DATA_DESCRIPTOR text_data(const Character* text) noexcept {
    std::size_t length = 0;
    while (text[length] != 0)
        ++length;
    return bytes_data(text, (length + 1) * sizeof(Character));
}

}  // namespace wnbd::driver
