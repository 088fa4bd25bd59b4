// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/session.h"

#include <atomic>

namespace wnbd::client {
namespace {

std::atomic<bool> shell_runs{false};

}  // namespace

bool in_shell() noexcept {
    return shell_runs.load(std::memory_order_relaxed);
}

void enter_shell() noexcept {
    shell_runs.store(true, std::memory_order_relaxed);
}

}  // namespace wnbd::client
