// SPDX-License-Identifier: LGPL-2.1-or-later
// engine/platform.h on the standard library, for a process that runs the engine itself. Nobody
// alerts a thread here, so that an alertable wait is a wait.
#include "engine/platform.h"

#include <cstdlib>
#include <mutex>
#include <new>

#include "engine/process/primitives.h"

namespace wnbd::platform {
namespace {

using process::Parking;
using process::parking_of;

/// What the bytes of an Event hold. Guarded by its parking's mutex.
struct EventState {
    bool set;
    EventKind kind;
};
static_assert(sizeof(EventState) <= sizeof(Event::storage));

EventState& state_of(Event& event) noexcept {
    return *std::launder(reinterpret_cast<EventState*>(event.storage));
}

}  // namespace

std::uint8_t acquire(SpinLock& lock) noexcept {
    process::take(lock);
    return 0;
}

void release(SpinLock& lock, std::uint8_t /*previous*/) noexcept {
    process::give_back(lock);
}

void initialize(Event& event, EventKind kind) noexcept {
    const std::lock_guard guard(parking_of(event).mutex);
    new (event.storage) EventState{false, kind};
}

void set(Event& event) noexcept {
    Parking& parking = parking_of(event);
    const std::lock_guard guard(parking.mutex);
    state_of(event).set = true;
    parking.changed.notify_all();
}

void clear(Event& event) noexcept {
    const std::lock_guard guard(parking_of(event).mutex);
    state_of(event).set = false;
}

WaitResult wait(Event& event, bool /*alertable*/) noexcept {
    Parking& parking = parking_of(event);
    std::unique_lock guard(parking.mutex);
    EventState& state = state_of(event);
    parking.changed.wait(guard, [&] { return state.set; });
    if (state.kind == EventKind::auto_reset) state.set = false;
    return WaitResult::signalled;
}

std::uint64_t interrupt_time() noexcept {
    return process::system_time();
}

void* allocate(std::size_t bytes) noexcept {
    return std::malloc(bytes);
}

void free(void* memory) noexcept {
    std::free(memory);
}

}  // namespace wnbd::platform
