// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/login.h"

#include <gtest/gtest.h>

#include "iscsi/test_login.h"

namespace wnbd::iscsi {
namespace {

using test::Talk;
using Progress = Login::Progress;

const auto names = test::text_of(
    {"InitiatorName=iqn.2026-11.org.example:initiator", "TargetName=iqn.2026-11.org.example:disk"});

void expect_refused(const Login::Step& step, LoginStatus status, std::string_view reason) {
    EXPECT_EQ(step.progress, Progress::refused);
    EXPECT_EQ(step.response.status, status);
    EXPECT_EQ(step.reason, reason);
    EXPECT_TRUE(step.text.empty());
    EXPECT_EQ(step.response.data_length, 0U);
    EXPECT_FALSE(step.response.transit);
}

TEST(Login, GoesThroughBothStages) {
    Talk talk;
    auto step = talk.say({.current = 0, .next = 1}, names + test::text_of({"AuthMethod=None"}));
    EXPECT_EQ(step.progress, Progress::goes_on);
    EXPECT_TRUE(step.response.transit);
    EXPECT_EQ(step.response.current_stage, 0);
    EXPECT_EQ(step.response.next_stage, 1);
    EXPECT_EQ(step.response.tsih, 0);
    EXPECT_EQ(step.response.task_tag, 0xABCDU);
    EXPECT_EQ(step.response.data_length, step.text.size());
    EXPECT_EQ(talk["AuthMethod"], "None");
    EXPECT_EQ(talk.directory.asked, 0U);

    step = talk.say({}, {"HeaderDigest=None"});
    EXPECT_EQ(step.progress, Progress::full_feature);
    EXPECT_TRUE(step.response.transit);
    EXPECT_EQ(step.response.current_stage, 1);
    EXPECT_EQ(step.response.next_stage, 3);
    EXPECT_EQ(step.response.tsih, 0x77);
    EXPECT_EQ(step.response.isid, (std::array<std::uint8_t, 6>{0x80, 1, 2, 3, 4, 5}));
    EXPECT_EQ(talk.directory.asked, 1U);
    EXPECT_EQ(talk.directory.isid, talk.login.isid());
    EXPECT_EQ(talk.login.tsih(), 0x77);
    EXPECT_EQ(talk.login.connection_id(), 1);
}

TEST(Login, MayGoStraightFromSecurityToTheFullFeaturePhase) {
    Talk talk;
    const auto step = talk.say({.current = 0, .next = 3}, names);
    EXPECT_EQ(step.progress, Progress::full_feature);
    // Nothing operational was declared: the default holds.
    EXPECT_EQ(talk.login.parameters().max_receive_segment, 8192U);
}

TEST(Login, MayTakeSeveralRequestsInAStage) {
    Talk talk;
    auto step = talk.say({.transit = false}, names);
    EXPECT_EQ(step.progress, Progress::goes_on);
    EXPECT_FALSE(step.response.transit);
    step = talk.say({.transit = false}, {"HeaderDigest=CRC32C"});
    EXPECT_EQ(talk["HeaderDigest"], "CRC32C");
    EXPECT_EQ(talk["MaxRecvDataSegmentLength"], "(none)");  // said before
    step = talk.say({}, "");
    EXPECT_EQ(step.progress, Progress::full_feature);
    EXPECT_EQ(step.text.size(), 0U);
}

TEST(Login, TextMayBeSplitAnywhere) {
    const auto text = names + test::text_of({"MaxBurstLength=4096"});
    for (std::size_t cut = 0; cut <= text.size(); ++cut) {
        Talk talk;
        auto step =
            talk.say({.transit = false, .continues = true}, std::string_view(text).substr(0, cut));
        ASSERT_EQ(step.progress, Progress::goes_on);
        ASSERT_TRUE(step.text.empty());
        ASSERT_FALSE(step.response.transit);
        step = talk.say({}, std::string_view(text).substr(cut));
        ASSERT_EQ(step.progress, Progress::full_feature) << step.reason;
        ASSERT_EQ(talk["MaxBurstLength"], "4096");
    }
}

TEST(Login, EndlessTextIsRefused) {
    Talk talk;
    const std::string piece(8000, 'x');
    const test::LoginRequest more{.transit = false, .continues = true};
    EXPECT_EQ(talk.say(more, piece).progress, Progress::goes_on);
    EXPECT_EQ(talk.say(more, piece).progress, Progress::goes_on);
    expect_refused(talk.say(more, piece), LoginStatus::initiator_error,
                   "the login text is longer than 16384 bytes");
}

TEST(Login, EndlessRequestsAreRefused) {
    Talk talk;
    auto step = talk.say({.transit = false}, names);
    for (int i = 1; i < 64; ++i) {
        ASSERT_EQ(step.progress, Progress::goes_on) << i;
        step = talk.say({.transit = false}, "");
    }
    ASSERT_EQ(step.progress, Progress::goes_on);
    expect_refused(talk.say({.transit = false}, ""), LoginStatus::initiator_error,
                   "the login does not end");
}

TEST(Login, APduHoldsNoMoreTextThanTheDefault) {
    Talk fits;
    auto text = names + "X-pad=";
    text.resize(8192, 'x');
    EXPECT_EQ(fits.say({}, text).progress, Progress::full_feature);
    Talk talk;
    expect_refused(talk.say({}, text + "x"), LoginStatus::initiator_error,
                   "a login request has 8193 bytes of text; there may be 8192");
}

TEST(Login, MoreKeysThanCanBeAnsweredAreRefused) {
    Talk talk;
    auto text = names;
    for (int i = 0; i < 900; ++i)
        text += "K" + std::to_string(i) + std::string("=1\0", 3);
    expect_refused(talk.say({}, text), LoginStatus::initiator_error,
                   "more keys than one answer has room for");
}

TEST(Login, BinaryTextIsRefusedWithoutShowingIt) {
    Talk talk;
    expect_refused(talk.say({}, names + "\x01\x1b[2J=\xFF"), LoginStatus::initiator_error,
                   "no name of a key: \"\\x01\\x1b[2J\"");
}

TEST(Login, NamesAreNeededAtOnce) {
    Talk no_initiator;
    expect_refused(no_initiator.say({}, {"TargetName=iqn.2026-11.org.example:disk"}),
                   LoginStatus::missing_parameter, "no InitiatorName");
    Talk no_target;
    expect_refused(no_target.say({}, {"InitiatorName=iqn.2026-11.org.example:initiator"}),
                   LoginStatus::missing_parameter, "no TargetName in a normal session");
    Talk wrong;
    expect_refused(wrong.say({}, {"InitiatorName=iqn.2026-11.org.example:initiator",
                                  "TargetName=iqn.2026-11.org.example:other"}),
                   LoginStatus::target_not_found, "no such target: iqn.2026-11.org.example:other");
    Talk no_name;
    expect_refused(no_name.say({}, {"InitiatorName=a\x80", "TargetName=x"}),
                   LoginStatus::initiator_error, "InitiatorName is no iSCSI name: \"a\\x80\"");
    Talk late;
    ASSERT_EQ(late.say({.transit = false}, names).progress, Progress::goes_on);
    expect_refused(late.say({}, {"SessionType=Discovery"}), LoginStatus::initiator_error,
                   "SessionType does not come in the first request");
    Talk capitals;
    EXPECT_EQ(capitals
                  .say({}, {"InitiatorName=iqn.2026-11.org.example:initiator",
                            "TargetName=IQN.2026-11.ORG.EXAMPLE:DISK"})
                  .progress,
              Progress::full_feature);
}

TEST(Login, SessionTypes) {
    Talk discovery;
    EXPECT_EQ(
        discovery
            .say({}, {"InitiatorName=iqn.2026-11.org.example:initiator", "SessionType=Discovery"})
            .progress,
        Progress::full_feature);
    EXPECT_TRUE(discovery.login.parameters().discovery);
    EXPECT_TRUE(discovery.directory.discovery);
    EXPECT_EQ(discovery.login.parameters().target_name, "");
    Talk elsewhere;
    expect_refused(
        elsewhere.say({}, {"InitiatorName=iqn.2026-11.org.example:initiator",
                           "SessionType=Discovery", "TargetName=iqn.2026-11.org.example:other"}),
        LoginStatus::target_not_found, "no such target: iqn.2026-11.org.example:other");
    Talk unknown;
    expect_refused(unknown.say({}, names + test::text_of({"SessionType=Tape"})),
                   LoginStatus::session_type_not_supported, "no session type: \"Tape\"");
}

TEST(Login, VersionsAboveOursAreRefused) {
    Talk talk;
    expect_refused(talk.say({.version_min = 1}, names), LoginStatus::unsupported_version,
                   "the initiator speaks version 1 at least; there is version 0");
}

TEST(Login, StagesThatCannotBeAreRefused) {
    for (const auto& [request, reason] : std::vector<std::pair<test::LoginRequest, const char*>>{
             {{.current = 2, .next = 3}, "a login cannot begin in stage 2"},
             {{.current = 3, .next = 3}, "a login cannot begin in stage 3"},
             {{.current = 1, .next = 1}, "stage 1 cannot follow stage 1"},
             {{.current = 1, .next = 0}, "stage 0 cannot follow stage 1"},
             {{.current = 0, .next = 2}, "stage 2 cannot follow stage 0"},
             {{.continues = true}, "a login request has both the T and the C bit"},
             {{.opcode = 0x03}, "a login request is not immediate"}}) {
        Talk talk;
        expect_refused(talk.say(request, names), LoginStatus::initiator_error, reason);
    }
    Talk back;
    ASSERT_EQ(back.say({.current = 0, .next = 1}, names).progress, Progress::goes_on);
    expect_refused(back.say({.current = 0, .next = 1}, ""), LoginStatus::initiator_error,
                   "a request of stage 0 in stage 1");
    Talk ahead;
    ASSERT_EQ(ahead.say({.current = 0, .transit = false}, names).progress, Progress::goes_on);
    expect_refused(ahead.say({}, ""), LoginStatus::initiator_error,
                   "a request of stage 1 in stage 0");
}

TEST(Login, TheConnectionStaysTheSame) {
    for (const auto& request :
         {test::LoginRequest{.tsih = 1}, test::LoginRequest{.connection_id = 2}}) {
        Talk talk;
        ASSERT_EQ(talk.say({.transit = false}, names).progress, Progress::goes_on);
        expect_refused(talk.say(request, ""), LoginStatus::initiator_error,
                       "ISID, TSIH or CID change within a login");
    }
}

TEST(Login, AdditionalSegmentsAreRefused) {
    Talk talk;
    auto header = test::encode({}, 0);
    header[4] = 1;
    EXPECT_EQ(talk.login.receive(header, {}).reason,
              "a login request has additional header segments");
}

TEST(Login, AnythingElseThanALoginEndsIt) {
    Talk first;
    const auto step = first.say({.opcode = 0x41}, "");
    EXPECT_EQ(step.progress, Progress::broken);
    EXPECT_EQ(step.reason, "opcode 0x01 instead of a login request");
    Talk within;
    ASSERT_EQ(within.say({.transit = false}, names).progress, Progress::goes_on);
    expect_refused(within.say({.opcode = 0x40}, ""), LoginStatus::invalid_request,
                   "opcode 0x00 instead of a login request");
}

TEST(Login, TheDirectoryHasTheLastWord) {
    Talk talk;
    talk.directory.answer = {.status = LoginStatus::session_does_not_exist,
                             .tsih = 0,
                             .reason = "there is no session 5"};
    const auto step = talk.say({.tsih = 5}, names);
    expect_refused(step, LoginStatus::session_does_not_exist, "there is no session 5");
    EXPECT_EQ(step.response.tsih, 5);
}

TEST(Login, WithoutCredentialsNobodyIsAskedForAny) {
    Talk both;
    EXPECT_EQ(both.say({.current = 0, .next = 3}, names + test::text_of({"AuthMethod=CHAP,None"}))
                  .progress,
              Progress::full_feature);
    EXPECT_EQ(both["AuthMethod"], "None");
    Talk insists;
    expect_refused(
        insists.say({.current = 0, .next = 1}, names + test::text_of({"AuthMethod=CHAP"})),
        LoginStatus::authentication_failure,
        "of the initiator's AuthMethod \"CHAP\" the target can do none: it wants None");
    Talk chap;
    expect_refused(chap.say({.current = 0, .next = 1}, names + test::text_of({"CHAP_A=5"})),
                   LoginStatus::authentication_failure, "CHAP keys without AuthMethod=CHAP");
}

}  // namespace
}  // namespace wnbd::iscsi
