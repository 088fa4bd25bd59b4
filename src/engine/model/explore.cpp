// SPDX-License-Identifier: LGPL-2.1-or-later
#include "engine/model/explore.h"

#include <cstring>
#include <memory>
#include <new>
#include <unordered_map>

namespace wnbd::engine::model {

namespace {

constexpr std::size_t memory_size = std::size_t{16} << 10;
constexpr std::size_t max_depth = 64;

class Search {
  public:
    explicit Search(const Scenario& scenario)
        : memory_(static_cast<std::byte*>(::operator new(memory_size, std::align_val_t{64}))) {
        std::memset(memory_, 0, memory_size);
        auto* const arena = new (memory_) platform::native::Arena;
        arena->next = memory_ + sizeof(platform::native::Arena);
        arena->end = memory_ + memory_size;
        platform::native::allocate_from(arena);
        void* const place = platform::allocate(sizeof(World));
        arena->blocks = 0;
        world_ = new (place) World(scenario, *arena);
        used_ = static_cast<std::size_t>(arena->next - memory_);
        levels_.resize(max_depth);
        current = this;
        explain = &tell;
    }

    ~Search() {
        explain = nullptr;
        current = nullptr;
        platform::native::allocate_from(nullptr);
        ::operator delete(memory_, std::align_val_t{64});
    }

    Search(const Search&) = delete;
    Search& operator=(const Search&) = delete;

    Explored run() {
        explored_.schedules = from_here(0);
        explored_.states = seen_.size();
        return explored_;
    }

  private:
    struct Level {
        std::vector<Action> actions;
        std::size_t current = 0;
        std::unique_ptr<std::byte[]> saved;
    };

    /// How many ways lead on from the state the world is in.
    std::uint64_t from_here(std::size_t depth) {
        const std::uint64_t print = world_->fingerprint();
        if (const auto known = seen_.find(print); known != seen_.end()) return known->second;
        require(depth < max_depth, "the search has room for every way");
        depth_ = depth;
        Level& level = levels_[depth];
        if (level.saved == nullptr) level.saved = std::make_unique<std::byte[]>(used_);
        std::memcpy(level.saved.get(), memory_, used_);
        world_->enabled(level.actions);
        std::uint64_t ways = 0;
        if (level.actions.empty()) {
            world_->check_at_rest();
            ++explored_.ends;
            ways = 1;
            std::memcpy(memory_, level.saved.get(), used_);
        }
        for (level.current = 0; level.current < level.actions.size(); ++level.current) {
            depth_ = depth;
            world_->perform(level.actions[level.current]);
            world_->check();
            ways += from_here(depth + 1);
            std::memcpy(memory_, level.saved.get(), used_);
        }
        seen_.emplace(print, ways);
        return ways;
    }

    static void tell() {
        for (std::size_t depth = 0; depth <= current->depth_; ++depth) {
            const Level& level = current->levels_[depth];
            if (level.current >= level.actions.size()) break;
            std::fprintf(stderr, "  after: %s\n", describe(level.actions[level.current]).c_str());
        }
    }

    static inline thread_local Search* current = nullptr;

    std::byte* memory_;
    World* world_ = nullptr;
    std::size_t used_ = 0;
    std::size_t depth_ = 0;
    std::vector<Level> levels_;
    std::unordered_map<std::uint64_t, std::uint64_t> seen_;
    Explored explored_;
};

}  // namespace

Explored explore(const Scenario& scenario) {
    platform::native::hold_time(1);
    const Explored explored = Search(scenario).run();
    platform::native::release_time();
    return explored;
}

}  // namespace wnbd::engine::model
