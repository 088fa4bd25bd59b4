// SPDX-License-Identifier: LGPL-2.1-or-later
// What a server says of a handshake in the clear, for a library that keeps it to itself.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>

namespace wnbd::nbd::tls {

struct PlainRecords {
    unsigned alert = 0;              // of a fatal alert; 0: none
    bool certificate_asked = false;  // TLS 1.2's CertificateRequest
};

/// Looks at the whole records that `bytes` begin with (RFC 5246, 6.2.1 and 7.2, 7.4). Messages that
/// are cut over records are not looked into.
[[nodiscard]] inline PlainRecords look_at_records(std::span<const std::uint8_t> bytes) noexcept {
    constexpr std::uint8_t alert = 21;
    constexpr std::uint8_t handshake = 22;
    constexpr std::uint8_t fatal = 2;
    constexpr std::uint8_t certificate_request = 13;
    PlainRecords seen;
    while (bytes.size() >= 5) {
        const auto type = bytes[0];
        const std::size_t length = std::size_t{bytes[3]} << 8 | bytes[4];
        if (length > bytes.size() - 5) break;
        auto record = bytes.subspan(5, length);
        bytes = bytes.subspan(5 + length);
        if (type == alert && record.size() == 2 && record[0] == fatal) seen.alert = record[1];
        while (type == handshake && record.size() >= 4) {
            if (record[0] == certificate_request) seen.certificate_asked = true;
            const std::size_t size =
                std::size_t{record[1]} << 16 | std::size_t{record[2]} << 8 | record[3];
            if (size > record.size() - 4) break;
            record = record.subspan(4 + size);
        }
    }
    return seen;
}

}  // namespace wnbd::nbd::tls
