// SPDX-License-Identifier: LGPL-2.1-or-later
// The one line that a failing command prints.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "client/fields.h"

namespace wnbd::client {

/// What was being done; the same error asks for different remedies.
enum class Task : std::uint8_t {
    other,      // needs the driver, concerns no disk
    disk,       // asks about a disk by name
    unmap,      // removes a disk by name
    resize,     // changes the size of a disk by name
    map,        // maps a disk and serves it
    install,    // installs the driver from an INF file
    uninstall,  // removes it
    option,     // reads or changes a driver option
    reset,      // restarts the adapter
};

struct FailureCause {
    /// What the library said about it, or empty.
    std::string detail{};
    Task task = Task::other;
    std::uint32_t code = 0;  // the Win32 error reported
    /// Why the adapter could not be opened, when that is the reason; otherwise 0.
    std::uint32_t adapter_code = 0;
};

/// What the user can do about it: a sentence, or empty when there is no good advice.
[[nodiscard]] std::string_view advice(const FailureCause& cause) noexcept;

/// `<what>: <system_text> (error <code>). <advice>`, without a newline. Trailing spaces, line ends
/// and full stops of `system_text` are dropped; other line ends become spaces.
[[nodiscard]] std::string failure_text(std::string_view what, std::string_view system_text,
                                       const FailureCause& cause);

/// The same for JSON: Error, Reason, Code, Details, Advice; null for what is not known.
[[nodiscard]] Record failure_record(std::string_view what, std::string_view system_text,
                                    const FailureCause& cause);

/// A refusal in words of our own, in the same form.
[[nodiscard]] Record refusal_record(std::string_view text, std::uint32_t code,
                                    std::string_view remedy);

}  // namespace wnbd::client
