// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/cfgmgr32/adapters.h"

#include <windows.h>

#include <algorithm>

namespace wnbd::lab::cfgmgr {
namespace {

constexpr unsigned kUnitsMax = 1024;

class Handle {
  public:
    explicit Handle(unsigned port) {
        const std::wstring name = L"\\\\.\\Scsi" + std::to_wstring(port) + L":";
        handle_ =
            CreateFileW(name.c_str(), GENERIC_READ | GENERIC_WRITE,
                        FILE_SHARE_READ | FILE_SHARE_WRITE, nullptr, OPEN_EXISTING, 0, nullptr);
    }
    ~Handle() {
        if (*this) CloseHandle(handle_);
    }
    Handle(const Handle&) = delete;
    Handle& operator=(const Handle&) = delete;

    explicit operator bool() const { return handle_ != INVALID_HANDLE_VALUE; }

    /// Bytes that came back, or nothing.
    std::optional<DWORD> control(std::uint32_t code, void* in, std::size_t in_bytes, void* out,
                                 std::size_t out_bytes) const {
        DWORD done = 0;
        if (!*this || !DeviceIoControl(handle_, code, in, static_cast<DWORD>(in_bytes), out,
                                       static_cast<DWORD>(out_bytes), &done, nullptr))
            return std::nullopt;
        return done;
    }

  private:
    HANDLE handle_;
};

std::optional<std::uint32_t> ask(unsigned port, std::uint32_t code, void* in,
                                 std::size_t in_bytes) {
    control::Answer answer{};
    if (!Handle(port).control(code, in, in_bytes, &answer, sizeof answer)) return std::nullopt;
    return answer.result;
}

}  // namespace

std::vector<unsigned> ports() {
    std::vector<unsigned> found;
    for (unsigned port = 0; port < kPortsMax; ++port) {
        if (state_of(port)) found.push_back(port);
    }
    return found;
}

std::vector<control::UnitEntry> units(unsigned port) {
    std::vector<control::UnitEntry> entries(kUnitsMax);
    const auto done = Handle(port).control(control::kListUnits, nullptr, 0, entries.data(),
                                           entries.size() * sizeof entries[0]);
    entries.resize(done ? *done / sizeof entries[0] : 0);
    return entries;
}

std::optional<std::uint32_t> remove_unit(unsigned port, const std::u16string& path) {
    control::UnitName name{};
    std::copy_n(path.begin(), std::min<std::size_t>(path.size(), control::kNameChars - 1),
                name.path);
    return ask(port, control::kRemoveUnit, &name, sizeof name);
}

std::optional<std::uint32_t> disable(unsigned port) {
    return ask(port, control::kDisable, nullptr, 0);
}

bool surprise(unsigned port) {
    return Handle(port).control(control::kSurprise, nullptr, 0, nullptr, 0).has_value();
}

std::optional<std::uint32_t> enable(unsigned port) {
    return ask(port, control::kEnable, nullptr, 0);
}

bool rescan(unsigned port) {
    return Handle(port).control(control::kRescan, nullptr, 0, nullptr, 0).has_value();
}

bool start_trace(unsigned port, control::Trace trace) {
    return Handle(port).control(control::kStartTrace, &trace, sizeof trace, nullptr, 0).has_value();
}

bool stop_trace(unsigned port, control::Trace trace) {
    return Handle(port).control(control::kStopTrace, &trace, sizeof trace, nullptr, 0).has_value();
}

std::optional<control::State> state_of(unsigned port) {
    control::State state{};
    if (!Handle(port).control(control::kState, nullptr, 0, &state, sizeof state))
        return std::nullopt;
    return state;
}

std::optional<control::Answer> send_reset(unsigned port, control::Reset reset) {
    control::Answer answer{};
    if (!Handle(port).control(control::kReset, &reset, sizeof reset, &answer, sizeof answer))
        return std::nullopt;
    return answer;
}

bool is_started(unsigned port) {
    const std::optional<control::State> state = state_of(port);
    return state && state->started != 0;
}

}  // namespace wnbd::lab::cfgmgr
