// SPDX-License-Identifier: LGPL-2.1-or-later
#include <memory>
#include <type_traits>

#include "client/driverless/initiator.h"

namespace wnbd::client {
namespace {

constexpr wchar_t service_name[] = L"MSiSCSI";
constexpr ULONGLONG start_wait_ms = 30 * 1000;
constexpr DWORD poll_ms = 100;

struct ServiceCloser {
    void operator()(SC_HANDLE handle) const noexcept { CloseServiceHandle(handle); }
};
using Service = std::unique_ptr<std::remove_pointer_t<SC_HANDLE>, ServiceCloser>;

InitiatorFault fault(DWORD code) {
    switch (code) {
        case ERROR_SERVICE_DOES_NOT_EXIST:
            return {code, "this Windows has no iSCSI initiator (the service MSiSCSI is missing)"};
        case ERROR_SERVICE_DISABLED:
            return {code,
                    "the iSCSI initiator's service is disabled; `sc config MSiSCSI start= demand` "
                    "enables it"};
        default: return {code, "the iSCSI initiator's service (MSiSCSI) does not start"};
    }
}

DWORD state_of(const Service& service) {
    SERVICE_STATUS_PROCESS status{};
    DWORD size = 0;
    const BOOL known =
        QueryServiceStatusEx(service.get(), SC_STATUS_PROCESS_INFO,
                             reinterpret_cast<BYTE*>(&status), sizeof(status), &size);
    return known == FALSE ? 0 : status.dwCurrentState;
}

}  // namespace

std::optional<InitiatorFault> start_initiator_service() {
    const Service manager(OpenSCManagerW(nullptr, nullptr, SC_MANAGER_CONNECT));
    if (!manager) return fault(GetLastError());
    Service service(OpenServiceW(manager.get(), service_name, SERVICE_QUERY_STATUS));
    if (!service) return fault(GetLastError());
    if (state_of(service) == SERVICE_RUNNING) return std::nullopt;

    service.reset(OpenServiceW(manager.get(), service_name, SERVICE_QUERY_STATUS | SERVICE_START));
    if (!service) return fault(GetLastError());
    // One that is stopping has to come to its end before.
    DWORD code = ERROR_TIMEOUT;
    bool started = false;
    for (const ULONGLONG end = GetTickCount64() + start_wait_ms; GetTickCount64() < end;
         Sleep(poll_ms)) {
        const DWORD state = state_of(service);
        if (state == SERVICE_RUNNING) return std::nullopt;
        if (state != SERVICE_STOPPED) continue;
        if (started) return fault(code);
        started = StartServiceW(service.get(), 0, nullptr) != FALSE;
        code = started ? DWORD{ERROR_SERVICE_NOT_ACTIVE} : GetLastError();
        if (!started && code != ERROR_SERVICE_ALREADY_RUNNING) return fault(code);
    }
    return fault(ERROR_TIMEOUT);
}

}  // namespace wnbd::client
