// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/system.h"

#include <memory>
#include <utility>

#include "client/library_log.h"
#include "wnbd.h"

namespace wnbd::client {
namespace {

std::string utf8_from_wide(std::wstring_view wide) {
    if (wide.empty()) return {};
    const int units = static_cast<int>(wide.size());
    const int bytes =
        WideCharToMultiByte(CP_UTF8, 0, wide.data(), units, nullptr, 0, nullptr, nullptr);
    std::string text(bytes > 0 ? static_cast<std::size_t>(bytes) : 0, '\0');
    WideCharToMultiByte(CP_UTF8, 0, wide.data(), units, text.data(), bytes, nullptr, nullptr);
    return text;
}

constexpr DWORD setup_error = APPLICATION_ERROR_MASK | ERROR_SEVERITY_ERROR;

struct LocalDeleter {
    void operator()(void* memory) const noexcept { LocalFree(memory); }
};

DWORD adapter_state() {
    HANDLE adapter = nullptr;
    const DWORD code = WnbdOpenAdapter(&adapter);
    if (code == ERROR_SUCCESS) CloseHandle(adapter);
    return code;
}

DWORD report(Task task, std::string_view what, DWORD code, DWORD adapter_code,
             std::string detail = {}) {
    if (detail.empty()) detail = take_library_error();
    const FailureCause cause{
        .detail = std::move(detail), .task = task, .code = code, .adapter_code = adapter_code};
    const std::string reason = system_error_text(code);
    write_error_line(message_format() == OutputFormat::json
                         ? json_line(failure_record(what, reason, cause))
                         : "wnbd-client: " + failure_text(what, reason, cause));
    return code;
}

}  // namespace

std::string system_error_text(DWORD code) {
    // SetupAPI's own codes have their texts under another number.
    if ((code & setup_error) == setup_error) {
        code = (code & 0xFFFF) | (static_cast<DWORD>(FACILITY_SETUPAPI) << 16) | 0x80000000;
    }
    wchar_t* memory = nullptr;
    constexpr DWORD flags =
        FORMAT_MESSAGE_ALLOCATE_BUFFER | FORMAT_MESSAGE_FROM_SYSTEM | FORMAT_MESSAGE_IGNORE_INSERTS;
    const DWORD units =
        FormatMessageW(flags, nullptr, code, 0, reinterpret_cast<LPWSTR>(&memory), 0, nullptr);
    const std::unique_ptr<wchar_t, LocalDeleter> text(memory);
    return units == 0 ? std::string{} : utf8_from_wide({text.get(), units});
}

DWORD report_failure(Task task, std::string_view what, DWORD code) {
    return report_failure(task, what, code, {});
}

DWORD report_failure(Task task, std::string_view what, DWORD code, std::string detail) {
    return report(task, what, code, code == ERROR_OPEN_FAILED ? adapter_state() : ERROR_SUCCESS,
                  std::move(detail));
}

DWORD report_adapter_failure(std::string_view what, DWORD code, DWORD adapter_code) {
    return report(Task::other, what, code, adapter_code);
}

}  // namespace wnbd::client
