// SPDX-License-Identifier: LGPL-2.1-or-later
// The adapter off and on again: what its options say at its start is then in force.
#include "libwnbd/adapter.h"
#include "libwnbd/device_nodes.h"
#include "libwnbd/log.h"
#include "libwnbd/mapping_pause.h"

namespace wnbd::libwnbd {

namespace {

// Enabling may fail while Windows is still busy with the disable; leaving the adapter disabled is
// the worst outcome, so it is tried this often.
constexpr unsigned enable_attempts_max = 5;
constexpr DWORD enable_retry_ms = 500;

/// The adapter's device node, started or not. NO_MORE_ITEMS: there is none.
DWORD find_adapter_node(DEVINST& device) {
    std::vector<AdapterInterface> adapters;
    const DWORD error = find_adapters(adapters);
    if (error != ERROR_SUCCESS) return error;
    if (!adapters.empty()) return locate_device(adapters.front().instance_id, device);
    // A disabled adapter has no interface, but it has its node.
    std::vector<std::wstring> nodes;
    const DWORD node_error = find_device_nodes(nodes);
    if (node_error != ERROR_SUCCESS) return node_error;
    for (const std::wstring& node : nodes)
        if (locate_device(node, device) == ERROR_SUCCESS) return ERROR_SUCCESS;
    return ERROR_NO_MORE_ITEMS;
}

bool is_disabled(DEVINST device) {
    ULONG status = 0;
    ULONG problem = 0;
    return CM_Get_DevNode_Status(&status, &problem, device, 0) == CR_SUCCESS &&
           (status & DN_HAS_PROBLEM) != 0 && problem == CM_PROB_DISABLED;
}

DWORD enable(DEVINST device) {
    CONFIGRET result = CR_SUCCESS;
    for (unsigned attempt = 1; attempt <= enable_attempts_max; ++attempt) {
        result = CM_Enable_DevNode(device, 0);
        if (result == CR_SUCCESS) return ERROR_SUCCESS;
        LOG_WARNING("could not enable the adapter, attempt %u of %u: CONFIGRET %#lx", attempt,
                    enable_attempts_max, result);
        Sleep(enable_retry_ms);
    }
    LOG_ERROR("the adapter stays disabled: CONFIGRET %#lx", result);
    return ERROR_NOT_READY;
}

// The handles are closed again at once: they would keep the adapter in use.

DWORD pause(DWORD wait_ms) {
    UniqueHandle adapter;
    const DWORD error = open_adapter_interface(adapter);
    if (error == ERROR_SUCCESS) return pause_new_mappings(adapter.get(), wait_ms);
    // One that failed to start takes no mappings anyway, and may start the next time.
    return error == ERROR_FILE_NOT_FOUND ? ERROR_SUCCESS : error;
}

DWORD resume() {
    UniqueHandle adapter;
    const DWORD error = open_adapter_interface(adapter);
    return error == ERROR_SUCCESS ? resume_new_mappings(adapter.get()) : error;
}

/// `wait_ms`: how long the caller will wait before it tries again.
DWORD disable_and_enable(DWORD wait_ms) {
    DEVINST device = 0;
    DWORD error = find_adapter_node(device);
    if (error != ERROR_SUCCESS) return error;
    // Somebody has left it so, perhaps a reset that was killed: there is nothing to disable.
    if (is_disabled(device)) return enable(device);
    error = pause(wait_ms);
    if (error != ERROR_SUCCESS) return error;
    const CONFIGRET result = CM_Disable_DevNode(device, CM_DISABLE_UI_NOT_OK);
    if (result == CR_REMOVE_VETOED) return ERROR_BUSY;
    if (result == CR_SUCCESS) return enable(device);
    LOG_ERROR("could not disable the adapter: CONFIGRET %#lx", result);
    return ERROR_REMOVE_FAILED;
}

/// An adapter that has started again has ended the pause itself.
DWORD end_reset(DWORD error) {
    if (error != ERROR_BUSY && error != ERROR_REMOVE_FAILED) return error;
    const DWORD resumed = resume();
    if (resumed != ERROR_SUCCESS)
        LOG_WARNING("new mappings are refused for a while: %s", error_text(resumed).c_str());
    return error;
}

DWORD reset_until(DWORD timeout_ms, DWORD retry_interval_ms) {
    const ULONGLONG begin = GetTickCount64();
    for (;;) {
        const DWORD error = disable_and_enable(retry_interval_ms);
        if (error != ERROR_BUSY) return error;
        if (timeout_ms != 0 && GetTickCount64() - begin + retry_interval_ms > timeout_ms)
            return error;
        Sleep(retry_interval_ms);
    }
}

}  // namespace

}  // namespace wnbd::libwnbd

using namespace wnbd::libwnbd;

extern "C" {

DWORD WnbdResetAdapter(VOID) {
    return guarded([]() -> DWORD { return end_reset(disable_and_enable(0)); });
}

DWORD WnbdResetAdapterEx(DWORD TimeoutMs, DWORD RetryIntervalMs) {
    return guarded([&]() -> DWORD { return end_reset(reset_until(TimeoutMs, RetryIntervalMs)); });
}

}  // extern "C"
