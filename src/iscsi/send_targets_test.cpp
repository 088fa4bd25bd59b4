// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/send_targets.h"

#include <gtest/gtest.h>

#include "iscsi/test_login.h"

namespace wnbd::iscsi {
namespace {

using test::text_of;

const std::vector<std::string> addresses{"192.0.2.1:3260,1", "[2001:db8::1]:3260,1"};
const auto whole_list =
    text_of({"TargetName=iqn.2026-11.org.example:disk", "TargetAddress=192.0.2.1:3260,1",
             "TargetAddress=[2001:db8::1]:3260,1"});

std::string answer(std::initializer_list<std::string_view> pairs, bool discovery) {
    Parameters parameters;
    parameters.discovery = discovery;
    const auto result = answer_text(text_of(pairs), test::settings(), addresses, parameters);
    return result ? result.value() : "fault: " + result.error();
}

TEST(SendTargets, AllIsForDiscoveryAlone) {
    EXPECT_EQ(answer({"SendTargets=All"}, true), whole_list);
    EXPECT_EQ(answer({"SendTargets=All"}, false), text_of({"SendTargets=Reject"}));
}

TEST(SendTargets, NothingMeansTheSessionsOwn) {
    EXPECT_EQ(answer({"SendTargets="}, false), whole_list);
    EXPECT_EQ(answer({"SendTargets="}, true), text_of({"SendTargets=Reject"}));
}

TEST(SendTargets, ANameMeansThatTarget) {
    EXPECT_EQ(answer({"SendTargets=iqn.2026-11.org.example:disk"}, true), whole_list);
    EXPECT_EQ(answer({"SendTargets=iqn.2026-11.org.example:disk"}, false), whole_list);
    EXPECT_EQ(answer({"SendTargets=iqn.2026-11.org.example:other"}, true), "");
}

TEST(SendTargets, AddressesAreWrittenAsTheStandardDoes) {
    EXPECT_EQ(target_address("127.0.0.1", 3260), "127.0.0.1:3260,1");
    EXPECT_EQ(target_address("::1", 3261), "[::1]:3261,1");
    EXPECT_EQ(target_address("fe80::1%eth0", 3260), "[fe80::1]:3260,1");
}

TEST(SendTargets, ASessionMayChangeItsSegmentLengthAndAlias) {
    Parameters parameters;
    const auto result =
        answer_text(text_of({"MaxRecvDataSegmentLength=4096", "InitiatorAlias=new"}),
                    test::settings(), addresses, parameters);
    ASSERT_TRUE(result);
    EXPECT_EQ(result.value(), "");
    EXPECT_EQ(parameters.max_send_segment, 4096U);
    EXPECT_EQ(parameters.initiator_alias, "new");
}

TEST(SendTargets, AndNothingElse) {
    EXPECT_EQ(answer({"MaxBurstLength=4096", "X-a=1"}, false),
              text_of({"MaxBurstLength=Reject", "X-a=NotUnderstood"}));
    EXPECT_EQ(answer({"HeaderDigest=CRC32C", "AuthMethod=None", "TargetName=x"}, true),
              text_of({"HeaderDigest=Reject", "AuthMethod=Reject", "TargetName=Reject"}));
}

TEST(SendTargets, FaultsAreNamed) {
    EXPECT_EQ(answer({"SendTargets=", "SendTargets="}, false), "fault: SendTargets comes twice");
    EXPECT_EQ(answer({"SendTargets"}, false), "fault: text without '=': \"SendTargets\"");
}

TEST(SendTargets, AnAnswerFitsOnePdu) {
    Parameters parameters;
    const std::vector<std::string> many(400, "192.0.2.1:3260,1");
    const auto result = answer_text(text_of({"SendTargets="}), test::settings(), many, parameters);
    ASSERT_FALSE(result);
    EXPECT_EQ(result.error(), "more keys than one answer has room for");
}

}  // namespace
}  // namespace wnbd::iscsi
