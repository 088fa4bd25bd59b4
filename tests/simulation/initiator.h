// SPDX-License-Identifier: LGPL-2.1-or-later
// Issues requests of all kinds, also overlapping ones, and tells the judge.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "judge.h"
#include "nbd/export_info.h"
#include "world.h"

namespace wnbd::nbd::sim {

class Initiator {
  public:
    using Submit = std::function<void(std::span<Request* const>)>;

    Initiator(World& world, Judge& judge, const Agreement& agreement, unsigned depth,
              Submit submit);

    /// Submits some. False: there was no room.
    bool work();
    /// Nothing more is issued, in completions neither.
    void stop() noexcept { stopped_ = true; }
    [[nodiscard]] std::uint64_t completed() const noexcept { return completed_; }
    /// Reads everything that is kept. False: there is no room just now.
    [[nodiscard]] bool read_all();

  private:
    static constexpr std::uint32_t extents_max = 64;
    struct Slot {
        Request request{};
        Initiator* owner = nullptr;
        std::uint64_t number = 0;
        bool busy = false;
        std::vector<std::uint8_t> buffer;
        std::vector<Extent> room;
        ExtentList extents{};
    };

    static void done(Request& request, Outcome outcome) noexcept;
    void ended(Slot& slot, const Outcome& outcome);
    [[nodiscard]] Slot* free_slot() noexcept;
    void prepare(Slot& slot);
    [[nodiscard]] CommandType draw_type();
    [[nodiscard]] Blocks draw_range(CommandType type);
    void fill(Slot& slot, CommandType type, std::uint16_t flags, const Blocks& range);
    [[nodiscard]] bool has(std::uint16_t flag) const noexcept {
        return (agreement_.info.transmission_flags & flag) != 0;
    }

    World& world_;
    Judge& judge_;
    const Agreement agreement_;
    Submit submit_;
    std::vector<Slot> slots_;
    std::uint64_t align_;  // blocks
    std::uint64_t sequence_ = 0;
    std::uint64_t completed_ = 0;
    bool stopped_ = false;
};

}  // namespace wnbd::nbd::sim
