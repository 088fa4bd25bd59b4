// SPDX-License-Identifier: LGPL-2.1-or-later
// A registry in memory, enough for a driver's parameters.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace wnbd::lab::process {

/// Sets a value as a tool outside the driver would; creates the key. `type` is a REG_* number.
void registry_set(const std::wstring& key, const std::wstring& name, std::uint32_t type,
                  const void* data, std::size_t bytes);
/// False if there is no such value.
bool registry_get(const std::wstring& key, const std::wstring& name, std::uint32_t& type,
                  std::vector<std::uint8_t>& data);
/// Forgets everything; no key may be open.
void registry_clear();
/// Reports handles that were not closed.
void check_registry_balance();

}  // namespace wnbd::lab::process
