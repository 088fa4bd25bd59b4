// SPDX-License-Identifier: LGPL-2.1-or-later
// The life of a connection, and what comes to it from other threads.
#include "iscsi/connection.h"

#include <algorithm>
#include <bit>
#include <new>
#include <utility>

#include "iscsi/connection_work.h"

namespace wnbd::iscsi {

Connection::Connection(Target& target, ConnectionHost& host, std::string peer, std::string portal,
                       std::uint64_t now_ms)
    : target_(target),
      settings_(target.settings()),
      host_(host),
      peer_(std::move(peer)),
      portal_(std::move(portal)),
      window_(std::clamp<std::uint32_t>(settings_.command_window, 1, 8192)),
      login_(settings_, *this),
      held_login_(new ControlOutput),
      reader_(*this, settings_.max_receive_segment),
      early_(std::bit_ceil(window_)),
      commands_(2 * window_ + spare_commands),
      batch_(new SendBatch),
      controls_(std::size_t{2} * window_ + spare_controls),
      started_ms_(now_ms),
      last_received_ms_(now_ms) {
    reason_.reserve(256);
    lost_tags_.reserve(window_ + spare_commands);
    for (ControlOutput& control : controls_) {
        control.next_free = free_controls_;
        free_controls_ = &control;
        ++free_control_count_;
    }
    for (Ending& ending : endings_)
        ending.connection = this;
    detach_.connection = this;
}

Connection::~Connection() = default;

// Called by the shell.

std::span<const ReceiveSlice> Connection::receive_room() noexcept {
    return reader_.room();
}

void Connection::received(std::size_t count, std::uint64_t now_ms) noexcept {
    const Work work(*this);
    last_received_ms_ = now_ms;
    arrived_ = 0;
    reader_.received(count);
    if (takes_pdus()) run_reader();
}

/// What an initiator keeps under way shows in its numbers: a command that it sent when it had not
/// yet seen the status of others (ExpStatSN) is one of many. One that never has more than one under
/// way is never waited for.
bool Connection::expects_more() const noexcept {
    constexpr std::uint32_t deep = 8;
    constexpr std::uint32_t few = 2;  // less than one of so many
    if (running_ > 0 || !reader_.between_pdus()) return false;
    // Numbers that make no sense tell nothing.
    if (unacknowledged_ < deep || unacknowledged_ > 2 * window_) return false;
    return arrived_ > 0 && arrived_ < unacknowledged_ / few;
}

void Connection::process_completions() noexcept {
    const Work work(*this);
    if (turn_come_.exchange(false, std::memory_order_acquire) && phase_ == Phase::waiting) {
        enter_full_feature();
        queue(*held_login_);
    }
    if (evicted_.exchange(false, std::memory_order_acquire))
        break_off("the session was ended by another login of the same initiator port or a reset");
}

void Connection::tick(std::uint64_t now_ms) noexcept {
    const Work work(*this);
    constexpr std::uint64_t second = 1000;
    if (phase_ == Phase::login || phase_ == Phase::waiting) {
        if (now_ms - started_ms_ > settings_.login_timeout_seconds * second)
            break_off("the login took too long");
        return;
    }
    if (phase_ == Phase::closing) {
        if (closing_ms_ == 0)
            closing_ms_ = now_ms;
        else if (now_ms - closing_ms_ > settings_.nop_timeout_seconds * second)
            break_off("the initiator does not read what was sent to it last");
        return;
    }
    if (phase_ != Phase::full_feature || settings_.nop_interval_seconds == 0) return;
    if (ping_ms_ != 0 && last_received_ms_ >= ping_ms_) ping_ms_ = 0;  // any PDU is a sign of life
    if (ping_ms_ != 0) {
        if (now_ms - ping_ms_ > settings_.nop_timeout_seconds * second)
            break_off("the initiator no longer answers");
    } else if (now_ms - last_received_ms_ > settings_.nop_interval_seconds * second) {
        constexpr std::uint32_t ping_tag = 1;
        if (queue_control(NopIn{.target_tag = ping_tag}) != nullptr) ping_ms_ = now_ms;
    }
}

void Connection::ask_for_logout(std::uint16_t within_seconds) noexcept {
    const Work work(*this);
    if (phase_ == Phase::login || phase_ == Phase::waiting) {
        break_off("the target stops");
    } else if (phase_ == Phase::full_feature) {
        AsyncMessage message{.event = AsyncEvent::logout_requested};
        message.parameters[2] = within_seconds;
        if (queue_control(message) == nullptr) break_off("the target stops");
    }
}

bool Connection::finished() const noexcept {
    switch (phase_) {
        case Phase::closing: return first_output_ == nullptr && batch_->empty();
        case Phase::broken:
        case Phase::detached:
        case Phase::gone: return true;
        default: return false;
    }
}

void Connection::detach() noexcept {
    const Work work(*this);
    if (phase_ == Phase::detached || phase_ == Phase::gone) return;
    phase_ = Phase::detached;
    reader_.hold();
    drop_outputs();
    for (Early& one : early_)
        one = {};
    for (CommandSlot& slot : commands_.slots())
        if (slot.state == SlotState::gathering) end_one_gathering(slot);
    if (running_ == 0) return;  // settle() does the rest
    detach_.purpose = Ending::Purpose::detach;
    detach_.used = true;
    ++endings_used_;
    begin_ending(detach_);
}

/// What has ended meanwhile; and when nothing is left under way, the end.
void Connection::settle() noexcept {
    serve_started();
    take_posted();
    // Room may have come up for PDUs that wait in the buffer.
    while (reader_.held() && takes_pdus()) {
        run_reader();
        serve_started();
        take_posted();
    }
    if (phase_ != Phase::detached || running_ > 0 || endings_used_ > 0) return;
    // Whoever has completed the last task may still be about to wake the host.
    while (posting_.load(std::memory_order_acquire) != 0)
        std::this_thread::yield();
    leave_session();
    phase_ = Phase::gone;
}

void Connection::leave_session() noexcept {
    if (!std::exchange(entered_, false)) return;
    target_.sessions().leave(*this, [this](scsi::Nexus nexus) {
        if (!begun_) return;
        for (const auto& unit : target_.units())
            unit->nexus_lost(nexus);
    });
}

void Connection::drop_outputs() noexcept {
    batch_->abandon([this](Output& output) { release(output); });
    while (first_output_ != nullptr) {
        Output& output = *std::exchange(first_output_, first_output_->next);
        output.queued = false;
        // A command that still gathers is not over because a request for data was dropped.
        if (output.kind == Output::Kind::command &&
            static_cast<CommandSlot&>(output).state == SlotState::gathering)
            continue;
        release(output);
    }
    last_output_ = nullptr;
}

bool Connection::takes_pdus() const noexcept {
    if (phase_ != Phase::login && phase_ != Phase::full_feature) return false;
    return commands_.slots_free() > 1 && free_control_count_ > window_ + spare_controls / 2;
}

void Connection::run_reader() noexcept {
    reader_.release();
    switch (reader_.run()) {
        case PduReader::Fault::none: break;
        case PduReader::Fault::header_digest: break_off("a header digest was wrong"); break;
        case PduReader::Fault::segment_too_long:
            break_off("a data segment was longer than MaxRecvDataSegmentLength");
            break;
    }
}

void Connection::break_off(std::string_view why) noexcept {
    if (phase_ >= Phase::broken) return;
    if (reason_.empty()) reason_.assign(why.substr(0, 255));
    phase_ = Phase::broken;
    reader_.hold();
}

void Connection::close(std::string_view why) noexcept {
    if (phase_ >= Phase::closing) return;
    if (reason_.empty()) reason_.assign(why.substr(0, 255));
    phase_ = Phase::closing;
    reader_.hold();
}

void Connection::log(Log::Level level, std::string_view text) noexcept {
    if (complaints_ > complaints_max) return;
    try {
        std::string line = peer_;
        line.append(": ").append(text);
        if (++complaints_ > complaints_max)
            line.append("; no more will be said of this connection");
        target_.log().write(level, line);
    } catch (const std::bad_alloc&) {
        return;  // the log is not worth an end
    }
}

// Called from other threads, too.

void Connection::completed(Task& task) noexcept {
    auto& slot = static_cast<CommandSlot&>(task);
    if (worker_.load(std::memory_order_relaxed) == std::this_thread::get_id())
        end_running(slot);
    else
        post(slot);
}

/// A stack: the connection's thread takes all of it at once and turns it round.
void Connection::post(Completion& completion) noexcept {
    const bool here = worker_.load(std::memory_order_relaxed) == std::this_thread::get_id();
    if (!here) posting_.fetch_add(1, std::memory_order_relaxed);
    Completion* head = posted_.load(std::memory_order_relaxed);
    do {
        completion.next_completed = head;
    } while (!posted_.compare_exchange_weak(head, &completion, std::memory_order_release,
                                            std::memory_order_relaxed));
    if (here) return;
    if (head == nullptr) host_.wake();
    posting_.fetch_sub(1, std::memory_order_release);
}

void Connection::evicted() noexcept {
    evicted_.store(true, std::memory_order_release);
    host_.wake();
}

void Connection::turn_has_come() noexcept {
    turn_come_.store(true, std::memory_order_release);
    host_.wake();
}

void Connection::take_posted() noexcept {
    while (posted_.load(std::memory_order_relaxed) != nullptr) {
        Completion* stack = posted_.exchange(nullptr, std::memory_order_acquire);
        Completion* queue = nullptr;
        while (stack != nullptr) {
            Completion* const next = stack->next_completed;
            stack->next_completed = queue;
            queue = stack;
            stack = next;
        }
        while (queue != nullptr) {
            Completion& first = *queue;
            queue = queue->next_completed;
            take(first);
        }
    }
}

void Connection::take(Completion& completion) noexcept {
    if (completion.kind == Completion::Kind::command)
        end_running(static_cast<CommandSlot&>(completion));
    else
        go_on_ending(static_cast<Ending&>(completion));
}

}  // namespace wnbd::iscsi
