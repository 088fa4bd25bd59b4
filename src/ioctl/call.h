// SPDX-License-Identifier: LGPL-2.1-or-later
// Moving structures in and out of a call's buffer, each length checked against the whole structure.
#pragma once

#include <cstring>

#include "ioctl/control.h"

namespace wnbd::ioctl {

/// True when the input holds a whole T.
template <typename T>
[[nodiscard]] bool holds(const Call& call) noexcept {
    return call.buffer != nullptr && call.input_length >= sizeof(T);
}

/// True when the reply has room for a whole T.
template <typename T>
[[nodiscard]] bool takes(const Call& call) noexcept {
    return call.buffer != nullptr && call.output_length >= sizeof(T);
}

/// Copies the command out of the buffer, once; the caller has asked holds().
template <typename T>
void load(const Call& call, T& command) noexcept {
    std::memcpy(&command, call.buffer, sizeof command);
}

/// Puts the reply in place of the command; the caller has asked takes().
template <typename T>
[[nodiscard]] Completion reply(const Call& call, const T& structure) noexcept {
    std::memcpy(call.buffer, &structure, sizeof structure);
    return {nt::success, sizeof structure};
}

/// A name of a command's, terminated whatever came in.
template <std::size_t size>
void terminate(CHAR (&text)[size]) noexcept {
    text[size - 1] = '\0';
}

}  // namespace wnbd::ioctl
