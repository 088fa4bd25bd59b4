// SPDX-License-Identifier: LGPL-2.1-or-later
// Whether commands are typed one a process, or all into one shell.
#pragma once

namespace wnbd::client {

/// True once `shell` runs.
[[nodiscard]] bool in_shell() noexcept;

void enter_shell() noexcept;

}  // namespace wnbd::client
