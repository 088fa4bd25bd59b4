// SPDX-License-Identifier: LGPL-2.1-or-later
// Requests of the client's user, and lists that run through them.
#pragma once

#include <cstdint>

#include "nbd/command.h"

namespace wnbd::nbd {

/// One request. The user owns it, its buffer and its extents until `done`, which comes exactly
/// once, on whatever thread; then it may be submitted again. Trivially destructible.
struct Request {
    using Done = void (*)(Request& request, Outcome outcome) noexcept;

    Command command{};  // its cookie is the client's
    Done done = nullptr;
    void* context = nullptr;  // the user's own

    // The client's while it has the request.
    Request* next = nullptr;     // in a list
    std::uint64_t sequence = 0;  // of admission to its connection
    bool guarded = false;        // its range is entered in the guard
    bool flushing = false;       // written; the flush of write-through is under way
    std::uint8_t shutdowns = 0;  // how often a server sent it away because it was shutting down
};

/// A list. Not thread-safe.
struct RequestChain {
    Request* first = nullptr;
    Request* last = nullptr;

    [[nodiscard]] bool empty() const noexcept { return first == nullptr; }
    void push_back(Request& request) noexcept;
    void push_front(Request& request) noexcept;
    /// Takes the other's requests over, behind its own.
    void append(RequestChain& other) noexcept;
    /// The first one, taken out; nullptr when there is none.
    Request* pop_front() noexcept;
    /// By their sequence; equal ones keep their order.
    void sort() noexcept;
    [[nodiscard]] std::uint32_t count() const noexcept;
};

}  // namespace wnbd::nbd
