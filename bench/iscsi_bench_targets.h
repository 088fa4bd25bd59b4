// SPDX-License-Identifier: LGPL-2.1-or-later
// The iSCSI targets that are measured side by side, each a process of its own on a loopback port of
// its own.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <memory>
#include <string>

namespace wnbd::bench {

/// A running target with one disk; it ends with this object.
class IscsiTarget {
  public:
    IscsiTarget(const IscsiTarget&) = delete;
    IscsiTarget& operator=(const IscsiTarget&) = delete;
    virtual ~IscsiTarget() = default;

    [[nodiscard]] virtual const char* name() const noexcept = 0;
    [[nodiscard]] virtual const std::string& url() const noexcept = 0;
    [[nodiscard]] virtual pid_t process() const noexcept = 0;

  protected:
    IscsiTarget() = default;
};

// Each throws std::runtime_error when its target cannot be started. `size` is in bytes.

/// tgtd on a file in tmpfs, with its default settings.
[[nodiscard]] std::unique_ptr<IscsiTarget> start_tgt(std::uint64_t size);
/// `program serve --memory`.
[[nodiscard]] std::unique_ptr<IscsiTarget> start_ours_on_memory(const std::string& program,
                                                                std::uint64_t size);
/// `program serve --file` on a file in tmpfs: the same medium as tgt's.
[[nodiscard]] std::unique_ptr<IscsiTarget> start_ours_on_file(const std::string& program,
                                                              std::uint64_t size);

}  // namespace wnbd::bench
