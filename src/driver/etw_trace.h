// SPDX-License-Identifier: LGPL-2.1-or-later
// The sink under the GUID that used to be WPP's, switched by WppLoggingEnabled: self-describing
// events (TraceLogging's format), which any decoder reads without a manifest and without symbols.
#pragma once

#include "driver/etw_provider.h"
#include "driver/log_message.h"

namespace wnbd::driver {

class EtwTrace {
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
