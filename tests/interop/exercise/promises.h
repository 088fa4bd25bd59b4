// SPDX-License-Identifier: LGPL-2.1-or-later
// What a disk has promised of each block: which writes it acknowledged, which of those it flushed.
#pragma once

#include <algorithm>
#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "tests/interop/exercise/stamp.h"

namespace wnbd::test {

/// Sequences of the writes to one block; 0: none, zeroes.
struct Promise {
    std::uint64_t flushed = 0;       // covered by a flush or its own FUA
    std::uint64_t acknowledged = 0;  // or seen by a read
    std::uint64_t newest = 0;        // ever submitted
};

/// The promises for a part of a disk, all made to one writer. Not thread-safe.
class Promises {
  public:
    Promises() = default;
    Promises(std::uint32_t writer, std::uint64_t first, std::uint64_t blocks)
        : writer_(writer), first_(first), blocks_(blocks) {}

    [[nodiscard]] std::uint32_t writer() const noexcept { return writer_; }
    [[nodiscard]] std::uint64_t first() const noexcept { return first_; }
    [[nodiscard]] std::uint64_t blocks() const noexcept { return blocks_.size(); }
    [[nodiscard]] Promise& of(std::uint64_t block) { return blocks_.at(block - first_); }

    /// What is wrong with what a block shows; empty: nothing. `cache_may_be_lost`: what was
    /// acknowledged and not flushed may be gone.
    [[nodiscard]] std::string judge(std::uint64_t block, const StampFormat::Seen& seen,
                                    bool cache_may_be_lost) const;

    /// To a file, and back from one that save() made for all writers of a disk.
    [[nodiscard]] static bool save(const std::string& path, const std::vector<Promises>& all);
    [[nodiscard]] static Result<std::vector<Promises>, std::string> load(const std::string& path);

  private:
    std::uint32_t writer_ = 0;
    std::uint64_t first_ = 0;
    std::vector<Promise> blocks_;
};

}  // namespace wnbd::test
