// SPDX-License-Identifier: LGPL-2.1-or-later
// What the exerciser says, for whoever drives it.
#pragma once

#include <cstdio>
#include <nlohmann/json.hpp>
#include <string>

#include "tests/interop/exercise/stamp.h"

namespace wnbd::test {

/// One object, one line, at once.
inline void print_line(const nlohmann::json& object) {
    const auto text = object.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
    std::printf("%s\n", text.c_str());
    std::fflush(stdout);
}

inline std::string describe(const StampFormat::Seen& seen) {
    if (seen.kind == StampFormat::Kind::zeroes) return "zeroes";
    if (seen.kind == StampFormat::Kind::damaged) return "damaged bytes";
    return "write " + std::to_string(seen.stamp.sequence) + " of writer " +
           std::to_string(seen.stamp.writer) + " to block " + std::to_string(seen.stamp.block);
}

}  // namespace wnbd::test
