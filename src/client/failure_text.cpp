// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/failure_text.h"

#include <algorithm>
#include <array>
#include <cstdio>

namespace wnbd::client {
namespace {

constexpr std::uint32_t error_file_not_found = 2;
constexpr std::uint32_t error_access_denied = 5;
constexpr std::uint32_t error_no_more_items = 259;

struct Rule {
    Task task;
    std::uint32_t code;
    std::string_view text;
};

constexpr std::string_view no_such_disk = "`wnbd-client list` shows the disks there are.";
constexpr std::string_view name_too_long = "Names have at most 255 bytes.";

constexpr std::string_view elevate = "Run it from an elevated prompt (\"Run as administrator\").";
constexpr std::string_view not_installed =
    "The WNBD driver is not installed: run `wnbd-client install-driver <wnbd.inf>` as "
    "administrator.";

constexpr std::string_view trust_signer =
    "Add the signer's certificate (wnbd-test.cer of a test build) to the machine's stores Root and "
    "TrustedPublisher.";
constexpr std::string_view package_changed =
    "The files are not those that were signed: take wnbd.inf, wnbd.sys and wnbd.cat of one "
    "package.";

constexpr auto rules = std::to_array<Rule>({
    {Task::disk, 2, no_such_disk},
    {Task::disk, 111, name_too_long},
    {Task::unmap, 2, no_such_disk},
    {Task::unmap, 111, name_too_long},
    {Task::unmap, 1460, "Close the programs that use the disk, or give --hard-disconnect."},
    {Task::unmap, 15610, "Close the programs that use the disk, or give --hard-disconnect."},
    {Task::resize, 2, no_such_disk},
    {Task::resize, 21, "Windows has not started the disk: try again."},
    {Task::resize, 87, "Windows or the driver does not take this size."},
    {Task::resize, 111, name_too_long},
    {Task::map, 8, "Give a smaller size."},
    {Task::map, 14, "Give a smaller size."},
    {Task::map, 68, "The adapter is full: unmap a disk first."},
    {Task::map, 111, name_too_long},
    {Task::map, 161,
     "Check the size, or the path of the file; --disk-size creates one that is missing."},
    {Task::map, 183, "Unmap that disk first, or choose another name."},
    {Task::map, 1115,
     "The driver takes no new mappings, during a reset of the adapter or because of its option "
     "NewMappingsAllowed: try again, or `wnbd-client set-opt NewMappingsAllowed true`."},
    {Task::map, 1236, "Map it again when the server is back."},
    {Task::map, 2250, "Check that the NBD server is running and has this export."},
    {Task::install, 2,
     "Check the path of the INF file and that wnbd.sys and wnbd.cat lie beside it."},
    {Task::install, 3, "Check the path of the INF file."},
    {Task::install, 5, elevate},
    {Task::install, 13, "Give the wnbd.inf that came with this program."},
    {Task::install, 31, "Give the wnbd.inf that came with this program."},
    {Task::install, 50, "WNBD needs Windows 10 version 1809 (10.0.17763) or newer."},
    {Task::install, 170, "Another installation is running: wait for its end."},
    {Task::install, 4319,
     "A test-signed driver starts in test signing mode only (`bcdedit /set testsigning on`, Secure "
     "Boot off); the System event log tells more."},
    {Task::install, 0x800B0109, trust_signer},
    {Task::install, 0xE0000242, trust_signer},
    {Task::install, 0xE0000243, trust_signer},
    {Task::install, 0xE000022F, package_changed},
    {Task::install, 0xE000024B, package_changed},
    {Task::install, 0xE0000202, "Run `wnbd-client uninstall-driver` first."},
    {Task::install, 0xE0000235, "Run the 64-bit wnbd-client."},
    {Task::uninstall, 5, elevate},
    {Task::uninstall, 170, "Another installation is running: wait for its end."},
    {Task::option, 2,
     "`wnbd-client list-opt` shows the options, with --persistent the stored ones."},
    {Task::option, 111, "`wnbd-client list-opt` shows the options."},
    {Task::reset, 21, "Enable it in Device Manager, or run the command again."},
    {Task::reset, 170, "Unmap the disks in use, or give --hard-disconnect-mappings."},
});

std::string_view adapter_advice(std::uint32_t code) noexcept {
    switch (code) {
        case error_no_more_items: return not_installed;
        case error_access_denied: return elevate;
        case error_file_not_found:
            return "The WNBD adapter is not started: check it in Device Manager, or run "
                   "`wnbd-client reset-adapter`.";
        default: return "Check that the WNBD driver is installed.";
    }
}

/// Decimal, but for the large numbers, which are known by their hexadecimal form.
std::string code_text(std::uint32_t code) {
    if (code < 0x80000000) return std::to_string(code);
    char text[16];
    std::snprintf(text, sizeof(text), "0x%08X", static_cast<unsigned>(code));
    return text;
}

/// One line without the end of its sentence.
std::string tidied(std::string_view text) {
    constexpr std::string_view dropped = " \t\r\n.";
    const std::size_t last = text.find_last_not_of(dropped);
    std::string line(text.substr(0, last == std::string_view::npos ? 0 : last + 1));
    std::erase(line, '\r');
    std::ranges::replace(line, '\n', ' ');
    return line;
}

std::string reason_text(std::string_view system_text) {
    std::string reason = tidied(system_text);
    return reason.empty() ? "Unknown error" : reason;
}

/// An adapter that can't be opened is all there is to say.
std::string detail_text(const FailureCause& cause) {
    if (cause.adapter_code == error_access_denied) {
        return "only administrators may use the WNBD adapter";
    }
    if (cause.adapter_code != 0) return {};
    std::string detail = tidied(cause.detail);
    // The library's log names the disk first; the line has named it already.
    const std::size_t name_end = detail.starts_with('"') ? detail.find("\": ") : std::string::npos;
    if (name_end != std::string::npos) detail.erase(0, name_end + 3);
    // And it may have nothing to say but the error itself.
    const bool repeats = detail.find(": " + std::to_string(cause.code) + " (") != std::string::npos;
    return repeats ? std::string() : detail;
}

Value text_or_null(std::string_view text) {
    if (text.empty()) return Never{};
    return std::string(text);
}

}  // namespace

std::string_view advice(const FailureCause& cause) noexcept {
    if (cause.adapter_code != 0) return adapter_advice(cause.adapter_code);
    const auto* const rule = std::ranges::find_if(rules, [&cause](const Rule& candidate) {
        return candidate.task == cause.task && candidate.code == cause.code;
    });
    if (rule != rules.end()) return rule->text;
    return cause.code == error_access_denied ? elevate : "";
}

std::string failure_text(std::string_view what, std::string_view system_text,
                         const FailureCause& cause) {
    std::string text = std::string(what) + ": " + reason_text(system_text) + " (error " +
                       code_text(cause.code) + ")";
    const std::string detail = detail_text(cause);
    if (!detail.empty()) text += ": " + detail;
    text += ".";
    const std::string_view remedy = advice(cause);
    if (!remedy.empty()) text += " " + std::string(remedy);
    return text;
}

Record failure_record(std::string_view what, std::string_view system_text,
                      const FailureCause& cause) {
    return {
        {"Error", std::string(what)},
        {"Reason", reason_text(system_text)},
        {"Code", std::uint64_t{cause.code}},
        {"Details", text_or_null(detail_text(cause))},
        {"Advice", text_or_null(advice(cause))},
    };
}

Record refusal_record(std::string_view text, std::uint32_t code, std::string_view remedy) {
    return {
        {"Error", tidied(text)},          {"Reason", Never{}},
        {"Code", std::uint64_t{code}},    {"Details", Never{}},
        {"Advice", text_or_null(remedy)},
    };
}

}  // namespace wnbd::client
