// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstdint>

#include "engine/model/world.h"

namespace wnbd::engine::model {

struct Explored {
    std::uint64_t schedules = 0;  // different orders of all actions, from the start to rest
    std::uint64_t states = 0;     // different states they lead through
    std::uint64_t ends = 0;       // different states of rest
};

/// Performs a scenario's actions in every order there is, depth first, and checks each state on the
/// way. Where two ways meet in the same state, what follows is explored once and counted twice.
/// Ends the program with the actions that led there when a check fails.
[[nodiscard]] Explored explore(const Scenario& scenario);

}  // namespace wnbd::engine::model
