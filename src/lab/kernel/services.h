// SPDX-License-Identifier: LGPL-2.1-or-later
// The kernel's smaller services: work items, tracing, debug output; and the table of everything.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace wnbd::lab::kernel {

/// Where DbgPrint goes; nullptr (the beginning): nowhere. Called in the printing thread, at its
/// IRQL.
using DebugSink = void (*)(const char* text);
void set_debug_sink(DebugSink sink) noexcept;

/// Runs `routine(context)` at PASSIVE_LEVEL in a system worker thread. False when no thread can be
/// started.
bool queue_worker(void (*routine)(void* context), void* context);
/// Waits until the workers have nothing to do; false after the time.
bool drain_workers(std::uint32_t timeout_ms);

/// Report what is left of the driver's.
void check_work_items();
void check_etw_balance();

struct Export {
    const char* name;
    void* function;
};
/// Everything ntoskrnl.exe and hal.dll offer here without an I/O manager: a host patches these into
/// the driver's import table, as many of them as suit it. Sorted by nothing; `count` entries.
const Export* kernel_exports(std::size_t& count) noexcept;
/// The function of that name, or nullptr.
void* find_kernel_export(std::string_view name) noexcept;

}  // namespace wnbd::lab::kernel
