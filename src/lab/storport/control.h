// SPDX-License-Identifier: LGPL-2.1-or-later
// Private ioctls of the lab's adapter device (opened as \\.\ScsiN:), for the cfgmgr32 stand-in and
// the tests. Not part of Windows; plain structures, so that both kernel and user code can include
// this.
#pragma once

#include <cstdint>

namespace wnbd::lab::control {

// CTL_CODE(FILE_DEVICE_CONTROLLER, function, METHOD_BUFFERED, FILE_ANY_ACCESS)
constexpr std::uint32_t code(std::uint32_t function) {
    return 4U << 16 | function << 2;
}

inline constexpr std::uint32_t kListUnits = code(0xF01);   // out: UnitEntry[]
inline constexpr std::uint32_t kRemoveUnit = code(0xF02);  // in: UnitName, out: Answer
inline constexpr std::uint32_t kDisable = code(0xF03);     // out: Answer
inline constexpr std::uint32_t kEnable = code(0xF04);      // out: Answer
inline constexpr std::uint32_t kReset = code(0xF05);       // in: Reset, out: Answer
inline constexpr std::uint32_t kState = code(0xF06);       // out: State
inline constexpr std::uint32_t kRescan = code(0xF07);
inline constexpr std::uint32_t kProvoke = code(0xF08);  // in: ULONG, the test miniport's own

inline constexpr std::uint32_t kStartTrace = code(0xF09);  // in: Trace
inline constexpr std::uint32_t kStopTrace = code(0xF0A);   // in: Trace, its name
inline constexpr std::uint32_t kSurprise = code(0xF0B);    // the adapter is lost

inline constexpr std::uint32_t kNameChars = 200;

struct UnitName {
    char16_t path[kNameChars];  // device id\instance id, terminated
};

struct UnitEntry {
    char16_t path[kNameChars];
    std::uint8_t bus, target, lun;
    std::uint8_t removed;
};
static_assert(sizeof(UnitEntry) == 404);

enum : std::uint32_t {
    kAnswerDone = 0,
    kAnswerVetoed = 1,
    kAnswerNoSuchDevice = 2,
    kAnswerFailed = 3
};
struct Answer {
    std::uint32_t result;
    std::uint32_t srb_status;  // of a reset
};

struct Reset {
    // SRB_FUNCTION_RESET_LOGICAL_UNIT, _DEVICE, _BUS, ABORT_COMMAND (of any SRB that is out at the
    // address), FLUSH or SHUTDOWN
    std::uint8_t function;
    std::uint8_t path, target, lun;
};

/// A tracing session and what it wants.
struct Trace {
    char name[32];  // terminated
    std::uint8_t provider[16];
    std::uint64_t any, all;
    std::uint8_t level;
    std::uint8_t reserved[7];
};
static_assert(sizeof(Trace) == 72);

struct State {
    std::uint64_t violations;
    std::uint64_t issued, completed, timed_out, busy, held_back, resets, aborts;
    std::uint32_t outstanding, outstanding_max, unit_outstanding_max;
    std::uint32_t started;
};
static_assert(sizeof(State) == 80);

}  // namespace wnbd::lab::control
