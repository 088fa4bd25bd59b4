// SPDX-License-Identifier: LGPL-2.1-or-later
// Any sequence of commands about reservations, from many initiators, against the reference.
//
// Input: eight bytes a command: what, from whom, service action, scope and type, two keys.
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <span>

#include "scsi/reservations_reference.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* bytes, std::size_t size) {
    using namespace wnbd::scsi;
    constexpr std::size_t command_length = 8;
    constexpr std::size_t command_count_max = 256;
    ReservationsCompared compared;
    std::span<const std::uint8_t> input(bytes, size);
    for (std::size_t i = 0; i < command_count_max && input.size() >= command_length; ++i) {
        const auto field = input.first(command_length);
        input = input.subspan(command_length);
        const char* difference = nullptr;
        switch (field[0] % 8) {
            case 0: difference = compared.plain(field[1], (field[2] & 1) != 0); break;
            case 1: difference = compared.lose(field[1]); break;
            default:
                difference = compared.out({field[1], field[2] % 7U, field[3], field[4], field[5]});
                break;
        }
        if (difference == nullptr) continue;
        std::fprintf(stderr, "command %zu: %s\n", i, difference);
        std::abort();
    }
    return 0;
}
