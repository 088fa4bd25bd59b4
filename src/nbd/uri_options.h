// SPDX-License-Identifier: LGPL-2.1-or-later
// From what a URI says to how a client connects.
#pragma once

#include "nbd/client_options.h"
#include "nbd/uri.h"

namespace wnbd::nbd {

/// With ClientOptions' defaults for what the URI leaves open. Looks into the folder of
/// certificates for what is there.
[[nodiscard]] ClientOptions options_of(const Uri& uri);

}  // namespace wnbd::nbd
