// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/served_properties.h"

#include <algorithm>
#include <bit>
#include <limits>
#include <span>
#include <string_view>
#include <utility>

#include "backend/aligning_backend.h"
#include "nbd/uri.h"

namespace wnbd::libwnbd {

namespace {

constexpr std::uint32_t block_size_small = WNBD_DEFAULT_BLOCK_SIZE;
constexpr std::uint32_t block_size_large = 4096;

std::string choose_block_size(WNBD_PROPERTIES& properties, std::uint32_t minimum_block) {
    if (properties.BlockSize == 0) properties.BlockSize = std::max(block_size_small, minimum_block);
    const std::uint32_t block_size = properties.BlockSize;
    if (block_size != block_size_small && block_size != block_size_large)
        return "a block size of " + std::to_string(block_size) + " bytes: it must be 512 or 4096";
    if (minimum_block == 0 || block_size % minimum_block != 0)
        return "a block size of " + std::to_string(block_size) +
               " bytes: the storage takes multiples of " + std::to_string(minimum_block);
    return {};
}

/// As much as fits in front of the terminator, in whole characters of UTF-8.
void store_cut(std::span<char> array, std::string_view text) {
    auto length = std::min(text.size(), array.size() - 1);
    const auto continues = [&] {
        return (static_cast<unsigned char>(text[length]) & 0xC0) == 0x80;
    };
    while (length < text.size() && length > 0 && continues())
        --length;
    std::ranges::copy(text.substr(0, length), array.begin());
    array[length] = '\0';
}

}  // namespace

std::unique_ptr<backend::Backend> fit_storage(WNBD_PROPERTIES& properties,
                                              std::unique_ptr<backend::Backend> storage) {
    const std::uint32_t minimum = storage->properties().minimum_block;
    const std::uint32_t wanted = properties.BlockSize;
    const bool makes_sense = wanted == block_size_small || wanted == block_size_large;
    const std::uint32_t block =
        wanted == 0 ? std::clamp(minimum, block_size_small, block_size_large) : wanted;
    if (minimum <= block || (wanted != 0 && !makes_sense)) return storage;
    properties.BlockSize = block;
    if (WnbdGetPhysicalBlockExponent(&properties) == 0)
        WnbdSetPhysicalBlockExponent(&properties,
                                     static_cast<UINT8>(std::countr_zero(minimum / block)));
    return backend::aligned_to(std::move(storage), block);
}

void tell_of_server(WNBD_PROPERTIES& properties, const std::string& backend_uri) {
    const auto uri = nbd::parse_uri(backend_uri);
    if (!uri) return;
    const nbd::Address& server = uri.value().addresses.front();
    const bool unix_socket = !server.socket_path.empty();
    NBD_CONNECTION_PROPERTIES told{};
    store_cut(told.Hostname, unix_socket ? server.endpoint() : server.host);
    store_cut(told.ExportName, server.export_name);
    told.PortNumber = unix_socket ? 0 : server.port;
    properties.NbdProperties = told;
    properties.Flags.UseUserspaceNbd = 1;
}

std::string fit_to_backend(WNBD_PROPERTIES& properties, const backend::Properties& backend,
                           std::string& remark) {
    remark.clear();
    if (auto refusal = choose_block_size(properties, backend.minimum_block); !refusal.empty())
        return refusal;
    properties.BlockCount = backend.size / properties.BlockSize;
    if (properties.BlockCount == 0)
        return "a size of " + std::to_string(backend.size) + " bytes: less than one block";
    if (const auto rest = backend.size % properties.BlockSize; rest != 0)
        remark = "the last " + std::to_string(rest) + " of " + std::to_string(backend.size) +
                 " bytes are not mapped: less than a block of " +
                 std::to_string(properties.BlockSize);

    WNBD_FLAGS& flags = properties.Flags;
    if (backend.read_only) flags.ReadOnly = 1;
    if (backend.can_flush) flags.FlushSupported = 1;
    if (backend.can_fua) flags.FUASupported = 1;
    if (backend.can_trim) flags.UnmapSupported = 1;
    flags.PersistResSupported = 0;
    properties.MaxUnmapDescCount = served_unmap_count_max;
    return {};
}

std::uint64_t claimed_size(const WNBD_PROPERTIES& properties) noexcept {
    const std::uint32_t block_size =
        properties.BlockSize == 0 ? block_size_small : properties.BlockSize;
    if (properties.BlockCount > std::numeric_limits<std::uint64_t>::max() / block_size) return 0;
    return properties.BlockCount * block_size;
}

}  // namespace wnbd::libwnbd
