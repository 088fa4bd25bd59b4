// SPDX-License-Identifier: LGPL-2.1-or-later
// An initiator's side of a login, for tests and fuzzers: requests by hand, answers taken apart.
#pragma once

#include <algorithm>
#include <cstdint>
#include <initializer_list>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "base/big_endian.h"
#include "iscsi/login.h"

namespace wnbd::iscsi::test {

constexpr std::string_view initiator_name = "iqn.2026-11.org.example:initiator";
constexpr std::string_view target_name = "iqn.2026-11.org.example:disk";

/// key=value pairs, each with its NUL.
inline std::string text_of(std::initializer_list<std::string_view> pairs) {
    std::string text;
    for (const auto pair : pairs)
        text.append(pair).append(1, '\0');
    return text;
}
inline std::span<const std::uint8_t> bytes_of(std::string_view text) {
    return {reinterpret_cast<const std::uint8_t*>(text.data()), text.size()};
}

struct LoginRequest {
    unsigned current = 1;
    unsigned next = 3;
    bool transit = true;
    bool continues = false;
    std::uint8_t version_min = 0;
    std::uint16_t tsih = 0;
    std::uint16_t connection_id = 1;
    std::uint8_t opcode = 0x43;
};

inline HeaderBytes encode(const LoginRequest& request, std::size_t text_length) {
    HeaderBytes header{};
    header[0] = request.opcode;
    header[1] =
        static_cast<std::uint8_t>((request.transit ? 0x80 : 0) | (request.continues ? 0x40 : 0) |
                                  (request.current << 2) | request.next);
    header[3] = request.version_min;
    store_big_endian(header.data() + 4, static_cast<std::uint32_t>(text_length));
    std::copy_n("\x80\x01\x02\x03\x04\x05", 6, header.data() + 8);
    store_big_endian(header.data() + 14, request.tsih);
    store_big_endian(header.data() + 16, std::uint32_t{0xABCD});
    store_big_endian(header.data() + 20, request.connection_id);
    store_big_endian(header.data() + 24, std::uint32_t{7});
    return header;
}

/// A directory that lets everybody in, or nobody.
class Directory final : public SessionDirectory {
  public:
    Admission admit(const LoginHeader& request, const Parameters& parameters) noexcept override {
        ++asked;
        isid = request.isid;
        discovery = parameters.discovery;
        return answer;
    }
    Admission answer{.status = LoginStatus::success, .tsih = 0x77, .reason = ""};
    unsigned asked = 0;
    std::array<std::uint8_t, 6> isid{};
    bool discovery = false;
};

inline TargetSettings settings() {
    TargetSettings settings;
    settings.name = target_name;
    return settings;
}

/// One login with the answer to its last request.
class Talk {
  public:
    explicit Talk(TargetSettings settings = test::settings())
        : settings_(std::move(settings)), login(settings_, directory) {}

    Login::Step say(const LoginRequest& request, std::string_view text) {
        const auto step = login.receive(encode(request, text.size()), bytes_of(text));
        answer.clear();
        TextReader reader({reinterpret_cast<const char*>(step.text.data()), step.text.size()});
        while (const auto pair = reader.next())
            answer.emplace(pair->key, pair->value);
        fault = reader.fault();
        return step;
    }
    Login::Step say(const LoginRequest& request, std::initializer_list<std::string_view> pairs) {
        return say(request, text_of(pairs));
    }
    /// One request with the names and these keys in the operational stage.
    Login::Step enter(std::initializer_list<std::string_view> pairs) {
        auto text = text_of({"InitiatorName=iqn.2026-11.org.example:initiator",
                             "TargetName=iqn.2026-11.org.example:disk", "SessionType=Normal"});
        return say({}, text += text_of(pairs));
    }
    /// The answer to one key; "(none)" without one.
    std::string operator[](const std::string& key) const {
        const auto found = answer.find(key);
        return found == answer.end() ? "(none)" : found->second;
    }

  private:
    TargetSettings settings_;

  public:
    Directory directory;
    Login login;
    std::map<std::string, std::string> answer;
    std::string fault;
};

}  // namespace wnbd::iscsi::test
