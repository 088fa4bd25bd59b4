// SPDX-License-Identifier: LGPL-2.1-or-later
// A small world around one real Disk: a few SRBs, fetching and replying threads, resets, a removal.
// Each of their steps is one action; explore() runs the actions in every order there is.
//
// A world lies in one block of memory together with the disk's table, and everything in it may be
// copied out and back byte by byte: that is how a search goes back to an earlier state.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "engine/disk.h"
#include "engine/model/initiator.h"
#include "engine/native/control.h"

namespace wnbd::engine::model {

/// What a world consists of. Counts say how often an action may happen on one way through it.
struct Scenario {
    struct Command {
        Cdb cdb;
        std::size_t buffer_length;
    };
    std::vector<Command> commands;  // at most max_commands
    std::uint32_t capacity = 3;     // of the request table
    std::uint8_t fetchers = 1;      // at most max_fetchers
    bool in_process = false;        // served by take_now() and finish_step(), too
    std::uint8_t lun_resets = 0;    // with aborts: at most max_resets
    std::uint8_t aborts = 0;        // of the first command
    std::uint8_t bus_resets = 0;
    bool removal = false;
    bool owner_dies = false;       // a second removal, from another thread
    std::uint8_t alerts = 0;       // of a waiting fetcher, whose thread then ends
    std::uint8_t returns = 0;      // return_unfetched() instead of publish()
    std::uint8_t rejections = 0;   // reject() instead of publish()
    std::uint8_t bad_replies = 0;  // fail_reply() instead of finish_reply()
    std::uint8_t error_replies = 0;
    std::uint8_t misfits = 0;        // return_unanswered() instead of finish_reply()
    std::uint8_t stray_replies = 0;  // with a tag that was answered before, or never given
};

constexpr std::size_t max_commands = 3;
constexpr std::size_t max_fetchers = 2;
constexpr std::size_t max_resets = 2;
constexpr std::size_t max_tags = 16;

enum class Verb : std::uint8_t {
    post,          // a command comes in
    fetch,         // a fetcher calls take(): its first, or after it was woken
    publish,       // ... ends its copy
    hand_back,     // ... could not copy
    reject,        // ... cannot take it at all
    alert,         // a waiting fetcher gives up
    begin_reply,   // a reply's tag is looked up
    finish_reply,  // ... its data is taken
    error_reply,   // ... it tells of an error
    bad_reply,     // ... its data cannot be had
    misfit_reply,  // ... it answers something else
    stray_reply,
    take_now,     // what was said to be due after the action before
    finish_step,  // of what take_now gave
    error_step,
    bad_step,
    lun_reset,
    abort,
    bus_reset,
    begin_removal,
    owner_dies,
    finish_removal,
};

[[nodiscard]] constexpr std::size_t number(Verb verb) noexcept {
    return static_cast<std::size_t>(verb);
}

/// Every buffer and every reply: whatever is compared is equal.
inline std::uint8_t zeroes[8 * block_size];
/// No time passes in a world.
constexpr StaleRule patient{};

struct Action {
    Verb verb;
    std::uint8_t index;  // of the command, fetcher, tag
};

[[nodiscard]] std::string describe(const Action& action);

class World final : public TestPort {
  public:
    World(const Scenario& scenario, platform::native::Arena& arena) noexcept;
    World(const World&) = delete;
    World& operator=(const World&) = delete;

    /// Everything that could happen next. None: the world has come to rest.
    void enabled(std::vector<Action>& actions) const noexcept;
    void perform(const Action& action) noexcept;
    /// What holds between any two actions.
    void check() noexcept;
    /// What holds when nothing can happen any more. Then uses the disk up and ends it.
    void check_at_rest() noexcept;
    /// Equal for equal states.
    [[nodiscard]] std::uint64_t fingerprint() const noexcept;

  private:
    struct Fetcher {
        enum class Phase : std::uint8_t { idle, waiting, copying, ended };
        Phase phase = Phase::idle;
        Waiter waiter;
        Request* request = nullptr;
    };
    /// A tag that user space was given.
    struct Handed {
        enum class Phase : std::uint8_t { outstanding, copying, spent };
        Phase phase = Phase::spent;
        std::uint8_t command = 0;
        Tag tag = 0;
        Request* request = nullptr;
    };
    struct Reset {
        ResetWait wait;
        std::uint8_t concerned = 0;  // bit per command that must end before the reset does
        bool issued = false;
        bool done = false;
    };

    /// What take_now() gave, until its step is over. One place per command.
    using Taken = Request*;

    void on_complete(Srb& srb) noexcept override;
    void on_reset_done(void* reset_srb) noexcept override;

    [[nodiscard]] bool outstanding(std::size_t command) const noexcept;
    [[nodiscard]] bool under_copy(std::size_t command) const noexcept;
    [[nodiscard]] std::uint8_t all_outstanding() const noexcept;
    [[nodiscard]] bool has_other_fetcher(std::size_t fetcher) const noexcept;
    [[nodiscard]] std::uint32_t references() const noexcept;
    [[nodiscard]] std::uint8_t index_of(const void* srb) const noexcept;
    [[nodiscard]] bool is_next_of_its_kind(std::size_t command) const noexcept;
    void enabled_fetches(std::vector<Action>& actions) const noexcept;
    void enabled_replies(std::vector<Action>& actions) const noexcept;
    void enabled_steps(std::vector<Action>& actions) const noexcept;
    void enabled_endings(std::vector<Action>& actions) const noexcept;

    void post(std::size_t command) noexcept;
    void fetch(Fetcher& fetcher) noexcept;
    void end_fetch(Fetcher& fetcher, Verb how) noexcept;
    void alert(Fetcher& fetcher) noexcept;
    void begin_reply(Handed& handed) noexcept;
    void end_reply(Handed& handed, Verb how) noexcept;
    void stray_reply(std::size_t index) noexcept;
    void take_now() noexcept;
    void end_step(std::size_t command, Verb how) noexcept;
    void drain(Verb how) noexcept;
    void note_drain(std::uint8_t concerned, Cause cause) noexcept;
    void begin_removal() noexcept;
    void finish_removal() noexcept;
    void use_up() noexcept;

    const Scenario& scenario_;
    platform::native::Arena& arena_;
    const Request* table_ = nullptr;
    Disk disk_;
    Srb srbs_[max_commands];
    bool posted_[max_commands] = {};
    std::uint8_t causes_[max_commands] = {};  // bit per Cause a drain has named while it was out
    Fetcher fetchers_[max_fetchers];
    Handed handed_[max_tags];
    Taken taken_[max_commands] = {};
    Reset resets_[max_resets];
    std::uint8_t handed_count_ = 0;
    std::uint8_t reset_count_ = 0;
    std::uint8_t left_[number(Verb::finish_removal) + 1] = {};  // actions to come
    std::int64_t admitted_ = 0;
    bool take_due_ = false;  // somebody has to call take_now() until it gives nothing
    bool removing_ = false;
    bool removed_ = false;
    bool using_up_ = false;          // the last check posts commands of its own
    Cause acting_ = Cause::removed;  // how the running action itself may end an SRB
};

}  // namespace wnbd::engine::model
