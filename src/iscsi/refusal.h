// SPDX-License-Identifier: LGPL-2.1-or-later
// Why a login ends.
#pragma once

#include <string>

#include "iscsi/protocol.h"

namespace wnbd::iscsi {

/// Nothing, or a reason. The reason goes to the log: one line without a secret.
struct Refusal {
    LoginStatus status = LoginStatus::success;
    std::string reason{};
    /// The connection is closed without an answer.
    bool silent = false;

    [[nodiscard]] explicit operator bool() const noexcept { return status != LoginStatus::success; }
};

[[nodiscard]] inline Refusal refusal(LoginStatus status, std::string reason) {
    return {.status = status, .reason = std::move(reason), .silent = false};
}

}  // namespace wnbd::iscsi
