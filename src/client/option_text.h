// SPDX-License-Identifier: LGPL-2.1-or-later
// The output of list-opt and get-opt.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "client/abi_types.h"
#include "client/arguments.h"

namespace wnbd::client {

[[nodiscard]] std::string option_list_text(std::span<const WNBD_OPTION> options,
                                           OutputFormat format);

/// `name` is printed as it was typed.
[[nodiscard]] std::string option_text(std::string_view name, const WNBD_OPTION_VALUE& value,
                                      OutputFormat format);

}  // namespace wnbd::client
