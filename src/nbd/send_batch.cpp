// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/send_batch.h"

namespace wnbd::nbd {

void SendBatch::fill(RequestTable& table) noexcept {
    first_ = last_ = 0;
    std::size_t used = 0;
    while (used + request_size <= headers_.size()) {
        Slot* const slot = table.arm_next();
        if (slot == nullptr) return;
        const auto header = std::span<std::uint8_t, request_size>(&headers_[used], request_size);
        encode_request(header, slot->command, slot->handle.load(std::memory_order_relaxed),
                       slot->piece);
        used += request_size;
        // Headers lie side by side: a run of requests without payload is one slice.
        if (last_ > 0 && writers_[last_ - 1] == nullptr) {
            slices_[last_ - 1].size += request_size;
        } else {
            slices_[last_] = {header.data(), request_size};
            writers_[last_++] = nullptr;
        }
        if (slot->command.type == CommandType::write) {
            slices_[last_] = {slot->command.data, slot->piece};
            writers_[last_++] = slot;
        }
    }
}

}  // namespace wnbd::nbd
