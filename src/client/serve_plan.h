// SPDX-License-Identifier: LGPL-2.1-or-later
// What `serve` was asked to do, checked as far as it can be checked without files and sockets.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "client/arguments.h"
#include "iscsi/unit_description.h"

namespace wnbd::client {

/// What stands before a target's name that is not a whole iSCSI name. No domain's owner can have
/// given it away: `internal` is nobody's.
constexpr std::string_view target_prefix = "iqn.2026-11.internal.wnbd:";

struct ServedUnit {
    std::string backend;  // for backend::open_backend
    iscsi::UnitSettings settings;
};

struct ListenPlace {
    std::string host;
    std::uint16_t port = 0;
};

/// Where one side's CHAP secret is to be found.
struct ChapSource {
    std::string user;
    std::string secret_file;  // empty: the environment has it
};

struct ServePlan {
    std::string target_name;        // a whole, normalised iSCSI name
    std::vector<ServedUnit> units;  // by LUN; one at least
    std::vector<ListenPlace> listen;
    bool allow_anyone = false;
    std::optional<ChapSource> initiator;
    std::optional<ChapSource> self;
};

/// The refusal is one line; the exit code is always ERROR_INVALID_PARAMETER.
[[nodiscard]] Result<ServePlan, std::string> plan_serve(const Arguments& arguments);

/// `text` as a whole iSCSI name in lower case (RFC 7143, 4.2.7), behind target_prefix where it has
/// no type of its own; or a sentence that says why it can't be one.
[[nodiscard]] Result<std::string, std::string> target_name(std::string_view text);

/// "host", "host:port", "[v6]", "[v6]:port" or a bare IPv6 address.
[[nodiscard]] Result<ListenPlace, std::string> parse_listen_place(std::string_view text);

/// The bytes of an NAA identifier (SPC-4, 7.8.6.6) of eight or sixteen bytes.
[[nodiscard]] Result<std::string, std::string> parse_naa(std::string_view text);

}  // namespace wnbd::client
