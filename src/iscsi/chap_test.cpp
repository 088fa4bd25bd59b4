// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/chap.h"

#include <gtest/gtest.h>

#include "iscsi/test_login.h"

namespace wnbd::iscsi {
namespace {

using test::Talk;
using test::text_of;
using Progress = Login::Progress;

constexpr test::LoginRequest security{.current = 0, .next = 1};

TargetSettings settings(bool mutual = false) {
    auto settings = test::settings();
    settings.initiator = Credentials{.name = "someone", .secret = "a secret of one"};
    if (mutual) settings.self = Credentials{.name = "the disk", .secret = "a secret of another"};
    return settings;
}

std::string response(unsigned algorithm, const std::string& identifier,
                     const std::string& challenge, std::string_view secret) {
    const auto id = static_cast<std::uint8_t>(*parse_number(identifier));
    const auto bytes = parse_binary(challenge, 1024);
    const auto hash = hash_of(static_cast<HashAlgorithm>(algorithm),
                              {std::span(&id, 1), test::bytes_of(secret), *bytes});
    return binary_text(hash->view());
}

/// A login that has got its challenge.
struct Challenged : Talk {
    explicit Challenged(const TargetSettings& settings = iscsi::settings(),
                        std::string_view algorithms = "CHAP_A=5")
        : Talk(settings) {
        auto step = say(
            security, text_of({"InitiatorName=iqn.2026-11.org.example:initiator",
                               "TargetName=iqn.2026-11.org.example:disk", "AuthMethod=CHAP,None"}));
        EXPECT_EQ(step.progress, Progress::goes_on) << step.reason;
        EXPECT_FALSE(step.response.transit);  // however much the initiator would like to
        EXPECT_EQ((*this)["AuthMethod"], "CHAP");
        step = say(security, text_of({algorithms}));
        EXPECT_EQ(step.progress, Progress::goes_on) << step.reason;
        EXPECT_FALSE(step.response.transit);
        algorithm = static_cast<unsigned>(*parse_number((*this)["CHAP_A"]));
        identifier = (*this)["CHAP_I"];
        challenge = (*this)["CHAP_C"];
    }
    Login::Step respond(std::string_view secret, std::string_view name = "someone",
                        std::string_view more = {}) {
        auto text = "CHAP_N=" + std::string(name) + '\0' +
                    "CHAP_R=" + response(algorithm, identifier, challenge, secret) + '\0';
        return say(security, text.append(more));
    }
    unsigned algorithm = 0;
    std::string identifier;
    std::string challenge;
};

void expect_failure(const Login::Step& step, std::string_view reason) {
    EXPECT_EQ(step.progress, Progress::refused);
    EXPECT_EQ(step.response.status, LoginStatus::authentication_failure);
    EXPECT_EQ(step.reason, reason);
    EXPECT_TRUE(step.text.empty());
}

TEST(Chap, TheRightSecretEnters) {
    for (const auto* const algorithms : {"CHAP_A=5", "CHAP_A=6", "CHAP_A=7"}) {
        Challenged talk(settings(), algorithms);
        EXPECT_EQ(talk["CHAP_A"], std::string_view(algorithms).substr(7));
        const auto step = talk.respond("a secret of one");
        EXPECT_EQ(step.progress, Progress::goes_on) << step.reason;
        EXPECT_TRUE(step.response.transit);
        EXPECT_TRUE(talk.answer.empty());
        EXPECT_EQ(talk.say({}, "").progress, Progress::full_feature);
    }
}

TEST(Chap, TheInitiatorsFirstAlgorithmThatWeKnow) {
    EXPECT_EQ(Challenged(settings(), "CHAP_A=8,7,6,5")["CHAP_A"], "7");
    EXPECT_EQ(Challenged(settings(), "CHAP_A=5,7")["CHAP_A"], "5");
    Talk talk(settings());
    talk.say(security, text_of({"InitiatorName=iqn.2026-11.org.example:initiator",
                                "TargetName=iqn.2026-11.org.example:disk", "AuthMethod=CHAP"}));
    expect_failure(talk.say(security, {"CHAP_A=8,x,0x100000005"}),
                   "CHAP_A offers no algorithm of 5 (MD5), 6 (SHA-1) and 7 (SHA-256)");
}

TEST(Chap, ChallengesNeverRepeat) {
    Challenged a;
    Challenged b;
    EXPECT_EQ(a.challenge.size(), 34U);
    EXPECT_NE(a.challenge, b.challenge);
}

TEST(Chap, AWrongSecretOrNameIsRefused) {
    Challenged secret;
    expect_failure(secret.respond("a secret of two"), "the CHAP secret is wrong");
    Challenged name;
    expect_failure(name.respond("a secret of one", "somebody"), "the CHAP name is wrong");
    for (const auto* const given :
         {"0x00", "0x", "secret", "5", "0x000102030405060708090a0b0c0d0e0f10"}) {
        Challenged talk;
        expect_failure(talk.say(security, {"CHAP_N=someone", std::string("CHAP_R=").append(given)}),
                       "the CHAP secret is wrong");
    }
}

TEST(Chap, ResponsesMayBeBase64) {
    // The same sixteen bytes as hexadecimal and as base64 of another program.
    EXPECT_EQ(parse_binary("0bAAECAwQFBgcICQoLDA0ODw==", 16),
              parse_binary("0x000102030405060708090A0B0C0D0E0F", 16));
}

TEST(Chap, MutualProvesTheTarget) {
    for (const auto* const asked : {"0x0102030405060708", "0bAQIDBAUGBwg=", "72623859790382856"}) {
        Challenged talk(settings(true));
        const auto step = talk.respond("a secret of one", "someone",
                                       text_of({"CHAP_I=200", std::string("CHAP_C=") + asked}));
        ASSERT_EQ(step.progress, Progress::goes_on) << step.reason;
        EXPECT_TRUE(step.response.transit);
        EXPECT_EQ(talk["CHAP_N"], "the disk");
        EXPECT_EQ(talk["CHAP_R"], response(5, "200", "0x0102030405060708", "a secret of another"));
    }
}

TEST(Chap, AWrongSecretGetsNoProof) {
    Challenged talk(settings(true));
    expect_failure(talk.respond("a secret of two", "someone", text_of({"CHAP_I=1", "CHAP_C=0x01"})),
                   "the CHAP secret is wrong");
}

TEST(Chap, MutualIsRefusedWithoutASecretForIt) {
    Challenged talk;
    expect_failure(talk.respond("a secret of one", "someone", text_of({"CHAP_I=1", "CHAP_C=0x01"})),
                   "the initiator wants mutual CHAP, and the target has no secret for it");
}

TEST(Chap, AMirroredChallengeClosesTheConnection) {
    Challenged talk(settings(true));
    const auto step = talk.respond("a secret of one", "someone",
                                   text_of({"CHAP_I=1", "CHAP_C=" + talk.challenge}));
    EXPECT_EQ(step.progress, Progress::broken);
    EXPECT_EQ(step.reason, "the initiator sends the target's own CHAP challenge back");
}

TEST(Chap, OneSecretForBothDirectionsIsRefused) {
    auto same = settings(true);
    same.self->secret = same.initiator->secret;
    Challenged talk(same);
    expect_failure(talk.respond("a secret of one", "someone", text_of({"CHAP_I=1", "CHAP_C=0x01"})),
                   "the initiator's and the target's CHAP secret are the same");
}

TEST(Chap, ImpossibleMutualValuesAreRefused) {
    for (const auto* const wrong : {"CHAP_I=256", "CHAP_I=x", "CHAP_I="}) {
        Challenged talk(settings(true));
        expect_failure(talk.respond("a secret of one", "someone", text_of({wrong, "CHAP_C=0x01"})),
                       "CHAP_I is no number up to 255");
    }
    for (const auto& wrong :
         {std::string("CHAP_C="), std::string("CHAP_C=0x"), "CHAP_C=0x" + std::string(2050, '1')}) {
        Challenged talk(settings(true));
        expect_failure(talk.respond("a secret of one", "someone", text_of({"CHAP_I=1", wrong})),
                       "CHAP_C is no binary value of 1 to 1024 bytes");
    }
    Challenged half(settings(true));
    expect_failure(half.respond("a secret of one", "someone", text_of({"CHAP_I=1"})),
                   "only one of CHAP_I and CHAP_C is there");
}

TEST(Chap, StepsComeInTheirOrder) {
    Talk early(settings());
    early.say(security, text_of({"InitiatorName=iqn.2026-11.org.example:initiator",
                                 "TargetName=iqn.2026-11.org.example:disk", "AuthMethod=CHAP"}));
    expect_failure(early.say(security, {"CHAP_N=someone", "CHAP_R=0x01"}),
                   "CHAP does not begin with CHAP_A alone");
    Challenged only_name;
    expect_failure(only_name.say(security, {"CHAP_N=someone"}),
                   "CHAP_N and CHAP_R do not answer the challenge");
}

TEST(Chap, AlgorithmsAreOfferedOnceAndAlone) {
    for (const auto* const more : {"CHAP_N=someone", "CHAP_R=0x01", "CHAP_I=1", "CHAP_C=0x01"}) {
        Talk talk(settings());
        talk.say(security, text_of({"InitiatorName=iqn.2026-11.org.example:initiator",
                                    "TargetName=iqn.2026-11.org.example:disk", "AuthMethod=CHAP"}));
        expect_failure(talk.say(security, {"CHAP_A=5", more}),
                       "CHAP does not begin with CHAP_A alone");
    }
    Challenged again;
    EXPECT_EQ(again.respond("a secret of one", "someone", text_of({"CHAP_A=5"})).reason,
              "CHAP_A comes twice");
}

TEST(Chap, NobodyGetsAroundIt) {
    const auto names = text_of({"InitiatorName=iqn.2026-11.org.example:initiator",
                                "TargetName=iqn.2026-11.org.example:disk"});
    Talk skips(settings());
    expect_failure(skips.say({}, names), "the initiator does not authenticate itself");
    Talk dawdles(settings());
    expect_failure(dawdles.say({.transit = false}, names),
                   "the initiator does not authenticate itself");
    Talk silent(settings());
    expect_failure(silent.say(security, names), "the initiator does not authenticate itself");
    Talk straight(settings());
    expect_failure(straight.say({.current = 0, .next = 3}, names),
                   "the initiator does not authenticate itself");
    Talk none(settings());
    expect_failure(none.say(security, names + text_of({"AuthMethod=None"})),
                   "of the initiator's AuthMethod \"None\" the target can do none: it wants CHAP");
    Talk discovery(settings());
    expect_failure(discovery.say({}, {"InitiatorName=iqn.2026-11.org.example:initiator",
                                      "SessionType=Discovery"}),
                   "the initiator does not authenticate itself");
    // Chosen, but never done.
    Talk idle(settings());
    idle.say(security, names + text_of({"AuthMethod=CHAP"}));
    const auto step = idle.say(security, "");
    EXPECT_EQ(step.progress, Progress::goes_on);
    EXPECT_FALSE(step.response.transit);
    EXPECT_EQ(idle.directory.asked, 0U);
}

bool no_random(std::span<std::uint8_t>) noexcept {
    return false;
}

TEST(Chap, WithoutRandomBytesThereIsNoChallenge) {
    const auto with_chap = settings();
    ChapTarget chap(with_chap, no_random);
    TextWriter answer;
    const auto refused = chap.receive({.algorithms = "5"}, answer);
    EXPECT_EQ(refused.status, LoginStatus::target_error);
    EXPECT_EQ(refused.reason, "the system has no random bytes");
    EXPECT_EQ(answer.text(), "");
}

}  // namespace
}  // namespace wnbd::iscsi
