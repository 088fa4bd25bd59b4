// SPDX-License-Identifier: LGPL-2.1-or-later
// A registration with Event Tracing for Windows.
#pragma once

#include "driver/ddk/etw.h"

namespace wnbd::driver {

/// Starts closed. Without a registration nobody listens, and nothing is written.
class EtwProvider {
  public:
    /// PASSIVE_LEVEL.
    NTSTATUS open(const GUID& guid) noexcept {
        return EtwRegister(&guid, nullptr, nullptr, &handle_);
    }
    /// PASSIVE_LEVEL; nobody writes any more.
    void close() noexcept {
        if (handle_ != 0) (void)EtwUnregister(handle_);
        handle_ = 0;
    }
    /// What the provider says of itself in each event, for as long as it is open. PASSIVE_LEVEL.
    NTSTATUS set_traits(const void* traits, std::size_t bytes) noexcept {
        return EtwSetInformation(handle_, EventProviderSetTraits, const_cast<void*>(traits),
                                 static_cast<ULONG>(bytes));
    }

    /// Whether a session wants such an event. Any IRQL.
    [[nodiscard]] bool wants(const EVENT_DESCRIPTOR& event) const noexcept {
        return handle_ != 0 && EtwEventEnabled(handle_, &event) != FALSE;
    }
    /// Any IRQL. What a full session loses it counts itself: there is nobody else to tell.
    template <std::size_t count>
    void write(const EVENT_DESCRIPTOR& event, EVENT_DATA_DESCRIPTOR (&data)[count]) const noexcept {
        (void)EtwWrite(handle_, &event, nullptr, count, data);
    }

  private:
    REGHANDLE handle_ = 0;
};

}  // namespace wnbd::driver
