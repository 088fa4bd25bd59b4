// SPDX-License-Identifier: LGPL-2.1-or-later
// A disk's requests: a fixed array, made when the disk is created. Finding one by its tag is an
// index.
#pragma once

#include <cstdint>

#include "base/intrusive_list.h"
#include "engine/request.h"

namespace wnbd::engine {

constexpr std::uint32_t max_requests_per_disk = 1024;

/// Not thread-safe: the disk's queue lock guards it.
class RequestTable {
  public:
    /// False when there is no memory.
    [[nodiscard]] bool allocate(std::uint32_t capacity) noexcept;
    void release() noexcept;

    /// A free request with a generation of its own, or nullptr when all are in use.
    [[nodiscard]] Request* take() noexcept { return free_.pop_front(); }
    void give_back(Request& request) noexcept;

    /// The request a tag names, or nullptr if that life of the slot is over (or never was).
    [[nodiscard]] Request* find(Tag tag) noexcept;

    [[nodiscard]] std::uint32_t capacity() const noexcept { return capacity_; }

  private:
    Request* requests_ = nullptr;
    std::uint32_t capacity_ = 0;
    IntrusiveList<Request> free_;
};

}  // namespace wnbd::engine
