// SPDX-License-Identifier: LGPL-2.1-or-later
// reset-adapter, ping and reload-config: commands that concern the adapter and no disk.
#include "client/commands/commands.h"
#include "client/commands/seconds.h"
#include "client/fields.h"
#include "client/system.h"
#include "wnbd.h"

namespace wnbd::client {
namespace {

class Adapter {
  public:
    Adapter() noexcept : code_(WnbdOpenAdapter(&handle_)) {}
    ~Adapter() {
        if (code_ == ERROR_SUCCESS) CloseHandle(handle_);
    }
    Adapter(const Adapter&) = delete;
    Adapter& operator=(const Adapter&) = delete;

    [[nodiscard]] DWORD code() const noexcept { return code_; }
    [[nodiscard]] HANDLE handle() const noexcept { return handle_; }

  private:
    HANDLE handle_ = nullptr;
    DWORD code_;
};

/// Runs one command of the driver that needs nothing but the adapter.
DWORD send(std::string_view what, DWORD (*command)(HANDLE, LPOVERLAPPED)) {
    const Adapter adapter;
    if (adapter.code() != ERROR_SUCCESS) {
        return report_adapter_failure(what, ERROR_OPEN_FAILED, adapter.code());
    }
    const DWORD code = command(adapter.handle(), nullptr);
    return code == ERROR_SUCCESS ? code : report_failure(Task::other, what, code);
}

DWORD remove_all_and_reset(DWORD timeout_ms, DWORD interval_ms) {
    {
        // Closed before the reset: an open handle would keep the adapter in use.
        const Adapter adapter;
        if (adapter.code() != ERROR_SUCCESS) {
            return report_adapter_failure("Could not open the adapter", adapter.code(),
                                          adapter.code());
        }
        print_error("Forcefully removing WNBD disk mappings.");
        const DWORD code = WnbdRemoveAllDisks(adapter.handle());
        if (code != ERROR_SUCCESS) {
            return report_failure(Task::other,
                                  "Could not remove the disks, the adapter is not reset", code);
        }
    }
    const DWORD code = WnbdResetAdapterEx(timeout_ms, interval_ms);
    return code == ERROR_SUCCESS ? code
                                 : report_failure(Task::reset, "Could not reset the adapter", code);
}

}  // namespace

DWORD run_reset_adapter(const Arguments& arguments) {
    const auto timeout = milliseconds(arguments, "reset-timeout", 10);
    const auto interval = milliseconds(arguments, "reset-retry-interval", 1);
    if (!timeout || !interval) return ERROR_INVALID_PARAMETER;

    if (!arguments.has("hard-disconnect-mappings")) {
        constexpr std::string_view what = "Could not reset the adapter";
        if (const Adapter adapter; adapter.code() != ERROR_SUCCESS) {
            return report_adapter_failure(what, adapter.code(), adapter.code());
        }
        const DWORD code = WnbdResetAdapterEx(*timeout, *interval);
        return code == ERROR_SUCCESS ? code : report_failure(Task::reset, what, code);
    }
    const DWORD code = remove_all_and_reset(*timeout, *interval);
    // WnbdRemoveAllDisks forbids new mappings; whatever happened since, they are allowed again.
    const DWORD allowed = WnbdResetDrvOpt("NewMappingsAllowed", FALSE);
    if (code != ERROR_SUCCESS) return code;
    if (allowed == ERROR_SUCCESS) return allowed;
    return report_failure(Task::option, "Could not reset the option 'NewMappingsAllowed'", allowed);
}

DWORD run_ping(const Arguments& arguments) {
    const DWORD code = send("The driver does not answer", WnbdIoctlPing);
    if (code != ERROR_SUCCESS) return code;
    if (arguments.format() == OutputFormat::json)
        return print(json_text({{"Answers", Switch{true}}}));
    return print("The driver answers.\n");
}

DWORD run_reload_config(const Arguments& /*arguments*/) {
    return send("Could not reload the driver's options", WnbdIoctlReloadConfig);
}

}  // namespace wnbd::client
