// SPDX-License-Identifier: LGPL-2.1-or-later
// What a target is told when it is made.
#pragma once

#include <cstdint>
#include <optional>
#include <string>

#include "iscsi/protocol.h"

namespace wnbd::iscsi {

/// All portals are in one group (RFC 7143, 13.9), so that a target's port has one name.
constexpr std::uint16_t portal_group_tag = 1;

/// One side's CHAP name and secret (RFC 7143, 12.1.3).
struct Credentials {
    std::string name;    // at most 255 bytes, none of them a control character
    std::string secret;  // 12 bytes at least, by 12.1.3's MUST of 96 bits
};

/// Constant while the target lives. Lengths in bytes.
struct TargetSettings {
    std::string name;   // iqn...., normalised (RFC 7143, 4.2.7)
    std::string alias;  // may be empty
    /// What an initiator must know; without it no authentication is asked for.
    std::optional<Credentials> initiator;
    /// What the target proves when an initiator asks for it (mutual CHAP).
    std::optional<Credentials> self;
    std::uint32_t max_receive_segment = 256U << 10;  // MaxRecvDataSegmentLength we declare
    std::uint32_t max_burst = 1U << 20;
    std::uint32_t first_burst = 256U << 10;
    std::uint32_t max_outstanding_r2t = 8;
    std::uint32_t command_window = 128;       // commands an initiator may have queued
    std::uint32_t nop_interval_seconds = 30;  // a silent initiator is asked; 0: never
    /// And dropped without an answer; so is who does not read the end of a connection.
    std::uint32_t nop_timeout_seconds = 30;
    std::uint32_t login_timeout_seconds = 15;
    std::uint32_t sessions_max = 128;                     // at most 256, discovery included
    std::size_t buffer_bytes_max = std::size_t{1} << 30;  // for all commands' data together
};

}  // namespace wnbd::iscsi
