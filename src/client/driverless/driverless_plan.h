// SPDX-License-Identifier: LGPL-2.1-or-later
// From what `map --driverless` was asked to the target that it serves.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

#include "client/map_plan.h"
#include "client/serve_plan.h"

namespace wnbd::client {

constexpr std::size_t driverless_random_length = 16;
using DriverlessRandom = std::array<std::uint8_t, driverless_random_length>;

/// A target of this process, under a name that no other has or will have: its initiator may
/// remember it for longer than it lives. Listens on the loopback, at whichever port is free.
[[nodiscard]] ServePlan driverless_plan(const MapPlan& plan, std::uint32_t pid,
                                        const DriverlessRandom& random);

/// The process a target's name tells; nothing for any other target's name.
[[nodiscard]] std::optional<std::uint32_t> driverless_process(std::string_view target_name);

/// 16 characters, which is all that Windows's initiator takes, with six random bits each: 96 bits
/// in all, which is what a CHAP secret must have (RFC 7143, 9.2.1).
[[nodiscard]] std::string chap_secret_text(const DriverlessRandom& random);

/// The export of an NBD server as backend::open_backend reads it.
[[nodiscard]] std::string nbd_uri_text(std::string_view host, std::uint32_t port,
                                       std::string_view export_name);

}  // namespace wnbd::client
