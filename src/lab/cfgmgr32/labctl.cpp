// SPDX-License-Identifier: LGPL-2.1-or-later
// labctl.exe: pulls the lab's levers from a test: state and resets of the adapter, and the devnode
// functions of the cfgmgr32 stand-in as a program would call them.
#include <windows.h>

#include <objbase.h>

#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iterator>
#include <random>
#include <string>

#include "lab/cfgmgr32/adapters.h"

using namespace wnbd::lab;
using namespace wnbd::lab::cfgmgr;

extern "C" {
__declspec(dllimport) DWORD WINAPI CM_Locate_DevNodeW(DWORD*, const wchar_t*, ULONG);
__declspec(dllimport) DWORD WINAPI CM_Query_And_Remove_SubTreeW(DWORD, DWORD*, wchar_t*, ULONG,
                                                                ULONG);
__declspec(dllimport) DWORD WINAPI CM_Disable_DevNode(DWORD, ULONG);
__declspec(dllimport) DWORD WINAPI CM_Enable_DevNode(DWORD, ULONG);
__declspec(dllimport) DWORD WINAPI CM_Get_Child(DWORD*, DWORD, ULONG);
__declspec(dllimport) DWORD WINAPI CM_Get_DevNode_Status(ULONG*, ULONG*, DWORD, ULONG);
}

