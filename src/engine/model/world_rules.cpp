// SPDX-License-Identifier: LGPL-2.1-or-later
// What can happen next in a world, what always holds in it, and when two of its states are one.
#include <algorithm>
#include <bit>
#include <cstring>

#include "engine/model/world.h"

namespace wnbd::engine::model {

namespace {

/// Mixes words into a number that is equal for equal sequences and hardly ever otherwise.
class Mixer {
  public:
    void add(std::uint64_t word) noexcept {
        state_ = (std::rotl(state_, 23) ^ word) * 0x9E3779B97F4A7C15U;
        state_ ^= state_ >> 29;
    }
    void add(const void* pointer) noexcept { add(reinterpret_cast<std::uint64_t>(pointer)); }
    void add_bytes(const void* from, std::size_t length) noexcept {
        const auto* const bytes = static_cast<const std::byte*>(from);
        for (std::size_t at = 0; at < length; at += sizeof(std::uint64_t)) {
            std::uint64_t word = 0;
            std::memcpy(&word, bytes + at, std::min(sizeof(word), length - at));
            add(word);
        }
    }
    [[nodiscard]] std::uint64_t result() const noexcept { return state_; }

  private:
    std::uint64_t state_ = 0x243F6A8885A308D3U;
};

}  // namespace

// --- What can happen

void World::enabled(std::vector<Action>& actions) const noexcept {
    actions.clear();
    for (std::size_t i = 0; i < scenario_.commands.size(); ++i) {
        const auto command = static_cast<std::uint8_t>(i);
        if (!posted_[i] && is_next_of_its_kind(command)) actions.push_back({Verb::post, command});
    }
    if (removed_) return;
    enabled_fetches(actions);
    enabled_replies(actions);
    enabled_steps(actions);
    enabled_endings(actions);
}

void World::enabled_fetches(std::vector<Action>& actions) const noexcept {
    for (std::uint8_t i = 0; i < scenario_.fetchers; ++i) {
        const Fetcher& fetcher = fetchers_[i];
        auto& event = const_cast<platform::Event&>(fetcher.waiter.wake);
        switch (fetcher.phase) {
            case Fetcher::Phase::idle:
                if (!removing_) actions.push_back({Verb::fetch, i});
                break;
            case Fetcher::Phase::waiting:
                if (platform::native::is_set(event)) actions.push_back({Verb::fetch, i});
                if (left_[number(Verb::alert)] > 0 && has_other_fetcher(i))
                    actions.push_back({Verb::alert, i});
                break;
            case Fetcher::Phase::ended: break;
            case Fetcher::Phase::copying:
                actions.push_back({Verb::publish, i});
                for (const Verb verb : {Verb::hand_back, Verb::reject})
                    if (left_[number(verb)] > 0) actions.push_back({verb, i});
                break;
        }
    }
}

void World::enabled_replies(std::vector<Action>& actions) const noexcept {
    for (std::uint8_t i = 0; i < handed_count_; ++i) {
        switch (handed_[i].phase) {
            case Handed::Phase::outstanding:
                if (!removing_) actions.push_back({Verb::begin_reply, i});
                break;
            case Handed::Phase::copying:
                actions.push_back({Verb::finish_reply, i});
                for (const Verb verb : {Verb::error_reply, Verb::bad_reply, Verb::misfit_reply})
                    if (left_[number(verb)] > 0) actions.push_back({verb, i});
                break;
            case Handed::Phase::spent:
                if (left_[number(Verb::stray_reply)] > 0 && !removing_)
                    actions.push_back({Verb::stray_reply, i});
                break;
        }
    }
}

void World::enabled_steps(std::vector<Action>& actions) const noexcept {
    if (take_due_) actions.push_back({Verb::take_now, 0});
    for (std::uint8_t i = 0; i < max_commands; ++i) {
        if (taken_[i] == nullptr) continue;
        actions.push_back({Verb::finish_step, i});
        for (const Verb verb : {Verb::error_step, Verb::bad_step})
            if (left_[number(verb)] > 0) actions.push_back({verb, i});
    }
}

void World::enabled_endings(std::vector<Action>& actions) const noexcept {
    if (!removing_)
        for (const Verb verb : {Verb::lun_reset, Verb::abort, Verb::bus_reset})
            if (left_[number(verb)] > 0) actions.push_back({verb, 0});
    for (const Verb verb : {Verb::begin_removal, Verb::owner_dies})
        if (left_[number(verb)] > 0) actions.push_back({verb, 0});
    if (removing_ && references() == 0) actions.push_back({Verb::finish_removal, 0});
}

// --- What holds

void World::check() noexcept {
    if (removed_) return;
    const Counters counters = disk_.counters();
    require(counters.received == admitted_, "what was queued is counted as received");
    require(counters.received == counters.submitted + counters.unsubmitted + counters.rejected +
                                     counters.aborted_unsubmitted,
            "received = submitted + unsubmitted + rejected + aborted");
    require(counters.submitted ==
                counters.replies + counters.pending_submitted + counters.aborted_submitted,
            "submitted = replies + pending + aborted");
    require(counters.outstanding() == std::popcount(all_outstanding()),
            "outstanding are those that are not completed");
    require(counters.unsubmitted >= 0 && counters.pending_submitted >= 0, "no count is negative");
    require(disk_.has_outstanding() == (all_outstanding() != 0), "outstanding requests are seen");
    bool copying = false;
    for (std::size_t i = 0; i < scenario_.commands.size(); ++i)
        copying = copying || under_copy(i);
    for (const Reset& reset : resets_)
        require(!reset.issued || reset.done || copying,
                "a reset waits only for requests under copy");
}

void World::check_at_rest() noexcept {
    require(all_outstanding() == 0, "every SRB that came in completes");
    for (const Reset& reset : resets_)
        require(reset.done == reset.issued, "every reset ends");
    if (removing_) {
        require(removed_, "every removal ends");
        return;
    }
    use_up();
    begin_removal();
    for (Fetcher& fetcher : fetchers_)
        if (fetcher.phase == Fetcher::Phase::waiting) {
            require(platform::native::is_set(fetcher.waiter.wake), "a removal wakes every fetcher");
            fetch(fetcher);
        }
    finish_removal();
}

/// All slots are free: a full table of new commands goes in, and not one more.
void World::use_up() noexcept {
    Srb extra[8];
    require(scenario_.capacity < std::size(extra), "the model has room for a full table");
    scsi::Answer answer;
    std::uint32_t taken = 0;
    for (Srb& srb : extra) {
        srb.cdb = read_cdb(0, 1);
        srb.buffer = zeroes;
        srb.buffer_length = block_size;
        if (disk_.start(&srb, srb.command(), answer) == Disk::Start::full) break;
        ++taken;
    }
    require(taken == scenario_.capacity, "no slot is lost");
    // They end here, while their memory lasts; on_complete() knows nothing of them.
    Reset reset;
    reset.issued = true;
    reset.wait.srb = &reset;
    using_up_ = true;
    require(disk_.drain(Cause::aborted, patient, reset.wait).finished, "nothing is under copy");
    using_up_ = false;
    for (std::uint32_t i = 0; i < taken; ++i)
        require(extra[i].completions == 1, "a reset ends what is pending");
}

std::uint64_t World::fingerprint() const noexcept {
    Mixer mixer;
    mixer.add_bytes(this, sizeof(*this));
    mixer.add(static_cast<std::uint64_t>(arena_.blocks));
    if (removed_) return mixer.result();
    // Field by field: what lies between fields, or in a free slot's old request, is no state.
    for (std::uint32_t slot = 0; slot < scenario_.capacity; ++slot) {
        const Request& request = table_[slot];
        mixer.add(request.previous);
        mixer.add(request.next);
        mixer.add(request.generation);
        mixer.add(static_cast<std::uint64_t>(request.state));
        if (request.state == RequestState::free) continue;
        mixer.add(request.srb);
        mixer.add(request.doomed ? 1 + static_cast<std::uint64_t>(request.doom) : 0);
        mixer.add(request.was_submitted ? 1U : 0U);
        mixer.add(static_cast<std::uint64_t>(request.step.verb));
        mixer.add(request.step.lba);
        mixer.add(request.step.blocks);
        mixer.add(request.step.data_offset);
        mixer.add(static_cast<std::uint64_t>(request.step.sink));
    }
    return mixer.result();
}

}  // namespace wnbd::engine::model
