// SPDX-License-Identifier: LGPL-2.1-or-later
// msiscsi.exe: a service that does nothing but run, where Windows has that of its initiator.
#include <windows.h>

namespace {

SERVICE_STATUS_HANDLE handle;
HANDLE stop;

void tell(DWORD state) {
    SERVICE_STATUS status{};
    status.dwServiceType = SERVICE_WIN32_OWN_PROCESS;
    status.dwCurrentState = state;
    status.dwControlsAccepted = state == SERVICE_RUNNING ? SERVICE_ACCEPT_STOP : 0;
    SetServiceStatus(handle, &status);
}

DWORD WINAPI on_control(DWORD control, DWORD /*event*/, void* /*data*/, void* /*context*/) {
    if (control == SERVICE_CONTROL_STOP) SetEvent(stop);
    return NO_ERROR;
}

void WINAPI serve(DWORD /*count*/, LPWSTR* /*words*/) {
    stop = CreateEventW(nullptr, TRUE, FALSE, nullptr);
    handle = RegisterServiceCtrlHandlerExW(L"MSiSCSI", on_control, nullptr);
    tell(SERVICE_START_PENDING);
    // Long enough to be seen not running yet.
    Sleep(300);
    tell(SERVICE_RUNNING);
    WaitForSingleObject(stop, INFINITE);
    tell(SERVICE_STOPPED);
}

}  // namespace

int main() {
    wchar_t name[] = L"MSiSCSI";
    const SERVICE_TABLE_ENTRYW table[] = {{name, serve}, {nullptr, nullptr}};
    return StartServiceCtrlDispatcherW(table) == FALSE ? 1 : 0;
}
