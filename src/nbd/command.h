// SPDX-License-Identifier: LGPL-2.1-or-later
// A command to a server and how it ends.
#pragma once

#include <cstdint>

#include "nbd/protocol.h"

namespace wnbd::nbd {

/// A run of bytes with what base:allocation says of it.
struct Extent {
    std::uint64_t length = 0;  // bytes
    std::uint32_t flags = 0;   // allocation_*
};

/// Where the answer to a block status goes. The caller's, like a read's buffer.
struct ExtentList {
    Extent* first = nullptr;
    std::uint32_t capacity = 0;
    std::uint32_t count = 0;  // at the end: from the command's offset on; may end before its range
};

/// One command as the caller gives it. Ranges may be larger than what the wire carries in one
/// request: the table sends them piece by piece.
struct Command {
    CommandType type = CommandType::read;
    std::uint16_t flags = 0;        // command_flag_*
    std::uint64_t offset = 0;       // bytes; 0 for a flush
    std::uint64_t length = 0;       // bytes; 0 for a flush
    std::uint8_t* data = nullptr;   // read: filled; write: sent, not changed; else unused
    void* cookie = nullptr;         // the caller's own
    ExtentList* extents = nullptr;  // block status only
};

/// True of commands that change the export's bytes.
[[nodiscard]] constexpr bool changes(CommandType type) noexcept {
    return type == CommandType::write || type == CommandType::trim ||
           type == CommandType::write_zeroes;
}

/// How a command ended.
struct Outcome {
    std::uint32_t error = 0;    // of the NBD protocol, 0: done
    bool disconnected = false;  // the connection went before the answer came, for good
};

}  // namespace wnbd::nbd
