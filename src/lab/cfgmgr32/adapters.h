// SPDX-License-Identifier: LGPL-2.1-or-later
// The lab's adapters as the configuration manager's stand-in sees them: through their private
// ioctls.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <vector>

#include "lab/storport/control.h"

namespace wnbd::lab::cfgmgr {

inline constexpr unsigned kPortsMax = 8;

/// Ports whose adapter device exists.
std::vector<unsigned> ports();
/// The units of a port; empty where there is no adapter.
std::vector<control::UnitEntry> units(unsigned port);
/// kAnswer...; nothing when the adapter cannot be reached.
std::optional<std::uint32_t> remove_unit(unsigned port, const std::u16string& path);
std::optional<std::uint32_t> disable(unsigned port);
std::optional<std::uint32_t> enable(unsigned port);
bool surprise(unsigned port);
bool rescan(unsigned port);
bool start_trace(unsigned port, control::Trace trace);
bool stop_trace(unsigned port, control::Trace trace);
std::optional<control::State> state_of(unsigned port);
std::optional<control::Answer> send_reset(unsigned port, control::Reset reset);
/// True while the adapter is started (not disabled).
bool is_started(unsigned port);

}  // namespace wnbd::lab::cfgmgr
