// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/interop/exercise/flights.h"

#include <algorithm>

namespace wnbd::test {

using Clock = std::chrono::steady_clock;

Flights::Flights(backend::Backend& disk, std::size_t depth, std::uint32_t block_size,
                 std::size_t bytes_max)
    : disk_(disk), block_size_(block_size) {
    for (std::size_t i = 0; i < depth; ++i) {
        all_.push_back(std::make_unique<Flight>());
        all_.back()->buffer.resize(bytes_max);
        all_.back()->owner = this;
        idle_.push_back(all_.back().get());
    }
}

Flight* Flights::idle() noexcept {
    if (idle_.empty()) return nullptr;
    Flight* const flight = idle_.back();
    idle_.pop_back();
    return flight;
}

void Flights::start(Flight& flight, backend::Operation operation, bool force_unit_access,
                    bool may_punch_hole) {
    auto& request = flight.request;
    const bool ranged = operation != backend::Operation::flush;
    const bool has_data =
        operation == backend::Operation::read || operation == backend::Operation::write;
    request.operation = operation;
    request.force_unit_access = force_unit_access;
    request.may_punch_hole = may_punch_hole;
    request.offset = ranged ? flight.first * block_size_ : 0;
    request.length = ranged ? flight.count * block_size_ : 0;
    request.buffer =
        has_data ? std::span(flight.buffer).first(request.length) : std::span<std::uint8_t>();
    request.context = &flight;
    request.done = [](backend::Request& done, backend::Error error) noexcept {
        auto& its = *static_cast<Flight*>(done.context);
        its.error = error;
        its.owner->ended(its);
    };
    flight.begun = Clock::now();
    to_send_.push_back(&request);
    ++in_flight_;
}

void Flights::send() {
    if (to_send_.empty()) return;
    disk_.submit_many(to_send_);
    to_send_.clear();
}

void Flights::ended(Flight& flight) noexcept {
    // Told under the lock: whoever waits may end this object right after.
    const std::lock_guard lock(lock_);
    ended_.push_back(&flight);
    changed_.notify_one();
}

const std::vector<Flight*>& Flights::wait() {
    taken_.clear();
    if (in_flight_ == 0) return taken_;
    {
        std::unique_lock lock(lock_);
        changed_.wait(lock, [&] { return !ended_.empty(); });
        taken_.swap(ended_);
    }
    in_flight_ -= taken_.size();
    const auto now = Clock::now();
    for (const Flight* const flight : taken_)
        longest_ = std::max(
            longest_, std::chrono::duration_cast<std::chrono::milliseconds>(now - flight->begun));
    return taken_;
}

}  // namespace wnbd::test
