// SPDX-License-Identifier: LGPL-2.1-or-later
#include <windows.h>

#include <atomic>

#include "client/stop_signal.h"

namespace wnbd::client {
namespace {

/// Windows ends the process about five seconds after such an event, or as soon as its handler
/// returns.
constexpr DWORD orderly_exit_wait_ms = 4500;

// What the handler may touch; never taken down, since it runs in a thread of Windows's.
struct Shared {
    HANDLE asked = CreateEventW(nullptr, TRUE, FALSE, nullptr);
    HANDLE over = CreateEventW(nullptr, TRUE, FALSE, nullptr);
    std::atomic<bool> watched{false};
};

Shared& shared() {
    static Shared& instance = *new Shared;
    return instance;
}

BOOL WINAPI on_event(DWORD event) {
    if (!shared().watched.exchange(false)) return FALSE;
    SetEvent(shared().asked);
    // After these events the process ends as soon as the handler returns.
    if (event != CTRL_C_EVENT && event != CTRL_BREAK_EVENT)
        WaitForSingleObject(shared().over, orderly_exit_wait_ms);
    return TRUE;
}

}  // namespace

StopSignal::StopSignal() {
    shared().watched = true;
    SetConsoleCtrlHandler(on_event, TRUE);
}

StopSignal::~StopSignal() {
    shared().watched = false;
    SetEvent(shared().over);
}

bool StopSignal::wait(std::chrono::milliseconds time) {
    return WaitForSingleObject(shared().asked, static_cast<DWORD>(time.count())) == WAIT_OBJECT_0;
}

}  // namespace wnbd::client
