// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/storport/host.h"

#include <atomic>
#include <cstdarg>
#include <cstdio>

namespace wnbd::lab {
namespace {

Host the_host{};
std::atomic<std::uint64_t> violations{0};
std::atomic<ViolationSink> the_sink{nullptr};

}  // namespace

void set_host(const Host& host) {
    the_host = host;
}

const Host& host() {
    return the_host;
}

void report_violation(const char* rule, const char* format, ...) {
    char detail[400];
    va_list arguments;
    va_start(arguments, format);
    std::vsnprintf(detail, sizeof detail, format, arguments);
    va_end(arguments);
    violations.fetch_add(1);
    DbgPrint("VERIFIER: %s: %s\n", rule, detail);
    if (ViolationSink sink = the_sink.load()) sink(rule, detail);
}

std::uint64_t violation_count() {
    return violations.load();
}

void set_violation_sink(ViolationSink sink) {
    the_sink.store(sink);
}

}  // namespace wnbd::lab
