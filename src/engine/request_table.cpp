// SPDX-License-Identifier: LGPL-2.1-or-later
#include "engine/request_table.h"

#include <new>

#include "engine/platform.h"

namespace wnbd::engine {

bool RequestTable::allocate(std::uint32_t capacity) noexcept {
    void* const memory = platform::allocate(sizeof(Request) * capacity);
    if (memory == nullptr) return false;
    requests_ = static_cast<Request*>(memory);
    capacity_ = capacity;
    for (std::uint32_t slot = 0; slot < capacity; ++slot) {
        auto* const request = new (&requests_[slot]) Request;
        request->slot = static_cast<std::uint16_t>(slot);
        free_.push_back(*request);
    }
    return true;
}

void RequestTable::release() noexcept {
    while (free_.pop_front() != nullptr) {
    }
    platform::free(requests_);
    requests_ = nullptr;
    capacity_ = 0;
}

void RequestTable::give_back(Request& request) noexcept {
    request.state = RequestState::free;
    request.srb = nullptr;
    free_.push_front(request);
}

Request* RequestTable::find(Tag tag) noexcept {
    const auto slot = static_cast<std::uint32_t>(tag & 0xFFFF);
    if (slot >= capacity_) return nullptr;
    Request& request = requests_[slot];
    const bool alive = request.state == RequestState::submitted && request.tag() == tag;
    return alive ? &request : nullptr;
}

}  // namespace wnbd::engine
