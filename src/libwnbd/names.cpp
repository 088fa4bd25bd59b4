// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/names.h"

#include <algorithm>
#include <cstring>

namespace wnbd::libwnbd {

NameFault copy_name(std::span<CHAR> to, const char* from) noexcept {
    std::ranges::fill(to, CHAR{0});
    if (from == nullptr) return NameFault::null;
    // The caller's string may be of any length: look no further than the array reaches.
    const void* const end = std::memchr(from, 0, to.size());
    if (end == nullptr) return NameFault::too_long;
    const auto length = static_cast<std::size_t>(static_cast<const char*>(end) - from);
    if (length == 0) return NameFault::empty;
    std::memcpy(to.data(), from, length);
    return NameFault::none;
}

bool is_terminated(std::span<const CHAR> field) noexcept {
    return std::ranges::find(field, CHAR{0}) != field.end();
}

const char* unterminated_field(const WNBD_PROPERTIES& properties) noexcept {
    if (!is_terminated(properties.InstanceName)) return "InstanceName";
    if (!is_terminated(properties.SerialNumber)) return "SerialNumber";
    if (!is_terminated(properties.Owner)) return "Owner";
    if (!is_terminated(properties.NbdProperties.Hostname)) return "NbdProperties.Hostname";
    if (!is_terminated(properties.NbdProperties.ExportName)) return "NbdProperties.ExportName";
    return nullptr;
}

}  // namespace wnbd::libwnbd
