// SPDX-License-Identifier: LGPL-2.1-or-later
// From a user's text to a backend.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "backend/backend.h"
#include "base/result.h"

namespace wnbd::backend {

/// Opens what the text names; the error is one line that says what failed.
///   nbd://host[:port]/export, nbd+unix:///export?socket=/path
///   file:PATH[?size=BYTES&readonly=1]   the path is taken as it stands, nothing is decoded; what
///                                       follows its last '?' are options
///   memory:SIZE
/// Sizes take the suffixes K, M, G and T (powers of 1024).
[[nodiscard]] Result<std::unique_ptr<Backend>, std::string> open_backend(std::string_view text);

/// Reads a size in bytes, 1 to 2^63-1: "4096", "64M".
[[nodiscard]] Result<std::uint64_t, std::string> parse_size(std::string_view text);

}  // namespace wnbd::backend
