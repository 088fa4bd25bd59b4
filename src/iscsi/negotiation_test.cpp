// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/negotiation.h"

#include <gtest/gtest.h>

#include "iscsi/test_login.h"

namespace wnbd::iscsi {
namespace {

using test::Talk;
using Pairs = std::initializer_list<std::string_view>;

/// The answer to one key in the operational stage of a normal login.
std::string answer_to(std::string_view key, std::string_view value) {
    Talk talk;
    const auto pair = std::string(key) + "=" + std::string(value);
    const auto step = talk.enter({pair});
    EXPECT_EQ(step.progress, Login::Progress::full_feature) << step.reason;
    return talk[std::string(key)];
}

Login::Step refused(Talk& talk, Pairs pairs) {
    const auto step = talk.enter(pairs);
    EXPECT_EQ(step.progress, Login::Progress::refused);
    EXPECT_TRUE(step.text.empty());
    EXPECT_FALSE(step.response.transit);
    EXPECT_FALSE(step.reason.empty());
    return step;
}

TEST(Negotiation, DefaultsHoldForWhatIsNotOffered) {
    Talk talk;
    ASSERT_EQ(talk.enter({}).progress, Login::Progress::full_feature);
    const auto& parameters = talk.login.parameters();
    EXPECT_FALSE(parameters.discovery);
    EXPECT_FALSE(parameters.header_digest);
    EXPECT_FALSE(parameters.data_digest);
    EXPECT_TRUE(parameters.initial_r2t);
    EXPECT_TRUE(parameters.immediate_data);
    EXPECT_EQ(parameters.max_send_segment, 8192U);
    EXPECT_EQ(parameters.max_receive_segment, 256U << 10);
    EXPECT_EQ(parameters.max_burst, 262144U);
    EXPECT_EQ(parameters.first_burst, 65536U);
    EXPECT_EQ(parameters.max_outstanding_r2t, 1U);
    // And what the target has to say, it says unasked.
    EXPECT_EQ(talk["MaxRecvDataSegmentLength"], "262144");
    EXPECT_EQ(talk["TargetPortalGroupTag"], "1");
    EXPECT_EQ(talk.answer.size(), 2U);
}

TEST(Negotiation, WhatIsAgreedUponHolds) {
    Talk talk;
    ASSERT_EQ(
        talk.enter({"HeaderDigest=CRC32C,None", "DataDigest=None,CRC32C", "InitialR2T=No",
                    "ImmediateData=No", "MaxRecvDataSegmentLength=65536", "MaxBurstLength=16776192",
                    "FirstBurstLength=131072", "MaxOutstandingR2T=3", "InitiatorAlias=me"})
            .progress,
        Login::Progress::full_feature);
    const auto& parameters = talk.login.parameters();
    EXPECT_TRUE(parameters.header_digest);
    EXPECT_FALSE(parameters.data_digest);
    EXPECT_FALSE(parameters.initial_r2t);
    EXPECT_FALSE(parameters.immediate_data);
    EXPECT_EQ(parameters.max_send_segment, 65536U);
    EXPECT_EQ(parameters.max_burst, 1U << 20);
    EXPECT_EQ(parameters.first_burst, 131072U);
    EXPECT_EQ(parameters.max_outstanding_r2t, 3U);
    EXPECT_EQ(parameters.initiator_alias, "me");
    EXPECT_EQ(parameters.initiator_name, test::initiator_name);
    EXPECT_EQ(parameters.target_name, test::target_name);
    EXPECT_EQ(talk["HeaderDigest"], "CRC32C");
    EXPECT_EQ(talk["DataDigest"], "None");
    EXPECT_EQ(talk["MaxBurstLength"], "1048576");
    EXPECT_EQ(talk["InitiatorAlias"], "(none)");
}

TEST(Negotiation, MinimaAndMaxima) {
    EXPECT_EQ(answer_to("MaxConnections", "8"), "1");
    EXPECT_EQ(answer_to("MaxBurstLength", "0x1000"), "4096");
    EXPECT_EQ(answer_to("FirstBurstLength", "16777215"), "262144");
    EXPECT_EQ(answer_to("MaxOutstandingR2T", "65535"), "8");
    EXPECT_EQ(answer_to("DefaultTime2Wait", "5"), "5");
    EXPECT_EQ(answer_to("DefaultTime2Wait", "0"), "0");
    EXPECT_EQ(answer_to("DefaultTime2Retain", "20"), "0");
    EXPECT_EQ(answer_to("ErrorRecoveryLevel", "2"), "0");
    EXPECT_EQ(answer_to("iSCSIProtocolLevel", "2"), "1");
    EXPECT_EQ(answer_to("iSCSIProtocolLevel", "0"), "0");
}

TEST(Negotiation, NumbersOutOfTheirRangeAreRejected) {
    const std::pair<const char*, std::vector<const char*>> ranges[] = {
        {"MaxConnections", {"0", "65536"}},
        {"MaxBurstLength", {"511", "16777216", "-1", "x", ""}},
        {"FirstBurstLength", {"511", "16777216"}},
        {"MaxRecvDataSegmentLength", {"511", "16777216", "0", "99999999999999999999"}},
        {"MaxOutstandingR2T", {"0", "65536"}},
        {"DefaultTime2Wait", {"3601"}},
        {"DefaultTime2Retain", {"3601"}},
        {"ErrorRecoveryLevel", {"3"}},
        {"iSCSIProtocolLevel", {"32"}}};
    for (const auto& [key, values] : ranges) {
        for (const auto* const value : values)
            EXPECT_EQ(answer_to(key, value), "Reject") << key << "=" << value;
    }
}

TEST(Negotiation, ARejectedOfferLeavesTheDefault) {
    Talk talk;
    ASSERT_EQ(talk.enter({"MaxBurstLength=1", "InitialR2T=Maybe", "MaxRecvDataSegmentLength=1",
                          "HeaderDigest=MD5"})
                  .progress,
              Login::Progress::full_feature);
    EXPECT_EQ(talk.login.parameters().max_burst, 262144U);
    EXPECT_TRUE(talk.login.parameters().initial_r2t);
    EXPECT_EQ(talk.login.parameters().max_send_segment, 8192U);
    EXPECT_FALSE(talk.login.parameters().header_digest);
    EXPECT_EQ(talk["InitialR2T"], "Reject");
    EXPECT_EQ(talk["HeaderDigest"], "Reject");
}

TEST(Negotiation, OrAndAnd) {
    EXPECT_EQ(answer_to("InitialR2T", "No"), "No");
    EXPECT_EQ(answer_to("InitialR2T", "Yes"), "Yes");
    EXPECT_EQ(answer_to("ImmediateData", "No"), "No");
    EXPECT_EQ(answer_to("ImmediateData", "Yes"), "Yes");
    EXPECT_EQ(answer_to("DataPDUInOrder", "No"), "Yes");
    EXPECT_EQ(answer_to("DataSequenceInOrder", "No"), "Yes");
}

TEST(Negotiation, OfAListTheInitiatorsFirstThatWeKnow) {
    EXPECT_EQ(answer_to("HeaderDigest", "None,CRC32C"), "None");
    EXPECT_EQ(answer_to("DataDigest", "SHA9,CRC32C,None"), "CRC32C");
    EXPECT_EQ(answer_to("DataDigest", "crc32c"), "Reject");
    EXPECT_EQ(answer_to("TaskReporting", "FastAbort,ResponseFence,RFC3720"), "RFC3720");
    EXPECT_EQ(answer_to("TaskReporting", "FastAbort"), "Reject");
}

TEST(Negotiation, ObsoleteAndUnknownKeys) {
    EXPECT_EQ(answer_to("IFMarker", "Yes"), "No");
    EXPECT_EQ(answer_to("OFMarker", "No"), "No");
    EXPECT_EQ(answer_to("IFMarkInt", "2048~8192"), "Reject");
    EXPECT_EQ(answer_to("OFMarkInt", "2048"), "Reject");
    EXPECT_EQ(answer_to("X-org.example.Speed", "fast"), "NotUnderstood");
    EXPECT_EQ(answer_to("RDMAExtensions", "Yes"), "NotUnderstood");
    EXPECT_EQ(answer_to("X-org.example.Speed", "NotUnderstood"), "(none)");
    EXPECT_EQ(answer_to("X#NodeArchitecture", "Linux"), "(none)");
}

TEST(Negotiation, OnlyATargetDeclaresItsAddress) {
    EXPECT_EQ(answer_to("TargetAddress", "192.0.2.1"), "Reject");
    EXPECT_EQ(answer_to("TargetAlias", "mine"), "Reject");
    EXPECT_EQ(answer_to("TargetAlias", "NotUnderstood"), "(none)");
}

TEST(Negotiation, FirstBurstFollowsTheKeysItDependsOn) {
    Talk irrelevant;
    irrelevant.enter({"FirstBurstLength=4096", "ImmediateData=No", "InitialR2T=Yes"});
    EXPECT_EQ(irrelevant["FirstBurstLength"], "Irrelevant");

    Talk relevant;
    relevant.enter({"FirstBurstLength=4096", "ImmediateData=No", "InitialR2T=No"});
    EXPECT_EQ(relevant["FirstBurstLength"], "4096");

    // Never more than a burst, in whichever order they come.
    Talk bounded;
    bounded.enter({"FirstBurstLength=65536", "MaxBurstLength=1024"});
    EXPECT_EQ(bounded["FirstBurstLength"], "1024");
    EXPECT_EQ(bounded.login.parameters().first_burst, 1024U);

    Talk by_default;
    by_default.enter({"MaxBurstLength=1024"});
    EXPECT_EQ(by_default.login.parameters().first_burst, 1024U);
}

TEST(Negotiation, ALaterBurstBelowTheFirstIsAContradiction) {
    Talk talk;
    auto text =
        test::text_of({"InitiatorName=iqn.2026-11.org.example:initiator",
                       "TargetName=iqn.2026-11.org.example:disk", "FirstBurstLength=65536"});
    ASSERT_EQ(talk.say({.transit = false}, text).progress, Login::Progress::goes_on);
    const auto step = talk.say({}, {"MaxBurstLength=1024"});
    EXPECT_EQ(step.progress, Login::Progress::refused);
    EXPECT_EQ(step.response.status, LoginStatus::initiator_error);
    EXPECT_EQ(step.reason, "MaxBurstLength is less than the FirstBurstLength agreed upon");
}

TEST(Negotiation, NoKeyComesTwice) {
    for (const auto* const pair : {"MaxBurstLength=4096", "HeaderDigest=None", "ImmediateData=Yes",
                                   "IFMarker=No", "SessionType=Normal", "InitiatorAlias=x"}) {
        Talk talk;
        const auto step = refused(talk, {pair, pair});
        EXPECT_EQ(step.response.status, LoginStatus::initiator_error);
        EXPECT_TRUE(step.reason.ends_with(" comes twice")) << step.reason;
    }
    Talk later;
    auto text = test::text_of({"InitiatorName=iqn.2026-11.org.example:initiator",
                               "TargetName=iqn.2026-11.org.example:disk", "MaxBurstLength=4096"});
    ASSERT_EQ(later.say({.transit = false}, text).progress, Login::Progress::goes_on);
    EXPECT_EQ(later.say({}, {"MaxBurstLength=4096"}).reason, "MaxBurstLength comes twice");
}

TEST(Negotiation, KeysBelongInTheirStage) {
    Talk operational;
    EXPECT_EQ(refused(operational, {"AuthMethod=None"}).reason,
              "AuthMethod does not belong in the operational stage");
    Talk full_feature;
    EXPECT_EQ(refused(full_feature, {"SendTargets=All"}).reason,
              "SendTargets does not belong in the operational stage");
    Talk security;
    const auto step = security.say({.current = 0, .next = 1},
                                   {"InitiatorName=iqn.2026-11.org.example:initiator",
                                    "TargetName=iqn.2026-11.org.example:disk", "InitialR2T=No"});
    EXPECT_EQ(step.progress, Login::Progress::refused);
    EXPECT_EQ(step.response.status, LoginStatus::initiator_error);
    EXPECT_EQ(step.reason, "InitialR2T does not belong in the security stage");
}

TEST(Negotiation, WhatIsOnlyForDisksIsIrrelevantInADiscovery) {
    Talk talk;
    const auto step =
        talk.say({}, {"InitiatorName=iqn.2026-11.org.example:initiator", "SessionType=Discovery",
                      "MaxConnections=1", "InitialR2T=No", "ImmediateData=Yes", "MaxBurstLength=1",
                      "FirstBurstLength=512", "MaxOutstandingR2T=1", "DataPDUInOrder=Yes",
                      "DataSequenceInOrder=Yes", "ErrorRecoveryLevel=0", "TaskReporting=RFC3720",
                      "iSCSIProtocolLevel=1", "HeaderDigest=None", "DefaultTime2Wait=2"});
    ASSERT_EQ(step.progress, Login::Progress::full_feature);
    for (const auto* const key :
         {"MaxConnections", "InitialR2T", "ImmediateData", "MaxBurstLength", "FirstBurstLength",
          "MaxOutstandingR2T", "DataPDUInOrder", "DataSequenceInOrder", "ErrorRecoveryLevel",
          "TaskReporting", "iSCSIProtocolLevel"})
        EXPECT_EQ(talk[key], "Irrelevant") << key;
    EXPECT_EQ(talk["HeaderDigest"], "None");
    EXPECT_EQ(talk["DefaultTime2Wait"], "2");
    EXPECT_EQ(talk["TargetPortalGroupTag"], "(none)");
    EXPECT_TRUE(talk.login.parameters().initial_r2t);
}

TEST(Negotiation, TheTargetsAliasIsToldOnce) {
    auto settings = test::settings();
    settings.alias = "The disk";
    Talk talk(settings);
    auto text = test::text_of({"InitiatorName=iqn.2026-11.org.example:initiator",
                               "TargetName=iqn.2026-11.org.example:disk"});
    talk.say({.current = 0, .next = 1}, text);
    EXPECT_EQ(talk["TargetAlias"], "The disk");
    EXPECT_EQ(talk["TargetPortalGroupTag"], "1");
    EXPECT_EQ(talk["MaxRecvDataSegmentLength"], "(none)");  // an operational key
    talk.say({}, "");
    EXPECT_EQ(talk["TargetAlias"], "(none)");
    EXPECT_EQ(talk["MaxRecvDataSegmentLength"], "262144");
}

}  // namespace
}  // namespace wnbd::iscsi
