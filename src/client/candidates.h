// SPDX-License-Identifier: LGPL-2.1-or-later
// What may stand where the cursor is, on a line of PowerShell: read from the command table, so that
// it knows what the parser knows.
#pragma once

#include <functional>
#include <string>
#include <string_view>
#include <vector>

namespace wnbd::client {

struct KnownOption {
    std::string name;
    bool is_switch = false;  // takes true and false
};

/// Asked only when a name is looked for; where the driver does not answer they give nothing.
struct KnownNames {
    std::function<std::vector<std::string>()> disks;
    std::function<std::vector<KnownOption>()> options;
};

struct PowershellWords {
    std::vector<std::string> complete;
    /// The one that the cursor is at: empty when a new one begins there.
    std::string typed;
};

/// A command's text up to the cursor, taken apart by PowerShell's rules: both kinds of quotes (and
/// their typographic relatives), doubled within, and the backtick.
[[nodiscard]] PowershellWords split_powershell(std::string_view text);

/// A line for each candidate, four fields with tabs between them: what is to be typed, what is
/// listed, a name of CompletionResultType, an explanation. `text` is the command's up to the
/// cursor. Nothing is offered where a file's name is to stand: PowerShell offers files then.
[[nodiscard]] std::string candidate_lines(std::string_view text, const KnownNames& names);

}  // namespace wnbd::client
