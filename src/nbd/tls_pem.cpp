// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/tls_pem.h"

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <span>
#include <utility>

namespace wnbd::nbd::tls {
namespace {

using Bytes = std::vector<std::uint8_t>;

std::optional<unsigned> base64_value(char character) noexcept {
    if (character >= 'A' && character <= 'Z') return character - 'A';
    if (character >= 'a' && character <= 'z') return character - 'a' + 26;
    if (character >= '0' && character <= '9') return character - '0' + 52;
    if (character == '+') return 62;
    if (character == '/') return 63;
    return std::nullopt;
}

/// Nothing when it is no base64.
std::optional<Bytes> decode_base64(std::string_view text) {
    Bytes bytes;
    std::uint32_t bits = 0;
    unsigned digits = 0;
    unsigned padding = 0;
    for (const char character : text) {
        if (character == '\r' || character == '\n' || character == ' ' || character == '\t')
            continue;
        if (character == '=') {
            ++padding;
            continue;
        }
        const auto value = base64_value(character);
        if (!value || padding > 0) return std::nullopt;
        bits = bits << 6 | *value;
        if (++digits % 4 != 0) continue;
        bytes.push_back(static_cast<std::uint8_t>(bits >> 16));
        bytes.push_back(static_cast<std::uint8_t>(bits >> 8));
        bytes.push_back(static_cast<std::uint8_t>(bits));
    }
    const auto left = digits % 4;
    if (left == 1 || (digits + padding) % 4 != 0 || padding > 2) return std::nullopt;
    if (left == 2) bytes.push_back(static_cast<std::uint8_t>(bits >> 4));
    if (left == 3) {
        bytes.push_back(static_cast<std::uint8_t>(bits >> 10));
        bytes.push_back(static_cast<std::uint8_t>(bits >> 2));
    }
    return bytes;
}

constexpr std::uint8_t octet_string = 0x04;
constexpr std::uint8_t sequence = 0x30;
const Bytes version_0{0x02, 0x01, 0x00};
// rsaEncryption, 1.2.840.113549.1.1.1, with NULL
const Bytes rsa_algorithm{0x30, 0x0d, 0x06, 0x09, 0x2a, 0x86, 0x48, 0x86,
                          0xf7, 0x0d, 0x01, 0x01, 0x01, 0x05, 0x00};

/// A DER element around `content`.
Bytes element(std::uint8_t tag, std::initializer_list<const Bytes*> content) {
    std::size_t size = 0;
    for (const auto* part : content)
        size += part->size();
    Bytes bytes{tag};
    if (size < 0x80) {
        bytes.push_back(static_cast<std::uint8_t>(size));
    } else {
        // No file of ours is larger than 1 MiB: three bytes of length.
        bytes.push_back(0x83);
        for (const unsigned shift : {16U, 8U, 0U})
            bytes.push_back(static_cast<std::uint8_t>(size >> shift));
        // DER wants the shortest form.
        while (bytes[1] > 0x81 && bytes[2] == 0) {
            bytes.erase(bytes.begin() + 2);
            --bytes[1];
        }
    }
    for (const auto* part : content)
        bytes.insert(bytes.end(), part->begin(), part->end());
    return bytes;
}

bool starts_with(std::span<const std::uint8_t> bytes, const Bytes& start) {
    return bytes.size() >= start.size() && std::equal(start.begin(), start.end(), bytes.begin());
}

/// The content of the element that `bytes` begin with, if it has this tag and is whole.
std::optional<std::span<const std::uint8_t>> open_element(std::uint8_t tag,
                                                          std::span<const std::uint8_t> bytes) {
    if (bytes.size() < 2 || bytes[0] != tag) return std::nullopt;
    std::size_t size = bytes[1];
    std::size_t head = 2;
    if (size >= 0x80) {
        const std::size_t digits = size - 0x80;
        if (digits > 3 || bytes.size() < head + digits) return std::nullopt;
        for (size = 0; head < 2 + digits; ++head)
            size = size << 8 | bytes[head];
    }
    if (size > bytes.size() - head) return std::nullopt;
    return bytes.subspan(head, size);
}

}  // namespace

std::vector<PemBlock> read_pem(std::string_view text) {
    constexpr std::string_view begin = "-----BEGIN ";
    constexpr std::string_view dashes = "-----";
    std::vector<PemBlock> blocks;
    for (;;) {
        const auto start = text.find(begin);
        if (start == std::string_view::npos) return blocks;
        text.remove_prefix(start + begin.size());
        const auto label_end = text.find(dashes);
        if (label_end == std::string_view::npos) return blocks;
        std::string label(text.substr(0, label_end));
        const auto body = text.substr(label_end + dashes.size());
        const auto end = body.find("-----END " + label + "-----");
        if (end == std::string_view::npos) continue;
        const auto content = body.substr(0, end);
        text = body.substr(end + dashes.size());
        if (content.find(':') != std::string_view::npos) {
            blocks.push_back({.label = std::move(label), .data = {}});
        } else if (auto data = decode_base64(content)) {
            blocks.push_back({.label = std::move(label), .data = std::move(*data)});
        }
    }
}

std::vector<std::uint8_t> wrap_rsa_key(const std::vector<std::uint8_t>& pkcs1) {
    const auto key = element(octet_string, {&pkcs1});
    return element(sequence, {&version_0, &rsa_algorithm, &key});
}

std::vector<std::uint8_t> unwrap_rsa_key(const std::vector<std::uint8_t>& pkcs8) {
    std::span<const std::uint8_t> outside(pkcs8);
    auto inside = open_element(sequence, outside);
    if (!inside || !starts_with(*inside, version_0)) return {};
    *inside = inside->subspan(version_0.size());
    if (!starts_with(*inside, rsa_algorithm)) return {};
    *inside = inside->subspan(rsa_algorithm.size());
    const auto key = open_element(octet_string, *inside);
    return key ? Bytes(key->begin(), key->end()) : Bytes{};
}

}  // namespace wnbd::nbd::tls
