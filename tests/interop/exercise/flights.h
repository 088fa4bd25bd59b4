// SPDX-License-Identifier: LGPL-2.1-or-later
// One thread's requests in flight: started in batches, waited for one by one.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <vector>

#include "backend/backend.h"

namespace wnbd::test {

/// One request with its buffer. Its blocks are its own while it is in flight.
struct Flight {
    backend::Request request{};
    std::vector<std::uint8_t> buffer;
    std::uint64_t first = 0;  // the blocks
    std::uint64_t count = 0;
    std::uint64_t sequence = 0;  // the caller's
    backend::Error error = backend::Error::none;
    std::chrono::steady_clock::time_point begun{};
    class Flights* owner = nullptr;

    [[nodiscard]] std::span<std::uint8_t> block(std::uint64_t index, std::size_t size) {
        return std::span(buffer).subspan(index * size, size);
    }
};

/// Used by one thread; requests may end on any other.
class Flights {
  public:
    Flights(backend::Backend& disk, std::size_t depth, std::uint32_t block_size,
            std::size_t bytes_max);
    Flights(const Flights&) = delete;
    Flights& operator=(const Flights&) = delete;

    /// One that is free, or nullptr. Its buffer has the largest request's size.
    [[nodiscard]] Flight* idle() noexcept;
    /// Begins a request over the flight's blocks; it goes out with the next send().
    void start(Flight& flight, backend::Operation operation, bool force_unit_access = false,
               bool may_punch_hole = true);
    void send();
    /// Those that have ended, at least one unless none was in flight. Each is the caller's until it
    /// is given back.
    [[nodiscard]] const std::vector<Flight*>& wait();
    void give_back(Flight& flight) { idle_.push_back(&flight); }

    [[nodiscard]] std::size_t in_flight() const noexcept { return in_flight_; }
    /// The longest that a request was in flight.
    [[nodiscard]] std::chrono::milliseconds longest() const noexcept { return longest_; }

  private:
    void ended(Flight& flight) noexcept;

    backend::Backend& disk_;
    const std::uint32_t block_size_;
    std::vector<std::unique_ptr<Flight>> all_;
    std::vector<Flight*> idle_;
    std::vector<backend::Request*> to_send_;
    std::vector<Flight*> taken_;
    std::size_t in_flight_ = 0;
    std::chrono::milliseconds longest_{0};

    std::mutex lock_;  // of ended_
    std::condition_variable changed_;
    std::vector<Flight*> ended_;
};

/// Which blocks are in use, so that no two requests in flight overlap.
class Claims {
  public:
    explicit Claims(std::uint64_t blocks) : used_(blocks) {}
    [[nodiscard]] bool claim(std::uint64_t first, std::uint64_t count) {
        for (auto block = first; block < first + count; ++block)
            if (used_[block]) return false;
        set(first, count, true);
        return true;
    }
    void release(std::uint64_t first, std::uint64_t count) { set(first, count, false); }

  private:
    void set(std::uint64_t first, std::uint64_t count, bool value) {
        for (auto block = first; block < first + count; ++block)
            used_[block] = value;
    }
    std::vector<bool> used_;
};

}  // namespace wnbd::test
