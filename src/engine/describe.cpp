// SPDX-License-Identifier: LGPL-2.1-or-later
#include "engine/describe.h"

#include <algorithm>
#include <iterator>

#include "version.h"

namespace wnbd::engine {
namespace {

/// "major.minor" in the four characters INQUIRY has for it.
void write_revision(char (&revision)[5]) noexcept {
    constexpr char text[] = {static_cast<char>('0' + WNBD_VERSION_MAJOR % 10), '.',
                             static_cast<char>('0' + WNBD_VERSION_MINOR / 10 % 10),
                             static_cast<char>('0' + WNBD_VERSION_MINOR % 10), '\0'};
    std::copy(std::begin(text), std::end(text), revision);
    if (WNBD_VERSION_MINOR < 10) {
        revision[2] = revision[3];
        revision[3] = '\0';
    }
}

}  // namespace

scsi::Disk describe(const WNBD_PROPERTIES& properties) noexcept {
    scsi::Disk disk;
    disk.block_size = properties.BlockSize;
    disk.physical_block_exponent = WnbdGetPhysicalBlockExponent(&properties);
    disk.max_transfer_length = WNBD_DEFAULT_MAX_TRANSFER_LENGTH;
    disk.max_unmap_descriptors_per_step =
        std::clamp<std::uint32_t>(properties.MaxUnmapDescCount, 1, scsi::max_unmap_descriptors);
    disk.read_only = properties.Flags.ReadOnly != 0;
    disk.flush_supported = properties.Flags.FlushSupported != 0;
    disk.fua_supported = properties.Flags.FUASupported != 0;
    disk.unmap_supported = properties.Flags.UnmapSupported != 0;
    disk.persistent_reservations_supported = properties.Flags.PersistResSupported != 0;
    disk.has_naa = properties.Flags.NaaIdSpecified != 0;
    std::copy(std::begin(properties.NaaIdentifier.data), std::end(properties.NaaIdentifier.data),
              disk.naa);
    std::copy(std::begin(properties.SerialNumber), std::end(properties.SerialNumber), disk.serial);
    write_revision(disk.revision);
    return disk;
}

}  // namespace wnbd::engine
