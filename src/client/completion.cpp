// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/completion.h"

namespace wnbd::client {

std::string_view powershell_completion() noexcept {
    return R"(# Tab completion for wnbd-client, printed by `wnbd-client completion powershell`. For every session:
#     Add-Content $PROFILE 'wnbd-client completion powershell | Out-String | Invoke-Expression'
Register-ArgumentCompleter -Native -CommandName 'wnbd-client', 'wnbd-client.exe' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
    [Console]::OutputEncoding = [System.Text.UTF8Encoding]::new()
    $client = $commandAst.CommandElements[0].Extent.Text.Trim('"', "'")
    $length = $cursorPosition - $commandAst.Extent.StartOffset
    $env:WNBD_COMPLETION_LINE = $commandAst.Extent.Text.PadRight($length).Substring(0, $length)
    & $client completion powershell --candidates 2>$null | ForEach-Object {
        $fields = $_.Split("`t")
        [System.Management.Automation.CompletionResult]::new($fields[0], $fields[1], $fields[2], $fields[3])
    }
}
)";
}

}  // namespace wnbd::client
