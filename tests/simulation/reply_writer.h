// SPDX-License-Identifier: LGPL-2.1-or-later
// A server's answers, in each form that the protocol has, and now and then in one that it has not.
#pragma once

#include <cstdint>
#include <vector>

#include "judge.h"
#include "nbd/export_info.h"
#include "nbd/test_wire.h"
#include "personality.h"
#include "store.h"

namespace wnbd::nbd::sim {

class ReplyWriter {
  public:
    ReplyWriter(World& world, Store& store, const Personality& personality)
        : world_(world), store_(store), personality_(personality) {}

    void agreed(WireFormat format, bool allocation) noexcept {
        format_ = format;
        allocation_ = allocation;
    }
    /// The answer, in parts between which others may come. At least one.
    [[nodiscard]] std::vector<std::vector<std::uint8_t>> write(const Job& job, std::uint32_t error);

  private:
    using Parts = std::vector<std::vector<std::uint8_t>>;

    void simple(const Job& job, std::uint32_t error, Parts& parts);
    void chunk(const Job& job, std::uint16_t type, bool done, const test::Wire& payload,
               Parts& parts);
    void error_chunk(const Job& job, std::uint32_t error, Parts& parts);
    void read_chunks(const Job& job, Parts& parts);
    void read_chunk(const Job& job, std::uint64_t offset, std::uint64_t length, bool done,
                    Parts& parts);
    void status_chunk(const Job& job, Parts& parts);
    [[nodiscard]] std::vector<std::uint8_t> content(std::uint64_t offset, std::uint64_t length);
    [[nodiscard]] bool all_zero(std::uint64_t offset, std::uint64_t length);
    void lie(const Job& job, Parts& parts);
    void lie_in_chunks(const Job& job, Parts& parts);

    World& world_;
    Store& store_;
    const Personality& personality_;
    WireFormat format_ = WireFormat::simple;
    bool allocation_ = false;
};

}  // namespace wnbd::nbd::sim
