// SPDX-License-Identifier: LGPL-2.1-or-later
// reset-adapter, ping and reload-config: commands that concern the adapter and no disk.
#include "client/commands/commands.h"
#include "client/commands/seconds.h"
#include "client/fields.h"
#include "client/system.h"
#include "wnbd.h"

namespace wnbd::client {
namespace {

/// WnbdOpenAdapter's error for an adapter that is there, but disabled.
constexpr DWORD error_not_started = ERROR_FILE_NOT_FOUND;

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
DWORD send(
    std::string_view what, DWORD (*command)(HANDLE, LPOVERLAPPED),
    const char* (*detail_of)(DWORD) = [](DWORD) { return ""; }) {
    const Adapter adapter;
    if (adapter.code() != ERROR_SUCCESS) {
        return report_adapter_failure(what, ERROR_OPEN_FAILED, adapter.code());
    }
    const DWORD code = command(adapter.handle(), nullptr);
    return code == ERROR_SUCCESS ? code : report_failure(Task::other, what, code, detail_of(code));
}

/// The handle is closed when this returns: it would keep the adapter in use.
DWORD remove_all_disks() {
    const Adapter adapter;
    if (adapter.code() == error_not_started) return ERROR_SUCCESS;  // then it has no disks
    if (adapter.code() != ERROR_SUCCESS)
        return report_adapter_failure("Could not open the adapter", adapter.code(), adapter.code());
    print_error("Forcefully removing WNBD disk mappings.");
    const DWORD code = WnbdRemoveAllDisks(adapter.handle());
    if (code == ERROR_SUCCESS) return code;
    return report_failure(Task::other, "Could not remove the disks, the adapter is not reset",
                          code);
}

}  // namespace

// The library sees to it that new mappings are refused meanwhile and allowed again afterwards.
DWORD run_reset_adapter(const Arguments& arguments) {
    const auto timeout = milliseconds(arguments, "reset-timeout", 10);
    const auto interval = milliseconds(arguments, "reset-retry-interval", 1);
    if (!timeout || !interval) return ERROR_INVALID_PARAMETER;
    if (arguments.has("hard-disconnect-mappings")) {
        if (const DWORD code = remove_all_disks(); code != ERROR_SUCCESS) return code;
    }
    constexpr std::string_view what = "Could not reset the adapter";
    const DWORD code = WnbdResetAdapterEx(*timeout, *interval);
    switch (code) {
        case ERROR_SUCCESS: return code;
        case ERROR_NO_MORE_ITEMS:
        case ERROR_ACCESS_DENIED: return report_adapter_failure(what, code, code);
        default: return report_failure(Task::reset, what, code);
    }
}

DWORD run_ping(const Arguments& arguments) {
    const DWORD code = send("The driver does not answer", WnbdIoctlPing);
    if (code != ERROR_SUCCESS) return code;
    if (arguments.format() == OutputFormat::json)
        return print(json_text({{"Answers", Switch{true}}}));
    return print("The driver answers.\n");
}

DWORD run_reload_config(const Arguments& /*arguments*/) {
    return send("Could not reload the driver's options", WnbdIoctlReloadConfig, [](DWORD code) {
        return code == ERROR_INVALID_PARAMETER || code == ERROR_INVALID_HANDLE
                   ? "a stored value is out of range or of a wrong type and was ignored; the "
                     "driver's log names it"
                   : "";
    });
}

}  // namespace wnbd::client
