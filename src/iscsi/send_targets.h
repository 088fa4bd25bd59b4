// SPDX-License-Identifier: LGPL-2.1-or-later
// Text requests of the full feature phase: SendTargets (RFC 7143, appendix C) and what else may be
// said there.
#pragma once

#include <span>
#include <string>
#include <string_view>

#include "base/result.h"
#include "iscsi/parameters.h"
#include "iscsi/target_settings.h"
#include "iscsi/text.h"

namespace wnbd::iscsi {

/// "address:port" as TargetAddress has it, with our portal group: IPv6 addresses in brackets.
[[nodiscard]] std::string target_address(std::string_view host, std::uint16_t port);

/// Answers a whole text (all its PDUs, put together with TextInput): the text of the response, at
/// most default_segment_length bytes, or why it is a protocol error, as one line. `addresses` are
/// where the target is found, as target_address() makes them. MaxRecvDataSegmentLength and
/// InitiatorAlias change `parameters`. May throw std::bad_alloc.
[[nodiscard]] Result<std::string, std::string> answer_text(std::string_view text,
                                                           const TargetSettings& settings,
                                                           std::span<const std::string> addresses,
                                                           Parameters& parameters);

}  // namespace wnbd::iscsi
