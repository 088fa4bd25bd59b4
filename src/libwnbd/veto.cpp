// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/veto.h"

#include <array>
#include <cstddef>

namespace wnbd::libwnbd {

const char* veto_text(int veto_type) noexcept {
    // By PNP_VETO_TYPE, cfg.h.
    constexpr std::array<const char*, 14> texts = {
        "an unknown objector",
        "a device without Plug and Play",
        "a program that is closing",
        "the program",
        "the service",
        "an open handle or file on",
        "the device",
        "the driver",
        "a device that cannot do it,",
        "a lack of power for",
        "a device that cannot be disabled,",
        "the driver without Plug and Play",
        "missing rights on",
        "a removal under way of",
    };
    const auto index = static_cast<std::size_t>(veto_type);
    return veto_type >= 0 && index < texts.size() ? texts[index] : texts[0];
}

}  // namespace wnbd::libwnbd
