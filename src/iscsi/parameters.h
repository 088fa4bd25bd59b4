// SPDX-License-Identifier: LGPL-2.1-or-later
// What a login agrees upon.
#pragma once

#include <cstdint>
#include <string>

#include "iscsi/protocol.h"

namespace wnbd::iscsi {

/// What both sides have agreed upon; until then the defaults of RFC 7143, 13. Lengths in bytes.
struct Parameters {
    bool discovery = false;  // SessionType
    std::string initiator_name;
    std::string initiator_alias;
    std::string target_name;     // empty in a discovery session that names none
    bool header_digest = false;  // CRC32C
    bool data_digest = false;
    bool initial_r2t = true;
    bool immediate_data = true;
    std::uint32_t max_send_segment = default_segment_length;     // what the initiator receives
    std::uint32_t max_receive_segment = default_segment_length;  // what we have declared
    std::uint32_t max_burst = 262144;
    std::uint32_t first_burst = 65536;  // never above max_burst once agreed
    std::uint32_t max_outstanding_r2t = 1;
};

}  // namespace wnbd::iscsi
