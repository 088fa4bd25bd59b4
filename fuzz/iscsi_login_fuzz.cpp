// SPDX-License-Identifier: LGPL-2.1-or-later
// A hostile initiator's login, and the text requests after it.
//
// The first byte chooses the target: bit 0 it asks for CHAP, bit 1 it can prove itself, bit 2 it
// has an alias. Then one request after the other: a byte with the T and C bits and the stages, a
// byte that bends the header, and the text up to 0xFF. In a text, "CHAP_R=@" becomes the right
// response and "CHAP_C=@" the target's own challenge: no fuzzer would find them.
#include <algorithm>
#include <cstdint>
#include <cstdlib>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "iscsi/digest.h"
#include "iscsi/login.h"
#include "iscsi/send_targets.h"
#include "iscsi/test_login.h"

namespace {

using namespace wnbd::iscsi;
using Bytes = std::span<const std::uint8_t>;
using Progress = Login::Progress;

constexpr std::string_view secret = "the initiator's secret";
constexpr std::string_view own_secret = "the target's secret";

void require(bool condition) {
    if (!condition) std::abort();
}

/// The same bytes each time, so that what was found happens again.
bool foreseeable(std::span<std::uint8_t> room) noexcept {
    for (std::size_t i = 0; i < room.size(); ++i)
        room[i] = static_cast<std::uint8_t>(0x5A + i);
    return true;
}

/// What the target must have made well.
template <typename T>
T given(std::optional<T> value) {
    require(value.has_value());
    return value ? std::move(*value) : T{};
}

bool has_control(std::string_view text) {
    return std::ranges::any_of(
        text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
}
bool has_unprintable(std::string_view text) {
    return has_control(text) || std::ranges::any_of(text, [](char c) {
               return (static_cast<unsigned char>(c) & 0x80) != 0;
           });
}

void replace(std::string& text, std::string_view what, const std::string& by) {
    if (const auto at = text.find(what); at != std::string::npos)
        text.replace(at, what.size(), what.substr(0, what.size() - 1))
            .insert(at + what.size() - 1, by);
}

void check(const Parameters& parameters, const TargetSettings& settings) {
    require(is_iscsi_name(parameters.initiator_name));
    require(parameters.discovery || same_name(parameters.target_name, settings.name));
    require(!has_control(parameters.initiator_alias));
    require(parameters.max_send_segment >= 512 &&
            parameters.max_send_segment <= largest_segment_length);
    require(parameters.max_receive_segment == default_segment_length ||
            parameters.max_receive_segment == settings.max_receive_segment);
    require(parameters.max_burst >= 512 && parameters.max_burst <= settings.max_burst);
    require(parameters.first_burst >= 512 && parameters.first_burst <= parameters.max_burst);
    require(parameters.max_outstanding_r2t >= 1 &&
            parameters.max_outstanding_r2t <= settings.max_outstanding_r2t);
}

class Initiator {
  public:
    explicit Initiator(std::uint8_t kind) : settings_(test::settings()) {
        if ((kind & 1) != 0)
            settings_.initiator = {.name = "someone", .secret = std::string(secret)};
        if ((kind & 2) != 0) settings_.self = {.name = "disk", .secret = std::string(own_secret)};
        if ((kind & 4) != 0) settings_.alias = "The disk";
        login_ = std::make_unique<Login>(settings_, directory_, foreseeable);
    }

    /// False: the connection is over.
    bool say(std::uint8_t flags, std::uint8_t bend, std::string text) {
        mend(text);
        // Who knows the secret may be shown what he said himself.
        told_ = told_ || text.find(secret) != std::string::npos;
        if (entered_) return ask(text);
        auto header = test::encode({.current = (flags >> 2) & 3U,
                                    .next = flags & 3U,
                                    .transit = (flags & 0x80) != 0,
                                    .continues = (flags & 0x40) != 0},
                                   text.size());
        if ((bend & 1) != 0) header[bend >> 4] ^= bend;
        if ((bend & 2) != 0) header[16 + (bend >> 4)] ^= bend;
        const auto step = login_->receive(header, test::bytes_of(text));
        require(++requests_ <= 65);
        if (step.progress == Progress::refused || step.progress == Progress::broken) {
            require(step.text.empty() && step.response.data_length == 0);
            require(step.response.status != LoginStatus::success && !step.response.transit);
            require(!step.reason.empty() && !has_unprintable(step.reason));
            require(told_ || step.reason.find(secret) == std::string_view::npos);
            return false;
        }
        require(step.reason.empty() && step.response.status == LoginStatus::success);
        learn(step);
        if (step.progress == Progress::full_feature) enter(step);
        return true;
    }

  private:
    /// What the initiator needs for its own answer.
    void learn(const Login::Step& step) {
        require(step.text.size() <= default_segment_length);
        require(step.response.data_length == step.text.size());
        TextReader reader({reinterpret_cast<const char*>(step.text.data()), step.text.size()});
        while (const auto pair = reader.next()) {
            if (pair->key == "CHAP_A") algorithm_ = given(parse_number(pair->value));
            if (pair->key == "CHAP_I")
                identifier_ = static_cast<std::uint8_t>(given(parse_number(pair->value)));
            if (pair->key == "CHAP_C") challenge_ = given(parse_binary(pair->value, 1024));
        }
        require(reader.fault().empty());
    }

    void mend(std::string& text) {
        if (challenge_.empty()) return;
        replace(text, "CHAP_C=@", binary_text(challenge_));
        const auto before = text.size();
        const auto digest =
            given(hash_of(static_cast<HashAlgorithm>(algorithm_),
                          {std::span(&identifier_, 1), test::bytes_of(secret), challenge_}));
        replace(text, "CHAP_R=@", binary_text(digest.view()));
        proved_ = proved_ || text.size() != before;
    }

    void enter(const Login::Step& step) {
        entered_ = true;
        // Nobody gets around CHAP, and the directory is asked once.
        require(!settings_.initiator || proved_);
        require(directory_.asked == 1);
        require(step.response.transit && step.response.next_stage == 3);
        require(step.response.tsih == directory_.answer.tsih);
        parameters_ = login_->parameters();
        check(parameters_, settings_);
    }

    /// A text request of the full feature phase.
    bool ask(const std::string& text) {
        const std::vector<std::string> addresses{target_address("127.0.0.1", 3260)};
        const auto answer = answer_text(text, settings_, addresses, parameters_);
        check(parameters_, settings_);
        if (!answer) {
            require(!answer.error().empty() && !has_unprintable(answer.error()));
            return false;
        }
        require(answer.value().size() <= default_segment_length);
        TextReader reader(answer.value());
        while (reader.next()) {
        }
        require(reader.fault().empty());
        return true;
    }

    TargetSettings settings_;
    test::Directory directory_;
    std::unique_ptr<Login> login_;
    Parameters parameters_;
    std::uint64_t algorithm_ = 0;
    std::uint8_t identifier_ = 0;
    std::vector<std::uint8_t> challenge_;
    unsigned requests_ = 0;
    bool proved_ = false;
    bool told_ = false;
    bool entered_ = false;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    Initiator initiator(data[0]);
    Bytes rest(data + 1, size - 1);
    while (rest.size() >= 2) {
        const auto flags = rest[0];
        const auto bend = rest[1];
        rest = rest.subspan(2);
        const auto end = std::ranges::find(rest, 0xFF);
        const std::string text(rest.begin(), end);
        rest = rest.subspan(text.size() + (end == rest.end() ? 0 : 1));
        if (!initiator.say(flags, bend, text)) break;
    }
    return 0;
}
