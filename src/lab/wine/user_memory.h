// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <cstddef>

namespace wnbd::lab::wine {

/// Host::copy_user: through the requestor of the IRP that this thread works on.
bool copy_user(void* user, void* kernel, std::size_t bytes, bool to_user);

}  // namespace wnbd::lab::wine
