// SPDX-License-Identifier: LGPL-2.1-or-later
// What kind of server it is.
#pragma once

#include <cstdint>
#include <string>

#include "blocks.h"
#include "nbd/protocol.h"
#include "world.h"

namespace wnbd::nbd::sim {

struct Personality {
    // Negotiation.
    bool has_go = true;
    bool fixed_newstyle = true;
    bool no_zeroes = true;
    bool structured = true;
    bool extended = true;
    bool meta_context = true;
    bool says_block_sizes = true;
    std::string canonical_name;  // empty: not said
    std::uint64_t size = disk_blocks * block_size;
    std::uint16_t flags = 0;  // of transmission
    std::uint32_t minimum_block = block_size;
    std::uint32_t maximum_payload = 1U << 20;

    // Transmission.
    bool volatile_cache = false;  // what is acknowledged is durable only after a flush
    Micros service_max{500};      // a request takes up to so long, so replies come in any order
    unsigned errors_in_10000 = 0;
    unsigned lies_in_10000 = 0;  // broken bytes instead of what is right

    [[nodiscard]] bool has(std::uint16_t flag) const noexcept { return (flags & flag) != 0; }
};

/// Draws one. Everything that the protocol leaves to a server is in it.
inline Personality draw_personality(Random& random) {
    Personality it;
    it.fixed_newstyle = !random.chance(500);
    it.has_go = it.fixed_newstyle && !random.chance(1'000);
    it.no_zeroes = random.coin();
    it.structured = it.fixed_newstyle && random.chance(6'000);
    it.extended = it.structured && random.coin();
    it.meta_context = it.structured && !random.chance(2'000);
    it.says_block_sizes = it.has_go && random.coin();
    it.flags = transmission_has_flags | transmission_send_flush | transmission_send_fua |
               transmission_send_trim | transmission_send_write_zeroes;
    for (const auto flag : {transmission_can_multi_conn, transmission_send_cache,
                            transmission_send_df, transmission_send_fast_zero})
        if (random.coin()) it.flags |= flag;
    for (const auto flag :
         {transmission_send_flush, transmission_send_trim, transmission_send_write_zeroes})
        if (random.chance(1'500)) it.flags &= static_cast<std::uint16_t>(~flag);
    // Without it writing through is two requests, between which much can happen.
    if (random.chance(4'000)) it.flags &= static_cast<std::uint16_t>(~transmission_send_fua);
    if (!it.structured) it.flags &= static_cast<std::uint16_t>(~transmission_send_df);
    if (random.coin()) it.canonical_name = "disk";
    if (it.says_block_sizes) {
        it.minimum_block = random.chance(3'000) ? 4096 : random.coin() ? 1 : block_size;
        it.maximum_payload = 4096U << random.below(10);
    } else {
        it.minimum_block = 1;
        it.maximum_payload = default_maximum_payload;
    }
    it.volatile_cache = it.has(transmission_send_flush) && random.coin();
    it.service_max = Micros(1 + random.below(random.coin() ? 300 : 5'000));
    it.errors_in_10000 = random.coin() ? 0 : 50;
    it.lies_in_10000 = random.chance(3'000) ? 20 : 0;
    return it;
}

}  // namespace wnbd::nbd::sim
