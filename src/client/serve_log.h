// SPDX-License-Identifier: LGPL-2.1-or-later
// The target's log on the error output.
#pragma once

#include "iscsi/target.h"

namespace wnbd::client {

/// Thread-safe.
class ServeLog final : public iscsi::Log {
  public:
    explicit ServeLog(bool debug) noexcept : debug_(debug) {}
    void write(Level level, const std::string& line) noexcept override;

  private:
    const bool debug_;
};

}  // namespace wnbd::client
