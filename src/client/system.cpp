// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/system.h"

#include <shellapi.h>

#include <cstdio>
#include <memory>

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

DWORD report(Task task, std::string_view what, DWORD code, DWORD adapter_code) {
    const FailureCause cause{
        .detail = take_library_error(), .task = task, .code = code, .adapter_code = adapter_code};
    print_complaint(failure_text(what, system_error_text(code), cause));
    return code;
}

}  // namespace

Utf8Console::Utf8Console() noexcept : previous_code_page_(GetConsoleOutputCP()) {
    SetConsoleOutputCP(CP_UTF8);
}

Utf8Console::~Utf8Console() {
    std::fflush(stdout);
    if (previous_code_page_ != 0) SetConsoleOutputCP(previous_code_page_);
}

std::vector<std::string> command_line_words() {
    int count = 0;
    const std::unique_ptr<LPWSTR, LocalDeleter> words(
        CommandLineToArgvW(GetCommandLineW(), &count));
    std::vector<std::string> result;
    for (int i = 1; words && i < count; ++i)
        result.push_back(utf8_from_wide(words.get()[i]));
    return result;
}

DWORD print(std::string_view text) {
    const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
    return written && std::fflush(stdout) == 0 ? ERROR_SUCCESS : ERROR_WRITE_FAULT;
}

void print_error(std::string_view text) {
    // One write, so that the line stays whole beside those of the library's log.
    const std::string line = std::string(text) + "\n";
    std::fwrite(line.data(), 1, line.size(), stderr);
    std::fflush(stderr);
}

void print_complaint(std::string_view text) {
    print_error("wnbd-client: " + std::string(text));
}

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
    return report(task, what, code, code == ERROR_OPEN_FAILED ? adapter_state() : ERROR_SUCCESS);
}

DWORD report_adapter_failure(std::string_view what, DWORD code, DWORD adapter_code) {
    return report(Task::other, what, code, adapter_code);
}

DWORD report_missing(std::string_view what) {
    print_complaint("Missing " + std::string(what) + ".");
    return ERROR_INVALID_PARAMETER;
}

}  // namespace wnbd::client
