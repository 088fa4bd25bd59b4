// SPDX-License-Identifier: LGPL-2.1-or-later
// CHAP secrets, from where other users do not see them: a command line they would.
#pragma once

#include <optional>
#include <string>

#include "base/result.h"
#include "client/serve_plan.h"
#include "iscsi/target_settings.h"

namespace wnbd::client {

/// What initiators prove, and what the target proves to them.
struct ChapCredentials {
    std::optional<iscsi::Credentials> initiator;
    std::optional<iscsi::Credentials> self;
};

/// Reads the secrets that a plan asks for, from its files or from the environment. The error is one
/// line that says what to do, without anything of a secret.
[[nodiscard]] Result<ChapCredentials, std::string> read_credentials(const ServePlan& plan);

/// A remark about secrets that some initiators don't take, or empty.
[[nodiscard]] std::string remark_on(const ChapCredentials& credentials);

}  // namespace wnbd::client
