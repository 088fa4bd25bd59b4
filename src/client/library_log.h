// SPDX-License-Identifier: LGPL-2.1-or-later
// What becomes of the library's log. In the shell, disks are served beside the commands: so each
// thread of ours says what is to become of the messages that its own calls make, and a command
// never takes another's error for its own.
#pragma once

#include <cstdint>
#include <string>

namespace wnbd::client {

enum class LogUse : std::uint8_t {
    detail,   // nothing is shown; the last error becomes a part of the command's own line
    serving,  // shown as it comes; the last error is held back until it is known whether it ended
              // all
    debug,    // shown with all details
};

/// For the calling thread, from here on. Forgets what is held back for it. Threads that never call
/// this are those of the library that serve a disk: their messages are shown as they come.
void use_library_log(LogUse use);

/// The bare text of an error that the calling thread's calls logged last and that was not shown, or
/// empty. It is forgotten then.
[[nodiscard]] std::string take_library_error();

/// The calling thread ends.
void leave_library_log();

}  // namespace wnbd::client