namespace {

constexpr wchar_t kAdapter[] = L"ROOT\\SCSIADAPTER\\0000";

int usage() {
    std::puts(
        "usage: labctl state | units | rescan | surprise | disable | enable |\n"
        "       labctl remove INSTANCE |\n"
        "       labctl reset unit|target|bus PATH TARGET LUN | abort PATH TARGET LUN |\n"
        "       labctl disturb COUNT MEAN_MS SEED |\n"
        "       labctl send flush|shutdown PATH TARGET LUN |\n"
        "       labctl unprivileged COMMAND-LINE |\n"
        "       labctl trace NAME PROVIDER-GUID LEVEL KEYWORDS | untrace NAME");
    return ERROR_INVALID_PARAMETER;
}

int print_state(unsigned port) {
    const auto state = state_of(port);
    if (!state) return ERROR_FILE_NOT_FOUND;
    const auto line = [](const char* name, unsigned long long value) {
        std::printf("%s: %llu\n", name, value);
    };
    line("started", state->started);
    line("violations", state->violations);
    line("issued", state->issued);
    line("completed", state->completed);
    line("timed-out", state->timed_out);
    line("busy", state->busy);
    line("held-back", state->held_back);
    line("resets", state->resets);
    line("aborts", state->aborts);
    line("outstanding", state->outstanding);
    line("outstanding-max", state->outstanding_max);
    line("unit-outstanding-max", state->unit_outstanding_max);
    return 0;
}

int print_units(unsigned port) {
    for (const control::UnitEntry& unit : units(port))
        std::printf("%u:%u:%u %s %ls\n", unit.bus, unit.target, unit.lun,
                    unit.removed != 0 ? "removed" : "present",
                    reinterpret_cast<const wchar_t*>(unit.path));
    return 0;
}

int print_result(const char* what, DWORD result) {
    std::printf("%s: CONFIGRET 0x%lx\n", what, result);
    return static_cast<int>(result);
}

int remove_node(const char* instance) {
    const std::wstring path(instance, instance + std::strlen(instance));
    DWORD node = 0;
    DWORD result = CM_Locate_DevNodeW(&node, path.c_str(), 0);
    if (result == 0) result = CM_Query_And_Remove_SubTreeW(node, nullptr, nullptr, 0, 0);
    return print_result("remove", result);
}

int change_adapter(bool enable) {
    DWORD node = 0;
    DWORD result = CM_Locate_DevNodeW(&node, kAdapter, 0);
    if (result == 0) result = enable ? CM_Enable_DevNode(node, 0) : CM_Disable_DevNode(node, 0);
    return print_result(enable ? "enable" : "disable", result);
}

constexpr std::uint8_t kUnit = 0x20, kTarget = 0x13, kBus = 0x12;  // SRB_FUNCTION_RESET_*
constexpr std::uint8_t kAbort = 0x10;                              // SRB_FUNCTION_ABORT_COMMAND
constexpr std::uint8_t kShutdown = 0x07, kFlush = 0x08;            // SRB_FUNCTION_*

/// SRBs that are no commands: resets, and FLUSH and SHUTDOWN.
int send(unsigned port, char** arguments) {
    const std::string kind = arguments[0];
    control::Reset what{};
    if (kind == "flush")
        what.function = kFlush;
    else if (kind == "shutdown")
        what.function = kShutdown;
    else if (kind == "unit")
        what.function = kUnit;
    else if (kind == "target")
        what.function = kTarget;
    else if (kind == "bus")
        what.function = kBus;
    else if (kind == "abort")
        what.function = kAbort;
    else
        return usage();
    what.path = static_cast<std::uint8_t>(std::atoi(arguments[1]));
    what.target = static_cast<std::uint8_t>(std::atoi(arguments[2]));
    what.lun = static_cast<std::uint8_t>(std::atoi(arguments[3]));
    const auto answer = send_reset(port, what);
    if (!answer) return ERROR_GEN_FAILURE;
    if (answer->result == control::kAnswerNoSuchDevice) return ERROR_NOT_FOUND;
    std::printf("SRB status 0x%02x\n", answer->srb_status);
    return 0;
}

/// As `logman` takes them: a GUID in braces, numbers in any base.
int trace(unsigned port, char** arguments) {
    control::Trace session{};
    std::strncpy(session.name, arguments[0], sizeof session.name - 1);
    const std::wstring guid(arguments[1], arguments[1] + std::strlen(arguments[1]));
    GUID provider{};
    if (IIDFromString(guid.c_str(), &provider) != S_OK) return usage();
    std::memcpy(session.provider, &provider, sizeof session.provider);
    session.level = static_cast<std::uint8_t>(std::strtoul(arguments[2], nullptr, 0));
    session.any = std::strtoull(arguments[3], nullptr, 0);
    return start_trace(port, session) ? 0 : ERROR_GEN_FAILURE;
}

int untrace(unsigned port, const char* name) {
    control::Trace session{};
    std::strncpy(session.name, name, sizeof session.name - 1);
    return stop_trace(port, session) ? 0 : ERROR_NOT_FOUND;
}

/// Runs a program as an account without administrator rights would, and returns its exit code.
int run_unprivileged(const char* command_line) {
    std::uint8_t administrators[SECURITY_MAX_SID_SIZE];
    DWORD size = sizeof administrators;
    HANDLE own = nullptr;
    HANDLE restricted = nullptr;
    if (!CreateWellKnownSid(WinBuiltinAdministratorsSid, nullptr, administrators, &size) ||
        !OpenProcessToken(GetCurrentProcess(), TOKEN_ALL_ACCESS, &own))
        return ERROR_GEN_FAILURE;
    SID_AND_ATTRIBUTES disabled{administrators, 0};
    std::wstring command(command_line, command_line + std::strlen(command_line));
    STARTUPINFOW startup{};
    startup.cb = sizeof startup;
    PROCESS_INFORMATION process{};
    if (!CreateRestrictedToken(own, DISABLE_MAX_PRIVILEGE, 1, &disabled, 0, nullptr, 0, nullptr,
                               &restricted) ||
        !CreateProcessAsUserW(restricted, nullptr, command.data(), nullptr, nullptr, TRUE, 0,
                              nullptr, nullptr, &startup, &process))
        return ERROR_GEN_FAILURE;
    WaitForSingleObject(process.hProcess, INFINITE);
    DWORD code = ERROR_GEN_FAILURE;
    GetExitCodeProcess(process.hProcess, &code);
    for (HANDLE handle : {process.hThread, process.hProcess, restricted, own})
        CloseHandle(handle);
    return static_cast<int>(code);
}

/// Aborts and resets at random moments, on whatever units there are then: half of them aborts.
int disturb(unsigned port, char** arguments) {
    const int count = std::atoi(arguments[0]);
    const int mean_ms = std::atoi(arguments[1]);
    if (count <= 0 || mean_ms <= 0) return usage();
    std::mt19937 random(static_cast<unsigned>(std::atoi(arguments[2])));
    constexpr std::uint8_t kinds[] = {kAbort, kAbort, kAbort, kUnit, kTarget, kBus};
    for (int i = 0; i < count; ++i) {
        Sleep(random() % (2U * static_cast<unsigned>(mean_ms)));
        const std::vector<control::UnitEntry> present = units(port);
        if (present.empty()) continue;
        const control::UnitEntry& unit = present[random() % present.size()];
        const std::uint8_t kind = kinds[random() % std::size(kinds)];
        if (!send_reset(port, {kind, unit.bus, unit.target, unit.lun})) return ERROR_GEN_FAILURE;
    }
    return 0;
}

}  // namespace

int main(int count, char** arguments) {
    const std::string command = count > 1 ? arguments[1] : "";
    if (command == "enable") return change_adapter(true);
    if (command == "unprivileged" && count == 3) return run_unprivileged(arguments[2]);
    const std::vector<unsigned> all = ports();
    if (all.empty()) {
        std::puts("no adapter");
        return ERROR_FILE_NOT_FOUND;
    }
    const unsigned port = all.front();
    if (command == "state") return print_state(port);
    if (command == "units") return print_units(port);
    if (command == "rescan") return rescan(port) ? 0 : ERROR_GEN_FAILURE;
    if (command == "surprise") return surprise(port) ? 0 : ERROR_GEN_FAILURE;
    if (command == "disable") return change_adapter(false);
    if (command == "remove" && count == 3) return remove_node(arguments[2]);
    if ((command == "reset" || command == "send") && count == 6) return send(port, arguments + 2);
    if (command == "trace" && count == 6) return trace(port, arguments + 2);
    if (command == "untrace" && count == 3) return untrace(port, arguments[2]);
    if (command == "abort" && count == 5) return send(port, arguments + 1);
    if (command == "disturb" && count == 5) return disturb(port, arguments + 2);
    return usage();
}
