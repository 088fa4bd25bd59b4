// SPDX-License-Identifier: LGPL-2.1-or-later
// The hashes that CHAP uses and random bytes, by the system's library. Thread-safe.
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <optional>
#include <span>

namespace wnbd::iscsi {

/// By CHAP's own numbers (RFC 7143, 12.1.3, and IANA's registry of PPP authentication algorithms).
enum class HashAlgorithm : std::uint8_t { md5 = 5, sha1 = 6, sha256 = 7 };

/// Bytes of a hash.
[[nodiscard]] constexpr std::size_t hash_length(HashAlgorithm algorithm) noexcept {
    switch (algorithm) {
        case HashAlgorithm::md5: return 16;
        case HashAlgorithm::sha1: return 20;
        case HashAlgorithm::sha256: break;
    }
    return 32;
}

struct Hash {
    std::array<std::uint8_t, 32> bytes{};
    std::size_t length = 0;
    [[nodiscard]] std::span<const std::uint8_t> view() const noexcept {
        return std::span(bytes).first(length);
    }
};

/// The hash of the parts, one after the other. Nothing when the system does not allow the
/// algorithm.
[[nodiscard]] std::optional<Hash> hash_of(
    HashAlgorithm algorithm, std::initializer_list<std::span<const std::uint8_t>> parts) noexcept;

/// Bytes nobody can foresee, from the system. False: it has none to give.
[[nodiscard]] bool fill_random(std::span<std::uint8_t> room) noexcept;

/// Compares in a time that depends on the lengths alone.
[[nodiscard]] bool equal_in_constant_time(std::span<const std::uint8_t> a,
                                          std::span<const std::uint8_t> b) noexcept;

}  // namespace wnbd::iscsi
