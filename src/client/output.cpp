// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/output.h"

#include <atomic>
#include <cstdio>

#include "client/failure_text.h"

namespace wnbd::client {
namespace {

std::atomic<OutputFormat> chosen_format{OutputFormat::table};

bool as_json() noexcept {
    return message_format() == OutputFormat::json;
}

}  // namespace

DWORD print(std::string_view text) {
    const bool written = std::fwrite(text.data(), 1, text.size(), stdout) == text.size();
    return written && std::fflush(stdout) == 0 ? ERROR_SUCCESS : ERROR_WRITE_FAULT;
}

void use_message_format(OutputFormat format) noexcept {
    chosen_format.store(format, std::memory_order_relaxed);
}

OutputFormat message_format() noexcept {
    return chosen_format.load(std::memory_order_relaxed);
}

void write_error_line(std::string line) {
    // One write, so that the line stays whole beside those of other threads.
    line += '\n';
    std::fwrite(line.data(), 1, line.size(), stderr);
    std::fflush(stderr);
}

void print_error(std::string_view text) {
    write_error_line(as_json() ? json_line({{"Note", std::string(text)}}) : std::string(text));
}

void print_complaint(std::string_view text) {
    print_error(as_json() ? std::string(text) : "wnbd-client: " + std::string(text));
}

DWORD refuse(std::string_view text, DWORD code) {
    write_error_line(as_json() ? json_line(refusal_record(text, code, {}))
                               : "wnbd-client: " + std::string(text));
    return code;
}

DWORD report_unknown_command(std::string_view name, std::string_view remedy) {
    const std::string text = "Unknown command: " + std::string(name);
    if (as_json()) {
        write_error_line(json_line(refusal_record(text, ERROR_INVALID_PARAMETER, remedy)));
    } else {
        write_error_line(remedy.empty() ? text : text + "\n\n" + std::string(remedy));
    }
    return ERROR_INVALID_PARAMETER;
}

DWORD report_missing(std::string_view what) {
    return refuse("Missing " + std::string(what) + ".", ERROR_INVALID_PARAMETER);
}

}  // namespace wnbd::client
