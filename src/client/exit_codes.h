// SPDX-License-Identifier: LGPL-2.1-or-later
// Exit codes are Win32 errors everywhere, by the names that Windows has for them.
#pragma once

#include "client/abi_types.h"

#if !defined(_WIN32)

inline constexpr DWORD ERROR_SUCCESS = 0;
inline constexpr DWORD ERROR_WRITE_FAULT = 29;
inline constexpr DWORD ERROR_NOT_SUPPORTED = 50;
inline constexpr DWORD ERROR_INVALID_PARAMETER = 87;
inline constexpr DWORD ERROR_OPEN_FAILED = 110;
inline constexpr DWORD ERROR_BAD_PATHNAME = 161;
inline constexpr DWORD ERROR_INTERNAL_ERROR = 1359;
inline constexpr DWORD ERROR_NO_SYSTEM_RESOURCES = 1450;
inline constexpr DWORD ERROR_NOT_CONNECTED = 2250;

#endif
