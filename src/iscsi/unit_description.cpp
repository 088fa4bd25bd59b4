// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/unit_description.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <span>

#include "base/big_endian.h"

namespace wnbd::iscsi {
namespace {

constexpr std::size_t naa_short = 8;  // bytes: types 2, 3 and 5
constexpr std::size_t naa_long = 16;  // type 6

/// FNV-1a: the same serial number gives the same name for ever, which is all that is asked of it.
std::uint64_t hash_of(const std::string& text) noexcept {
    std::uint64_t hash = 0xCBF2'9CE4'8422'2325;
    for (const char character : text)
        hash = (hash ^ static_cast<std::uint8_t>(character)) * 0x0000'0100'0000'01B3;
    return hash;
}

/// Empty, or what is wrong with the identifier.
std::string set_naa(const UnitSettings& settings, scsi::Disk& disk) {
    if (settings.naa.empty()) {
        if (settings.serial.empty()) return {};
        // SPC-4 7.8.6.6.4: type 3 is locally assigned, so that any 60 bits will do.
        const std::uint64_t local = hash_of(settings.serial) >> 4 | std::uint64_t{3} << 60;
        store_big_endian<std::uint64_t>(disk.naa, local);
        disk.has_naa = true;
        return {};
    }
    const unsigned type = static_cast<std::uint8_t>(settings.naa[0]) >> 4;
    const std::size_t length = type == 6 ? naa_long : naa_short;
    if ((type != 2 && type != 3 && type != 5 && type != 6) || settings.naa.size() != length)
        return "the NAA identifier must have 8 bytes and begin with 2, 3 or 5, or 16 bytes and "
               "begin with 6";
    std::memcpy(disk.naa, settings.naa.data(), length);
    disk.has_naa = true;
    return {};
}

/// Empty, or what is wrong with the sizes.
std::string set_sizes(const backend::Properties& properties, const UnitSettings& settings,
                      UnitDescription& unit) {
    const std::uint32_t block = settings.block_size;
    if (block != 512 && block != 4096)
        return "a block size of " + std::to_string(block) + " bytes: it must be 512 or 4096";
    if (properties.minimum_block == 0 || block % properties.minimum_block != 0)
        return "a block size of " + std::to_string(block) +
               " bytes: the storage takes multiples of " + std::to_string(properties.minimum_block);
    const std::uint32_t physical =
        settings.physical_block_size == 0 ? block : settings.physical_block_size;
    if (!std::has_single_bit(physical) || physical < block || physical / block > 1U << 15)
        return "a physical block size of " + std::to_string(physical) +
               " bytes: it must be a power of two from the block size of " + std::to_string(block) +
               " on";
    unit.block_count = properties.size / block;
    if (unit.block_count == 0)
        return "a size of " + std::to_string(properties.size) + " bytes: less than one block";
    unit.disk.block_size = block;
    unit.disk.physical_block_exponent =
        static_cast<std::uint8_t>(std::countr_zero(physical / block));
    return {};
}

}  // namespace

Result<UnitDescription, std::string> describe_unit(const backend::Properties& properties,
                                                   const UnitSettings& settings) {
    UnitDescription unit;
    if (auto fault = set_sizes(properties, settings, unit); !fault.empty()) return Failure{fault};
    scsi::Disk& disk = unit.disk;
    if (settings.serial.size() >= sizeof(disk.serial))
        return Failure{"a serial number of " + std::to_string(settings.serial.size()) +
                       " bytes: at most " + std::to_string(sizeof(disk.serial) - 1) + " fit"};
    std::copy(settings.serial.begin(), settings.serial.end(), disk.serial);
    if (auto fault = set_naa(settings, disk); !fault.empty()) return Failure{fault};
    disk.read_only = settings.read_only || properties.read_only;
    disk.flush_supported = properties.can_flush;
    disk.fua_supported = properties.can_fua;
    disk.unmap_supported = properties.can_trim;
    disk.unmap_reads_zeroes = properties.trim_reads_zeroes;
    disk.extents_told = properties.can_tell_extents;
    disk.or_write_supported = true;
    disk.max_unmap_descriptors_per_step = scsi::max_unmap_descriptors;
    return unit;
}

}  // namespace wnbd::iscsi
