// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads self-describing events (TraceLogging's format) as strictly as a decoder can: what does not
// add up to the byte is a fault.
#pragma once

#include <string>
#include <vector>

#include "lab/etw/tracing.h"

namespace wnbd::lab::etw {

struct Value {
    std::string name;
    UCHAR in_type = 0;
    UCHAR out_type = 0;
    std::string text;  // strings as they are, numbers in decimal
};

struct SelfDescribed {
    std::string provider;
    std::string name;
    std::vector<Value> values;
};

/// The name in a provider's traits; false when the bytes are no traits.
[[nodiscard]] bool provider_name(const std::vector<std::uint8_t>& traits, std::string& name);
/// Fills `described`; gives what is wrong with the event, or an empty text.
[[nodiscard]] std::string describe(const Event& event, SelfDescribed& described);

}  // namespace wnbd::lab::etw
