// SPDX-License-Identifier: LGPL-2.1-or-later
// Negotiations for tests.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "nbd/handshake.h"
#include "nbd/test_wire.h"

namespace wnbd::nbd::test {

/// Nothing but the export, in plain text.
inline HandshakeOptions bare(std::string name = "disk", Goal goal = Goal::transmission) {
    return {.export_name = std::move(name),
            .goal = goal,
            .structured_replies = false,
            .extended_headers = false};
}

/// Feeds the pieces and collects what the client says.
struct Talk {
    explicit Talk(HandshakeOptions options = bare()) : handshake(std::move(options)) {}

    std::size_t feed(std::span<const std::uint8_t> bytes) {
        const auto used = handshake.receive(bytes);
        const auto output = handshake.output();
        said.insert(said.end(), output.begin(), output.end());
        handshake.sent(output.size());
        return used;
    }

    Handshake handshake;
    std::vector<std::uint8_t> said;
};

inline std::vector<std::uint8_t> go_request(std::string_view name) {
    return Wire()
        .put(option_magic)
        .put(static_cast<std::uint32_t>(Option::go))
        .put(static_cast<std::uint32_t>(4 + name.size() + 8))
        .put(static_cast<std::uint32_t>(name.size()))
        .text(name)
        .put<std::uint16_t>(3)
        .put(info_name)
        .put(info_description)
        .put(info_block_size)
        .bytes();
}

}  // namespace wnbd::nbd::test
