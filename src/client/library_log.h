// SPDX-License-Identifier: LGPL-2.1-or-later
// What becomes of the library's log.
#pragma once

#include <cstdint>
#include <string>

namespace wnbd::client {

enum class LogUse : std::uint8_t {
    detail,   // nothing is shown; the last error becomes a part of the command's own line
    serving,  // shown as it comes; the last error is held back until it is known whether it ended
              // all
    debug,    // shown with all details, by the library itself
};

/// Process-wide. Forgets what is held back.
void use_library_log(LogUse use);

/// The bare text of an error that was logged last and not shown, or empty. It is forgotten then.
[[nodiscard]] std::string take_library_error();

}  // namespace wnbd::client
