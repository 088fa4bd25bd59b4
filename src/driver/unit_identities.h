// SPDX-License-Identifier: LGPL-2.1-or-later
// What Storport knows to be at each target, as far as our answers to its scans tell. A device
// object stands for what the scan found that made it, and the disk of that target may be another
// one by now.
#pragma once

#include <cstdint>

#include "engine/adapter.h"

namespace wnbd::driver {

class UnitIdentities {
  public:
    struct Identity {
        std::uint64_t connection_id = 0;  // of the disk that answered last; 0: nothing is there
        /// Changes whenever Storport has reason to make a new device object for the target: nothing
        /// was there in between, or what is there has another serial number.
        std::uint32_t generation = 0;
    };

    // Any IRQL up to DISPATCH_LEVEL, any thread.

    /// A disk has answered an INQUIRY.
    void present(std::uint8_t target, engine::Unit& unit) noexcept;
    /// Storport looked for a unit and was told that there is none.
    void absent(std::uint8_t target) noexcept;
    [[nodiscard]] Identity current(std::uint8_t target) noexcept;

  private:
    struct Entry {
        Identity identity;
        std::uint64_t serial_hash = 0;
    };

    platform::SpinLock lock_;  // guards entries_; held for a handful of instructions
    Entry entries_[engine::max_disks] = {};
};

}  // namespace wnbd::driver
