// SPDX-License-Identifier: LGPL-2.1-or-later
// What is said on a driverless disk's control pipe: one line asks, one line of JSON answers. Both
// ends check what they read as if a stranger had written it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "base/result.h"
#include "client/abi_types.h"

namespace wnbd::client {

/// Bytes of a line with its newline.
constexpr std::size_t control_request_max = 64;
constexpr std::size_t control_answer_max = 32768;

enum class ControlRequest : std::uint8_t {
    show,         // the disk's properties
    stats,        // its counters
    remove_soft,  // asks Windows once to let the disk go
    remove_hard,  // takes it away, in use or not
};

/// `code` is a Win32 error, or one of the initiator's; with 0 the part that was asked for is there.
struct ControlAnswer {
    std::uint32_t code = 0;
    std::string text{};  // why `code` is not 0; may be empty
    std::optional<WNBD_CONNECTION_INFO> disk{};
    /// Time stamps on the clock of GetTickCount64, in 100 ns.
    std::optional<WNBD_DRV_STATS> stats{};
};

/// The line with its newline.
[[nodiscard]] std::string control_line(ControlRequest request);

/// `line` without its newline. Empty for anything that control_line does not make.
[[nodiscard]] std::optional<ControlRequest> parse_control_line(std::string_view line);

/// The line with its newline. Bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string control_answer_line(const ControlAnswer& answer);

/// `line` without its newline. The error is one line. Every field is there, of its type and in its
/// range, and texts fit their arrays, or nothing is taken.
[[nodiscard]] Result<ControlAnswer, std::string> parse_control_answer(std::string_view line);

}  // namespace wnbd::client
