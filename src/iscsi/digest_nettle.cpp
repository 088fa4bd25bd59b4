// SPDX-License-Identifier: LGPL-2.1-or-later
#include <nettle/md5.h>
#include <nettle/sha1.h>
#include <nettle/sha2.h>
#include <sys/random.h>

#include <cerrno>

#include "iscsi/digest.h"

namespace wnbd::iscsi {
namespace {

template <auto init, auto update, auto finish, typename Context>
void hash(Hash& result, std::initializer_list<std::span<const std::uint8_t>> parts) noexcept {
    Context context;
    init(&context);
    for (const auto part : parts)
        update(&context, part.size(), part.data());
    finish(&context, result.length, result.bytes.data());
}

}  // namespace

std::optional<Hash> hash_of(HashAlgorithm algorithm,
                            std::initializer_list<std::span<const std::uint8_t>> parts) noexcept {
    Hash result;
    result.length = hash_length(algorithm);
    switch (algorithm) {
        case HashAlgorithm::md5:
            hash<md5_init, md5_update, md5_digest, md5_ctx>(result, parts);
            return result;
        case HashAlgorithm::sha1:
            hash<sha1_init, sha1_update, sha1_digest, sha1_ctx>(result, parts);
            return result;
        case HashAlgorithm::sha256:
            hash<sha256_init, sha256_update, sha256_digest, sha256_ctx>(result, parts);
            return result;
    }
    return {};
}

bool fill_random(std::span<std::uint8_t> room) noexcept {
    while (!room.empty()) {
        const auto count = ::getrandom(room.data(), room.size(), 0);
        if (count < 0 && errno == EINTR) continue;
        if (count <= 0) return false;
        room = room.subspan(static_cast<std::size_t>(count));
    }
    return true;
}

}  // namespace wnbd::iscsi
