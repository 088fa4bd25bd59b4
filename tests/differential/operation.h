// SPDX-License-Identifier: LGPL-2.1-or-later
// One operation, as both clients are asked for it and as each of them answers it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "nbd/command.h"

namespace wnbd::test {

struct Operation {
    nbd::CommandType type = nbd::CommandType::read;
    std::uint16_t flags = 0;
    std::uint64_t offset = 0;             // bytes
    std::uint64_t length = 0;             // bytes
    std::vector<std::uint8_t> payload{};  // of a write
};

struct Answer {
    std::uint32_t error = 0;            // of the protocol; its numbers are Linux's
    std::vector<std::uint8_t> bytes{};  // of a read
    /// Of a block status: lengths and flags, neighbours of the same flags in one, not beyond the
    /// range.
    std::vector<std::pair<std::uint64_t, std::uint32_t>> extents{};

    bool operator==(const Answer&) const = default;
};

/// Lays an extent at the end of an answer's, within what is left of the operation's range.
inline void add_extent(Answer& answer, const Operation& operation, std::uint64_t length,
                       std::uint32_t flags) {
    std::uint64_t told = 0;
    for (const auto& extent : answer.extents)
        told += extent.first;
    if (length > operation.length - told) length = operation.length - told;
    if (length == 0) return;
    if (!answer.extents.empty() && answer.extents.back().second == flags)
        answer.extents.back().first += length;
    else
        answer.extents.emplace_back(length, flags);
}

/// A client with a connection.
class Side {
  public:
    virtual ~Side() = default;
    /// All at once, in whatever order; waits for all. Answers in the operations' order.
    [[nodiscard]] virtual std::vector<Answer> perform(const std::vector<Operation>& operations) = 0;
    [[nodiscard]] virtual std::uint64_t size() const = 0;  // of the export, in bytes
    /// Its transmission flags, as far as this client tells them.
    [[nodiscard]] virtual std::uint16_t offered() const { return 0; }
};

[[nodiscard]] std::unique_ptr<Side> connect_our_side(const std::string& uri);
[[nodiscard]] std::unique_ptr<Side> connect_libnbd_side(const std::string& uri);

}  // namespace wnbd::test
