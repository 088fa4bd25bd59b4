// SPDX-License-Identifier: LGPL-2.1-or-later
// Requests that are waited for: for tests, tools and start-up work, not for the way of I/O.
#pragma once

#include <condition_variable>
#include <cstdint>
#include <mutex>
#include <span>
#include <vector>

#include "backend/backend.h"

namespace wnbd::backend {

/// Submits the request and waits for its end. Uses the request's `done` and `context`; what the
/// backend fills in is in it afterwards.
inline Error submit_blocking(Backend& backend, Request& request) {
    struct State {
        std::mutex lock;
        std::condition_variable changed;
        bool over = false;
        Error error = Error::none;
    } state;
    request.context = &state;
    request.done = [](Request& done, Error error) noexcept {
        auto& ended = *static_cast<State*>(done.context);
        // Told under the lock: the state ends as soon as its owner sees this.
        const std::lock_guard lock(ended.lock);
        ended.error = error;
        ended.over = true;
        ended.changed.notify_one();
    };
    backend.submit(request);
    std::unique_lock lock(state.lock);
    state.changed.wait(lock, [&] { return state.over; });
    return state.error;
}

inline Error perform_blocking(Backend& backend, Request request) {
    return submit_blocking(backend, request);
}

/// What the range's bytes are, of as many runs as are asked for at most; empty: an error.
inline std::vector<Extent> extents_blocking(Backend& backend, std::uint64_t offset,
                                            std::uint64_t length, std::size_t count = 64) {
    std::vector<Extent> extents(count);
    Request request{
        .operation = Operation::extents, .offset = offset, .length = length, .extents = extents};
    extents.resize(submit_blocking(backend, request) == Error::none ? request.extent_count : 0);
    return extents;
}

inline Error read_blocking(Backend& backend, std::uint64_t offset, std::span<std::uint8_t> to) {
    return perform_blocking(
        backend,
        {.operation = Operation::read, .offset = offset, .length = to.size(), .buffer = to});
}

/// The payload is only read: requests have one buffer for both directions.
inline Error write_blocking(Backend& backend, std::uint64_t offset, std::span<std::uint8_t> from,
                            bool force_unit_access = false) {
    return perform_blocking(backend, {.operation = Operation::write,
                                      .force_unit_access = force_unit_access,
                                      .offset = offset,
                                      .length = from.size(),
                                      .buffer = from});
}

}  // namespace wnbd::backend
