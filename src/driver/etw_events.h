// SPDX-License-Identifier: LGPL-2.1-or-later
// The sink that the manifest wnbdevents.xml describes: errors, warnings and information go to the
// System log and to tracing sessions, debug messages to tracing sessions only.
#pragma once

#include "driver/etw_provider.h"
#include "driver/log_message.h"

namespace wnbd::driver {

class EtwEvents {
  public:
    /// PASSIVE_LEVEL.
    NTSTATUS open() noexcept;
    void close() noexcept { provider_.close(); }

    // Any IRQL.
    [[nodiscard]] bool wants(LogLevel level) const noexcept;
    void write(const LogMessage& message) const noexcept;

  private:
    EtwProvider provider_;
};

}  // namespace wnbd::driver
