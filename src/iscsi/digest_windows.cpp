// SPDX-License-Identifier: LGPL-2.1-or-later
#include <windows.h>
// After windows.h, which it needs.
#include <bcrypt.h>

#include "iscsi/digest.h"

namespace wnbd::iscsi {
namespace {

const wchar_t* system_name(HashAlgorithm algorithm) noexcept {
    switch (algorithm) {
        case HashAlgorithm::md5: return BCRYPT_MD5_ALGORITHM;
        case HashAlgorithm::sha1: return BCRYPT_SHA1_ALGORITHM;
        case HashAlgorithm::sha256: break;
    }
    return BCRYPT_SHA256_ALGORITHM;
}

constexpr bool succeeded(NTSTATUS status) noexcept {
    return status >= 0;
}

/// The calls take what they only read as non-const.
PUCHAR bytes_of(std::span<const std::uint8_t> part) noexcept {
    return const_cast<PUCHAR>(part.data());
}

}  // namespace

std::optional<Hash> hash_of(HashAlgorithm algorithm,
                            std::initializer_list<std::span<const std::uint8_t>> parts) noexcept {
    BCRYPT_ALG_HANDLE provider = nullptr;
    if (!succeeded(BCryptOpenAlgorithmProvider(&provider, system_name(algorithm), nullptr, 0)))
        return {};
    std::optional<Hash> result;
    BCRYPT_HASH_HANDLE hash = nullptr;
    if (succeeded(BCryptCreateHash(provider, &hash, nullptr, 0, nullptr, 0, 0))) {
        bool good = true;
        for (const auto part : parts) {
            good = good && succeeded(BCryptHashData(hash, bytes_of(part),
                                                    static_cast<ULONG>(part.size()), 0));
        }
        Hash finished;
        finished.length = hash_length(algorithm);
        if (good && succeeded(BCryptFinishHash(hash, finished.bytes.data(),
                                               static_cast<ULONG>(finished.length), 0)))
            result = finished;
        BCryptDestroyHash(hash);
    }
    BCryptCloseAlgorithmProvider(provider, 0);
    return result;
}

bool fill_random(std::span<std::uint8_t> room) noexcept {
    return succeeded(BCryptGenRandom(nullptr, room.data(), static_cast<ULONG>(room.size()),
                                     BCRYPT_USE_SYSTEM_PREFERRED_RNG));
}

}  // namespace wnbd::iscsi
