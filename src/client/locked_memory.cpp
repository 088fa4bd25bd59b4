// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/locked_memory.h"

#include "client/output.h"

namespace wnbd::client {
namespace {

std::string mebibytes(std::uint64_t bytes) {
    constexpr std::uint64_t mebibyte = std::uint64_t{1} << 20;
    return std::to_string((bytes + mebibyte - 1) / mebibyte) + " MiB";
}

}  // namespace

std::string residence_text(const Residence& residence) {
    if (residence.unlocked_bytes == 0)
        return mebibytes(residence.locked_bytes) + " locked in memory";
    return mebibytes(residence.unlocked_bytes) + " of " +
           mebibytes(residence.locked_bytes + residence.unlocked_bytes) +
           " could not be locked in memory";
}

void warn_of_unlocked(const Residence& residence) {
    if (residence.unlocked_bytes == 0) return;
    print_complaint("Note: " + residence_text(residence) + ": " + residence.reason + " (error " +
                    std::to_string(residence.code) +
                    "). The disk may hang when memory is short and its server is on this machine.");
}

}  // namespace wnbd::client
