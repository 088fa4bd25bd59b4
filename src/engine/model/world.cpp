// SPDX-License-Identifier: LGPL-2.1-or-later
#include "engine/model/world.h"

#include <algorithm>
#include <bit>
#include <cstring>

namespace wnbd::engine::model {

namespace {

constexpr std::uint64_t connection_id = 0x101;
constexpr std::uint64_t block_count = 1024;

constexpr std::uint8_t bit(std::size_t index) noexcept {
    return static_cast<std::uint8_t>(1U << index);
}

constexpr std::uint8_t bit(Cause cause) noexcept {
    return bit(static_cast<std::size_t>(cause));
}

}  // namespace

std::string describe(const Action& action) {
    static constexpr const char* names[] = {
        "post",      "fetch",         "publish",     "hand back",     "reject",       "alert",
        "find tag",  "reply",         "error reply", "bad reply",     "misfit reply", "stray tag",
        "take now",  "end step",      "error step",  "bad step",      "LUN reset",    "abort",
        "bus reset", "begin removal", "owner dies",  "finish removal"};
    return std::string(names[number(action.verb)]) + " " + std::to_string(action.index);
}

World::World(const Scenario& scenario, platform::native::Arena& arena) noexcept
    : scenario_(scenario), arena_(arena) {
    scsi::Disk description;
    description.flush_supported = true;
    description.unmap_supported = true;
    description.max_unmap_descriptors_per_step = 1;
    disk_.initialize(*this);
    table_ = reinterpret_cast<const Request*>(arena.next);
    require(disk_.prepare(connection_id, description, block_count, scenario.capacity),
            "the arena has room for the table");
    disk_.go_online();
    for (std::size_t i = 0; i < scenario.commands.size(); ++i) {
        srbs_[i].cdb = scenario.commands[i].cdb;
        srbs_[i].buffer = zeroes;
        srbs_[i].buffer_length = scenario.commands[i].buffer_length;
    }
    left_[number(Verb::lun_reset)] = scenario.lun_resets;
    left_[number(Verb::abort)] = scenario.aborts;
    left_[number(Verb::bus_reset)] = scenario.bus_resets;
    left_[number(Verb::begin_removal)] = scenario.removal ? 1 : 0;
    left_[number(Verb::owner_dies)] = scenario.owner_dies ? 1 : 0;
    left_[number(Verb::alert)] = scenario.alerts;
    left_[number(Verb::hand_back)] = scenario.returns;
    left_[number(Verb::reject)] = scenario.rejections;
    left_[number(Verb::bad_reply)] = scenario.bad_replies;
    left_[number(Verb::error_reply)] = scenario.error_replies;
    left_[number(Verb::misfit_reply)] = scenario.misfits;
    left_[number(Verb::bad_step)] = scenario.in_process ? scenario.bad_replies : std::uint8_t{0};
    left_[number(Verb::error_step)] =
        scenario.in_process ? scenario.error_replies : std::uint8_t{0};
    left_[number(Verb::stray_reply)] = scenario.stray_replies;
}

// --- What is there

bool World::outstanding(std::size_t command) const noexcept {
    return srbs_[command].pending && srbs_[command].completions == 0;
}

std::uint8_t World::all_outstanding() const noexcept {
    std::uint8_t set = 0;
    for (std::size_t i = 0; i < scenario_.commands.size(); ++i)
        if (outstanding(i)) set |= bit(i);
    return set;
}

bool World::under_copy(std::size_t command) const noexcept {
    for (const Fetcher& fetcher : fetchers_)
        if (fetcher.phase == Fetcher::Phase::copying && fetcher.request->srb == &srbs_[command])
            return true;
    for (const Handed& handed : handed_)
        if (handed.phase == Handed::Phase::copying && handed.command == command) return true;
    return taken_[command] != nullptr;
}

/// Somebody who takes over when this fetcher's thread ends.
bool World::has_other_fetcher(std::size_t fetcher) const noexcept {
    for (std::size_t i = 0; i < scenario_.fetchers; ++i)
        if (i != fetcher && fetchers_[i].phase != Fetcher::Phase::ended) return true;
    return false;
}

/// Between two actions a fetcher holds one from its call on, a replier while it copies, a server in
/// the process while it works.
std::uint32_t World::references() const noexcept {
    std::uint32_t count = 0;
    for (const Fetcher& fetcher : fetchers_)
        if (fetcher.phase == Fetcher::Phase::waiting || fetcher.phase == Fetcher::Phase::copying)
            ++count;
    for (const Handed& handed : handed_)
        if (handed.phase == Handed::Phase::copying) ++count;
    for (const Taken taken : taken_)
        if (taken != nullptr) ++count;
    return count;
}

std::uint8_t World::index_of(const void* srb) const noexcept {
    return static_cast<std::uint8_t>(static_cast<const Srb*>(srb) - srbs_);
}

/// Commands that are alike are posted in order: any other order is the same with other names.
bool World::is_next_of_its_kind(std::size_t command) const noexcept {
    for (std::size_t i = 0; i < command; ++i)
        if (!posted_[i] && scenario_.commands[i].cdb == scenario_.commands[command].cdb)
            return false;
    return true;
}

// --- What happens

void World::perform(const Action& action) noexcept {
    if (left_[number(action.verb)] > 0) --left_[number(action.verb)];
    acting_ = Cause::removed;
    take_due_ = scenario_.in_process;
    switch (action.verb) {
        case Verb::post: post(action.index); break;
        case Verb::fetch: fetch(fetchers_[action.index]); break;
        case Verb::publish:
        case Verb::hand_back:
        case Verb::reject: end_fetch(fetchers_[action.index], action.verb); break;
        case Verb::alert: alert(fetchers_[action.index]); break;
        case Verb::begin_reply: begin_reply(handed_[action.index]); break;
        case Verb::finish_reply:
        case Verb::error_reply:
        case Verb::misfit_reply:
        case Verb::bad_reply: end_reply(handed_[action.index], action.verb); break;
        case Verb::stray_reply: stray_reply(action.index); break;
        case Verb::take_now: take_now(); break;
        case Verb::finish_step:
        case Verb::error_step:
        case Verb::bad_step: end_step(action.index, action.verb); break;
        case Verb::lun_reset:
        case Verb::abort:
        case Verb::bus_reset: drain(action.verb); break;
        case Verb::begin_removal:
        case Verb::owner_dies: begin_removal(); break;
        case Verb::finish_removal: finish_removal(); break;
    }
}

void World::post(std::size_t command) noexcept {
    posted_[command] = true;
    const bool found = disk_.acquire();
    require(found == !removing_, "a disk is found until its removal begins");
    if (!found) return;
    scsi::Answer answer;
    const auto in_use = static_cast<std::uint32_t>(std::popcount(all_outstanding()));
    const Disk::Start start = disk_.start(&srbs_[command], srbs_[command].command(), answer);
    const bool full = in_use == scenario_.capacity;
    require(start == (full ? Disk::Start::full : Disk::Start::pending),
            "a block command is queued as long as there is a slot");
    if (!full) {
        srbs_[command].pending = true;
        ++admitted_;
    }
    disk_.release();
}

void World::fetch(Fetcher& fetcher) noexcept {
    if (fetcher.phase == Fetcher::Phase::waiting)
        platform::wait(fetcher.waiter.wake, true);
    else
        require(disk_.acquire(), "a disk is found until its removal begins");
    switch (disk_.take(fetcher.waiter, fetcher.request)) {
        case Disk::Take::empty: fetcher.phase = Fetcher::Phase::waiting; return;
        case Disk::Take::disconnected:
            require(removing_, "only a removal disconnects");
            fetcher.phase = Fetcher::Phase::idle;
            disk_.release();
            return;
        case Disk::Take::request: break;
    }
    require(!removing_, "no request goes out after a removal has begun");
    fetcher.phase = Fetcher::Phase::copying;
    const std::uint8_t command = index_of(fetcher.request->srb);
    require(outstanding(command), "only an SRB that is not completed goes out");
    for (std::size_t i = 0; i < scenario_.commands.size(); ++i) {
        const bool atomic = scsi::runs_alone(fetcher.request->block);
        require(!atomic || i == command || !under_copy(i), "an atomic request runs alone");
    }
}

void World::end_fetch(Fetcher& fetcher, Verb how) noexcept {
    Request& request = *fetcher.request;
    const std::uint8_t command = index_of(request.srb);
    const Tag tag = request.tag();
    fetcher.phase = Fetcher::Phase::idle;
    fetcher.request = nullptr;
    switch (how) {
        case Verb::hand_back: disk_.return_unfetched(request); break;
        case Verb::reject:
            acting_ = Cause::failed;
            disk_.reject(request);
            require(!outstanding(command), "a rejected request is over");
            break;
        default: {
            disk_.publish(request);
            require(handed_count_ < max_tags, "the model has room for every tag");
            Handed& handed = handed_[handed_count_++];
            handed.tag = tag;
            handed.command = command;
            handed.phase = Handed::Phase::outstanding;
        }
    }
    disk_.release();
}

void World::alert(Fetcher& fetcher) noexcept {
    disk_.withdraw(fetcher.waiter);
    require(!fetcher.waiter.linked(), "who has given up is on no list");
    fetcher.phase = Fetcher::Phase::ended;
    disk_.release();
}

void World::begin_reply(Handed& handed) noexcept {
    require(disk_.acquire(), "a disk is found until its removal begins");
    Request* const request = disk_.begin_reply(handed.tag);
    require((request != nullptr) == outstanding(handed.command),
            "a tag finds its request until its SRB is completed, and not after");
    if (request == nullptr) {
        handed.phase = Handed::Phase::spent;
        disk_.release();
        return;
    }
    require(request->srb == &srbs_[handed.command], "a tag finds its own request");
    handed.request = request;
    handed.phase = Handed::Phase::copying;
}

void World::end_reply(Handed& handed, Verb how) noexcept {
    Request& request = *handed.request;
    handed.phase = Handed::Phase::spent;
    handed.request = nullptr;
    switch (how) {
        case Verb::bad_reply:
            acting_ = Cause::failed;
            disk_.fail_reply(request);
            require(!outstanding(handed.command), "a failed request is over");
            break;
        case Verb::misfit_reply:
            disk_.return_unanswered(request);
            // The tag is as good as before, unless a drain has come meanwhile.
            if (outstanding(handed.command)) handed.phase = Handed::Phase::outstanding;
            break;
        case Verb::error_reply:
            acting_ = Cause::answered;
            disk_.finish_reply(request,
                               scsi::refuse(scsi::SenseKey::medium_error,
                                            scsi::AdditionalSense::unrecovered_read_error),
                               {});
            require(!outstanding(handed.command), "an error ends a request at once");
            break;
        default:
            acting_ = Cause::answered;
            disk_.finish_reply(request, {}, {zeroes, request.step.reply_length});
            break;
    }
    disk_.release();
}

void World::stray_reply(std::size_t index) noexcept {
    require(disk_.acquire(), "a disk is found until its removal begins");
    require(disk_.begin_reply(handed_[index].tag) == nullptr, "a tag is good for one reply");
    for (const Tag forged : {Tag{0}, ~Tag{0}, Tag{scenario_.capacity}, Tag{0xFFFF}})
        require(disk_.begin_reply(forged) == nullptr, "a forged tag finds nothing");
    disk_.release();
}

/// After each other action, until there is nothing: so little is asked of a server in the process.
void World::take_now() noexcept {
    Request* const request = disk_.take_now();
    take_due_ = request != nullptr;
    if (request == nullptr) return;
    require(!removing_, "no request goes out after a removal has begun");
    require(disk_.acquire(), "a disk is found until its removal begins");
    const std::uint8_t command = index_of(request->srb);
    require(outstanding(command), "only an SRB that is not completed goes out");
    for (std::size_t i = 0; i < scenario_.commands.size(); ++i)
        require(!scsi::runs_alone(request->block) || !under_copy(i),
                "an atomic request runs alone");
    taken_[command] = request;
}

void World::end_step(std::size_t command, Verb how) noexcept {
    Request& request = *taken_[command];
    taken_[command] = nullptr;
    switch (how) {
        case Verb::bad_step:
            acting_ = Cause::failed;
            disk_.fail_reply(request);
            require(!outstanding(command), "a failed request is over");
            break;
        case Verb::error_step:
            acting_ = Cause::answered;
            disk_.finish_step(request, scsi::refuse(scsi::SenseKey::medium_error,
                                                    scsi::AdditionalSense::unrecovered_read_error));
            require(!outstanding(command), "an error ends a request at once");
            break;
        default:
            acting_ = Cause::answered;
            disk_.finish_step(request, {});
            break;
    }
    disk_.release();
}

void World::drain(Verb how) noexcept {
    require(disk_.acquire(), "a disk is found until its removal begins");
    if (how == Verb::bus_reset) {
        note_drain(all_outstanding(), Cause::bus_reset);
        static_cast<void>(disk_.drain(Cause::bus_reset, patient));
    } else {
        require(reset_count_ < max_resets, "the model has room for every reset");
        Reset& reset = resets_[reset_count_++];
        const bool all = how == Verb::lun_reset;
        reset.concerned = static_cast<std::uint8_t>(all_outstanding() & (all ? 0xFF : bit(0)));
        reset.issued = true;
        reset.wait.srb = &reset;
        note_drain(reset.concerned, Cause::aborted);
        const Disk::Drain drained = all ? disk_.drain(Cause::aborted, patient, reset.wait)
                                        : disk_.abort(&srbs_[0], patient, reset.wait);
        require(!drained.stale, "no time has passed");
        if (drained.finished) on_reset_done(&reset);
    }
    for (std::size_t i = 0; i < scenario_.commands.size(); ++i)
        if (how != Verb::abort || i == 0)
            require(!outstanding(i) || under_copy(i), "a reset leaves only what is under copy");
    disk_.release();
}

void World::note_drain(std::uint8_t concerned, Cause cause) noexcept {
    for (std::size_t i = 0; i < max_commands; ++i)
        if ((concerned & bit(i)) != 0) causes_[i] |= bit(cause);
}

void World::begin_removal() noexcept {
    note_drain(all_outstanding(), Cause::removed);
    require(disk_.begin_removal() == !removing_, "one of those who remove a disk does it");
    removing_ = true;
    require(!disk_.acquire(), "a disk being removed is not found");
    for (std::size_t i = 0; i < scenario_.commands.size(); ++i)
        require(!outstanding(i) || under_copy(i), "a removal leaves only what is under copy");
}

void World::finish_removal() noexcept {
    disk_.await_idle();
    require(all_outstanding() == 0, "nothing is outstanding when nobody uses a removed disk");
    require(!disk_.begin_removal(), "a removal is not begun twice");
    disk_.finish_removal();
    removed_ = true;
    require(disk_.state() == DiskState::gone, "a removed disk is gone");
    require(arena_.blocks == 0, "a removed disk has given its memory back");
}

void World::on_complete(Srb& srb) noexcept {
    if (using_up_) return;
    const std::uint8_t command = index_of(&srb);
    require(srb.pending, "only what was posted completes");
    require(!removed_, "nothing completes after the removal has finished");
    const std::uint8_t drained = causes_[command];
    if (drained != 0)
        require((drained & bit(srb.cause)) != 0, "a drain's cause stands");
    else
        require(srb.cause == acting_ && acting_ != Cause::removed,
                "an SRB ends for a reason there was");
}

void World::on_reset_done(void* reset_srb) noexcept {
    auto& reset = *static_cast<Reset*>(reset_srb);
    require(reset.issued && !reset.done, "a reset is done once");
    require((reset.concerned & all_outstanding()) == 0,
            "a reset is done after everything it had to end");
    reset.done = true;
}

}  // namespace wnbd::engine::model
