// SPDX-License-Identifier: LGPL-2.1-or-later
// Who objects to a removal, in words.
#pragma once

namespace wnbd::libwnbd {

/// What a PNP_VETO_TYPE means, to be followed by the objector's name; never null, any value is
/// taken.
[[nodiscard]] const char* veto_text(int veto_type) noexcept;

}  // namespace wnbd::libwnbd
