// SPDX-License-Identifier: LGPL-2.1-or-later
// Task management (RFC 7143, 11.5, 11.6) and every other end of tasks.
#include "iscsi/connection_work.h"

namespace wnbd::iscsi {

void Connection::manage_tasks(const TaskManagementHeader& request) noexcept {
    const std::uint32_t tag = request.sequence.task_tag;
    const std::uint32_t number = request.sequence.command_sn;
    const auto function = static_cast<TaskFunction>(request.function);
    Ending::How how = Ending::How::reset;
    switch (function) {
        case TaskFunction::abort_task: return abort_task(request);
        case TaskFunction::abort_task_set: how = Ending::How::nexus; break;
        case TaskFunction::clear_task_set: how = Ending::How::clear; break;
        case TaskFunction::logical_unit_reset:
        case TaskFunction::target_warm_reset:
        case TaskFunction::target_cold_reset: break;
        case TaskFunction::clear_aca: return respond(tag, TaskResponse::not_supported);
        case TaskFunction::task_reassign:
            return respond(tag, TaskResponse::reassignment_not_supported);
        default: return respond(tag, TaskResponse::rejected);
    }
    const bool whole_target =
        function == TaskFunction::target_warm_reset || function == TaskFunction::target_cold_reset;
    LogicalUnit* const unit = whole_target ? nullptr : target_.find(request.lun);
    if (unit == nullptr && !whole_target) return respond(tag, TaskResponse::no_logical_unit);
    Ending* const ending = new_ending(tag);
    if (ending == nullptr) return respond(tag, TaskResponse::rejected);
    if (how == Ending::How::reset)
        log(Log::Level::info, whole_target ? "resets the target" : "resets a logical unit");
    end_gathering(unit, number, whole_target);
    ending->how = how;
    ending->only = unit;
    ending->cold = function == TaskFunction::target_cold_reset;
    begin_ending(*ending);
}

/// RFC 7143, 11.6.1 has the answers for a tag that is not known.
void Connection::abort_task(const TaskManagementHeader& request) noexcept {
    const std::uint32_t tag = request.sequence.task_tag;
    CommandSlot* const victim = commands_.find(request.referenced_tag);
    if (victim == nullptr || victim->lun != request.lun) {
        const std::uint32_t number = request.reference_command_sn;
        const bool still_to_come = victim == nullptr && turn_of(number) != Turn::never &&
                                   before(number, request.sequence.command_sn);
        if (!still_to_come) return respond(tag, TaskResponse::no_task);
        take_turn(number);  // and is ignored when it comes
        return respond(tag, TaskResponse::complete);
    }
    if (victim->state == SlotState::gathering) {
        end_one_gathering(*victim);
        return respond(tag, TaskResponse::complete);
    }
    Ending* const ending = new_ending(tag);
    if (ending == nullptr) return respond(tag, TaskResponse::rejected);
    ending->how = Ending::How::task;
    ending->only = victim->unit;
    ending->victim = victim;
    begin_ending(*ending);
}

/// Ends what no logical unit knows of yet: commands for `unit` (or all) that came before a number.
void Connection::end_gathering(LogicalUnit* unit, std::uint32_t number, bool all) noexcept {
    for (CommandSlot& slot : commands_.slots()) {
        if (slot.state != SlotState::gathering || (!all && slot.unit != unit)) continue;
        if (slot.immediate || before(slot.command_sn, number) || slot.delivered)
            end_one_gathering(slot);
    }
}

void Connection::end_one_gathering(CommandSlot& slot) noexcept {
    if (slot.owed_data()) note_lost(slot.task_tag);
    Early& place = early(slot.command_sn);
    if (place.slot == &slot) {
        place.slot = nullptr;
        place.kind = Early::Kind::nothing;  // its number is still to be counted
    }
    end_quietly(slot);
}

void Connection::respond(std::uint32_t task_tag, TaskResponse response) noexcept {
    if (queue_control(TaskManagementResponse{.task_tag = task_tag, .response = response}) ==
        nullptr)
        break_off("too much to send");
}

Connection::Ending* Connection::new_ending(std::uint32_t task_tag) noexcept {
    for (Ending& ending : endings_) {
        if (ending.used) continue;
        ending.used = true;
        ending.purpose = Ending::Purpose::response;
        ending.cold = false;
        ending.task_tag = task_tag;
        ending.only = nullptr;
        ending.victim = nullptr;
        ++endings_used_;
        return &ending;
    }
    return nullptr;
}

void Connection::begin_ending(Ending& ending) noexcept {
    ending.next_unit = 0;
    go_on_ending(ending);
}

/// The next unit's tasks; when there is none left, the end.
void Connection::go_on_ending(Ending& ending) noexcept {
    const std::size_t index = ending.next_unit++;
    const std::size_t count = ending.only != nullptr ? 1 : target_.units().size();
    if (index >= count) return ended(ending);
    LogicalUnit& unit = ending.only != nullptr ? *ending.only : *target_.units()[index];
    ending.drain.context = &ending;
    ending.drain.done = [](LogicalUnit::Drain& drain) noexcept {
        auto& done = *static_cast<Ending*>(drain.context);
        done.connection->post(done);
    };
    switch (ending.how) {
        case Ending::How::task: return unit.abort(*ending.victim, ending.drain);
        case Ending::How::nexus: return unit.abort_nexus(session_.nexus, ending.drain);
        case Ending::How::clear: return unit.clear(session_.nexus, ending.drain);
        case Ending::How::reset: return unit.reset(ending.drain);
    }
}

void Connection::ended(Ending& ending) noexcept {
    ending.used = false;
    --endings_used_;
    if (ending.cold) target_.sessions().evict_others(*this);
    if (phase_ != Phase::full_feature && phase_ != Phase::logging_out) return;
    if (ending.purpose == Ending::Purpose::logout) {
        // Who reads the response may rely on it: what the session held, reservations too, is free.
        leave_session();
        if (queue_control(LogoutResponse{.task_tag = ending.task_tag}) == nullptr)
            return break_off("too much to send");
        return close({});
    }
    respond(ending.task_tag, TaskResponse::complete);
    if (ending.cold) close("the initiator asked for a cold reset of the target");
}

}  // namespace wnbd::iscsi
