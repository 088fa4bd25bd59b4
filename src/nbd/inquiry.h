// SPDX-License-Identifier: LGPL-2.1-or-later
// Questions to a server that no transmission follows.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "nbd/client_options.h"
#include "nbd/fault.h"
#include "nbd/handshake.h"

namespace wnbd::nbd {

struct Answers {
    std::vector<ListedExport> exports{};  // Goal::list
    std::vector<std::string> contexts{};  // Goal::list_contexts
};

/// Connects to the options' addresses in turn, until one has answered, asks and leaves; the fault
/// is the last one's. Blocks, for the options' times at most at each.
[[nodiscard]] Result<Answers, Fault> inquire(const ClientOptions& options, Goal goal);

}  // namespace wnbd::nbd
