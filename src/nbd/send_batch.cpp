// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/send_batch.h"

namespace wnbd::nbd {

void SendBatch::fill(RequestTable& table) noexcept {
    abandon();
    list(table);
    find_until();
}

void SendBatch::list(RequestTable& table) noexcept {
    const auto format = table.terms().format;
    const auto size = header_size(format);
    std::uint8_t* header = headers_.data();
    for (std::size_t count = 0; count < max_requests; ++count, header += size) {
        Slot* const slot = table.arm_next();
        if (slot == nullptr) return;
        const auto& command = slot->command;
        encode_request(
            std::span<std::uint8_t, extended_request_size>(header, extended_request_size), format,
            {.type = command.type,
             .flags = command.flags,
             .handle = slot->handle.load(std::memory_order_relaxed),
             .offset = slot->offset(),
             .length = slot->piece});
        // Headers lie side by side: a run of requests without payload is one slice.
        if (last_ > 0 && writers_[last_ - 1] == nullptr) {
            slices_[last_ - 1].size += size;
        } else {
            slices_[last_] = {header, size};
            writers_[last_++] = nullptr;
        }
        if (command.type == CommandType::write) {
            slices_[last_] = {slot->data(), static_cast<std::size_t>(slot->piece)};
            writers_[last_++] = slot;
        }
    }
}

}  // namespace wnbd::nbd
