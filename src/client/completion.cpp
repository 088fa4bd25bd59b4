// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/completion.h"

#include <span>
#include <string_view>

#include "client/command_table.h"

namespace wnbd::client {
namespace {

constexpr std::string_view head =
    R"(# Tab completion for wnbd-client, printed by `wnbd-client completion powershell`. For every session:
#     Add-Content $PROFILE 'wnbd-client completion powershell | Out-String | Invoke-Expression'
Register-ArgumentCompleter -Native -CommandName 'wnbd-client', 'wnbd-client.exe' -ScriptBlock {
    param($wordToComplete, $commandAst, $cursorPosition)
)";

// $commands and $common stand before it. Nothing that is offered makes PowerShell offer files.
constexpr std::string_view logic = R"(
    $client = $commandAst.CommandElements[0].Extent.Text.Trim('"', "'")
    $typed = $wordToComplete.Trim('"', "'")
    $words = @($commandAst.CommandElements | Select-Object -Skip 1 |
        Where-Object { $_.Extent.EndOffset -lt $cursorPosition } |
        ForEach-Object { $_.Extent.Text.Trim('"', "'") })

    $ask = {
        param($question)
        try { & $client $question --format json 2>$null | Out-String | ConvertFrom-Json } catch { }
    }
    $offer = {
        param($text, $tip, $kind, $before)
        if (-not $text.StartsWith($typed.Substring($before.Length), 'OrdinalIgnoreCase')) { return }
        $word = $before + $text
        if ($word -notmatch '^[\w\-.:/\\=]+$') { $word = "'" + $word.Replace("'", "''") + "'" }
        [System.Management.Automation.CompletionResult]::new($word, $text, $kind, $tip)
    }
    $offerValues = {
        param($option, $before)
        $values = switch ($option.Source) {
            'disk' { (& $ask 'list') | ForEach-Object { $_.InstanceName } }
            'option-name' { (& $ask 'list-opt') | ForEach-Object { $_.Name } }
            'option-value' {
                (& $ask 'list-opt') |
                    Where-Object { $_.Name -eq $given['--name'] -and $_.Value -is [bool] } |
                    ForEach-Object { 'true'; 'false' }
            }
            'command' { $commands | ForEach-Object { $_.Names[0] } }
            default { $option.Known }
        }
        foreach ($value in $values) { & $offer $value $option.Text 'ParameterValue' $before }
    }

    if ($words.Count -eq 0) {
        foreach ($command in $commands) {
            foreach ($name in $command.Names) { & $offer $name $command.Text 'Command' '' }
        }
        return
    }
    $command = $commands | Where-Object { $_.Names -ccontains $words[0] } | Select-Object -First 1
    if ($null -eq $command) { return }
    $options = @($command.Options) + $common
    $named = $options + @($command.Positionals)

    # What the words so far leave open: a value, or the next positional argument.
    $given = @{}
    $expected = $null
    $place = 0
    $dashes = $true
    foreach ($word in @($words | Select-Object -Skip 1)) {
        if ($null -ne $expected) {
            $given[$expected.Name] = $word
            $expected = $null
        } elseif ($dashes -and $word -eq '--') {
            $dashes = $false
        } elseif ($dashes -and $word.StartsWith('-')) {
            $expected = $named | Where-Object { $_.Takes -and $_.Name -ceq $word } | Select-Object -First 1
        } else {
            if ($place -lt $command.Positionals.Count) { $given[$command.Positionals[$place].Name] = $word }
            $place++
        }
    }

    if ($null -ne $expected) {
        & $offerValues $expected ''
    } elseif ($dashes -and $typed -match '^--[^=]+=') {
        $before = $Matches[0]
        $option = $named | Where-Object { $_.Takes -and $_.Name + '=' -ceq $before } | Select-Object -First 1
        if ($null -ne $option) { & $offerValues $option $before }
    } elseif ($dashes -and $typed.StartsWith('-')) {
        foreach ($option in $options) { & $offer $option.Name $option.Text 'ParameterName' '' }
    } elseif ($place -lt $command.Positionals.Count) {
        & $offerValues $command.Positionals[$place] ''
    } else {
        foreach ($option in $options) { & $offer $option.Name $option.Text 'ParameterName' '' }
    }
}
)";

/// A string literal in which nothing is special.
std::string literal(std::string_view text) {
    std::string quoted = "'";
    for (const char character : text) {
        if (character == '\'') quoted += '\'';
        quoted += character;
    }
    return quoted + "'";
}

std::string literals(std::span<const std::string_view> texts) {
    std::string list;
    for (const std::string_view text : texts)
        list += (list.empty() ? "" : ", ") + literal(text);
    return "@(" + list + ")";
}

std::string_view source_name(ValueSource source) {
    switch (source) {
        case ValueSource::disk: return "disk";
        case ValueSource::option_name: return "option-name";
        case ValueSource::option_value: return "option-value";
        case ValueSource::command: return "command";
        case ValueSource::anywhere:
        case ValueSource::file:
        case ValueSource::completer: break;
    }
    return "";
}

std::string option_table(const OptionSpec& option) {
    return "@{ Name = " + literal("--" + std::string(option.name)) +
           "; Takes = " + (option.kind == ValueKind::none ? "$false" : "$true") +
           "; Source = " + literal(source_name(option.source)) +
           "; Known = " + literals(known_values(option)) +
           "; Text = " + literal(option.description) + " }";
}

std::string option_tables(std::span<const OptionSpec> options, std::string_view indent) {
    if (options.empty()) return "@()";
    std::string tables = "@(\n";
    for (const OptionSpec& option : options)
        tables += std::string(indent) + "    " + option_table(option) + "\n";
    return tables + std::string(indent) + ")";
}

std::string command_table_text() {
    std::string text = "    $commands = @(\n";
    for (const CommandSpec& command : commands()) {
        constexpr std::string_view indent = "            ";
        text += "        @{\n";
        text += std::string(indent) + "Names = " + literals(command.names) + "\n";
        text += std::string(indent) + "Text = " + literal(command.description) + "\n";
        text += std::string(indent) +
                "Positionals = " + option_tables(command.positionals, indent) + "\n";
        text += std::string(indent) + "Options = " + option_tables(command.options, indent) + "\n";
        text += "        }\n";
    }
    return text + "    )\n";
}

}  // namespace

std::string powershell_completion() {
    return std::string(head) + "    $common = " + option_tables(common_options(), "    ") + "\n" +
           command_table_text() + std::string(logic);
}

}  // namespace wnbd::client
