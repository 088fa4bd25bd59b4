// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/driverless/control_protocol.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <limits>
#include <nlohmann/json.hpp>
#include <string>

namespace wnbd::client {
namespace {

using nlohmann::json;
using testing::HasSubstr;

WNBD_CONNECTION_INFO some_disk() {
    WNBD_CONNECTION_INFO disk{};
    std::strcpy(disk.Properties.InstanceName, "disk \xC3\xA9");
    std::strcpy(disk.Properties.SerialNumber, "serial");
    std::strcpy(disk.Properties.Owner, "wnbd-driverless");
    disk.Properties.Flags.ReadOnly = 1;
    disk.Properties.Flags.UseUserspaceNbd = 1;
    disk.Properties.BlockCount = std::numeric_limits<std::uint64_t>::max();
    disk.Properties.BlockSize = 4096;
    disk.Properties.MaxUnmapDescCount = 256;
    disk.Properties.Pid = 4711;
    std::strcpy(disk.Properties.NbdProperties.Hostname, "server");
    disk.Properties.NbdProperties.PortNumber = 10809;
    std::strcpy(disk.Properties.NbdProperties.ExportName, "export");
    disk.Properties.NbdProperties.Flags.SkipNegotiation = 1;
    disk.BusNumber = 1;
    disk.TargetId = 2;
    disk.Lun = 3;
    disk.DiskNumber = -1;
    disk.PNPDeviceID[0] = 'S';
    disk.PNPDeviceID[1] = 0xE9;
    return disk;
}

ControlAnswer taken_back(const ControlAnswer& answer) {
    std::string line = control_answer_line(answer);
    EXPECT_EQ(line.back(), '\n');
    line.pop_back();
    EXPECT_EQ(line.find('\n'), std::string::npos);
    const auto parsed = parse_control_answer(line);
    EXPECT_TRUE(parsed.ok()) << (parsed.ok() ? "" : parsed.error());
    return parsed.ok() ? parsed.value() : ControlAnswer{};
}

/// The answer with a disk and counters, after `change`.
std::string fault_of(void (*change)(json& answer)) {
    ControlAnswer answer;
    answer.disk = some_disk();
    answer.stats = WNBD_DRV_STATS{};
    json object = json::parse(control_answer_line(answer));
    change(object);
    const auto parsed = parse_control_answer(object.dump());
    return parsed.ok() ? "" : parsed.error();
}

TEST(ControlProtocol, EveryRequestIsOneLineThatIsReadBack) {
    for (const auto request : {ControlRequest::show, ControlRequest::stats,
                               ControlRequest::remove_soft, ControlRequest::remove_hard}) {
        std::string line = control_line(request);
        ASSERT_LE(line.size(), control_request_max);
        ASSERT_EQ(line.back(), '\n');
        line.pop_back();
        EXPECT_EQ(parse_control_line(line), request);
    }
}

TEST(ControlProtocol, NoOtherLineIsARequest) {
    for (const std::string line : {"", "show", "wnbd 1", "wnbd 2 show", "wnbd 1 show ",
                                   " wnbd 1 show", "WNBD 1 SHOW", "wnbd 1 remove", "wnbd 1 show\r"})
        EXPECT_FALSE(parse_control_line(line)) << line;
    EXPECT_FALSE(parse_control_line(std::string_view("wnbd 1 show\0", 12)));
}

TEST(ControlProtocol, EveryFieldOfADiskArrives) {
    ControlAnswer answer;
    answer.disk = some_disk();
    const auto taken = taken_back(answer);
    ASSERT_TRUE(taken.disk);
    EXPECT_EQ(std::memcmp(&*taken.disk, &*answer.disk, sizeof(WNBD_CONNECTION_INFO)), 0);
    EXPECT_FALSE(taken.stats);
}

TEST(ControlProtocol, AnExportsNameOfAnyBytesHidesNoDisk) {
    ControlAnswer answer;
    answer.disk = some_disk();
    auto& name = answer.disk->Properties.NbdProperties.ExportName;
    std::memset(name, 0xFF, sizeof(name) - 1);
    name[1] = '\t';
    name[sizeof(name) - 1] = '\0';
    const auto taken = taken_back(answer);
    ASSERT_TRUE(taken.disk);
    EXPECT_EQ(taken.disk->Properties.NbdProperties.ExportName, std::string(sizeof(name) - 1, '?'));
}

TEST(ControlProtocol, EveryCounterArrives) {
    WNBD_DRV_STATS stats{};
    stats.TotalReceivedIORequests = 1;
    stats.TotalSubmittedIORequests = 2;
    stats.TotalReceivedIOReplies = 3;
    stats.UnsubmittedIORequests = 4;
    stats.PendingSubmittedIORequests = 5;
    stats.AbortedSubmittedIORequests = 6;
    stats.AbortedUnsubmittedIORequests = 7;
    stats.CompletedAbortedIORequests = 8;
    stats.OutstandingIOCount = 9;
    stats.LastReceivedReqTimestamp = 10;
    stats.LastSubmittedReqTimestamp = 11;
    stats.LastReplyTimestamp = std::numeric_limits<std::uint64_t>::max();
    const auto taken = taken_back({.stats = stats});
    ASSERT_TRUE(taken.stats);
    EXPECT_EQ(std::memcmp(&*taken.stats, &stats, sizeof(stats)), 0);
}

TEST(ControlProtocol, AReasonStaysOneLine) {
    const auto taken =
        taken_back({.code = 170, .text = "in\r\nuse\x1b[2J" + std::string(5000, 'x')});
    EXPECT_EQ(taken.code, 170U);
    EXPECT_THAT(taken.text, HasSubstr("in  use [2J"));
    EXPECT_EQ(taken.text.size(), 1000U);
}

TEST(ControlProtocol, TextThatIsNotUtf8IsReplaced) {
    EXPECT_EQ(taken_back({.code = 1, .text = "\xFF"}).text, "\xEF\xBF\xBD");
}

TEST(ControlProtocol, WhatIsNoAnswerIsRefused) {
    for (const std::string line : {"", "{", "[]", "null", "1", "{}", R"({"Code":0})",
                                   R"({"Code":"0","Text":""})", R"({"Code":0,"Text":1})"})
        EXPECT_FALSE(parse_control_answer(line).ok()) << line;
    EXPECT_TRUE(parse_control_answer(R"({"Code":0,"Text":""})").ok());
}

TEST(ControlProtocol, NumbersMustFit) {
    EXPECT_EQ(fault_of([](json&) {}), "");
    EXPECT_NE(fault_of([](json& a) { a["Code"] = -1; }), "");
    EXPECT_NE(fault_of([](json& a) { a["Code"] = std::uint64_t{1} << 32; }), "");
    EXPECT_NE(fault_of([](json& a) { a["Disk"]["BlockSize"] = 512.5; }), "");
    EXPECT_NE(fault_of([](json& a) { a["Disk"]["BlockCount"] = -1; }), "");
    EXPECT_NE(fault_of([](json& a) { a["Disk"]["Lun"] = 65536; }), "");
    EXPECT_NE(fault_of([](json& a) { a["Disk"]["DiskNumber"] = std::int64_t{1} << 31; }), "");
    EXPECT_NE(fault_of([](json& a) {
                  a["Stats"]["OutstandingIOCount"] = std::numeric_limits<std::uint64_t>::max();
              }),
              "");
}

TEST(ControlProtocol, TextsMustFitAndBePrintable) {
    EXPECT_EQ(fault_of([](json& a) { a["Disk"]["InstanceName"] = std::string(255, 'x'); }), "");
    EXPECT_THAT(fault_of([](json& a) { a["Disk"]["InstanceName"] = std::string(256, 'x'); }),
                HasSubstr("InstanceName"));
    EXPECT_NE(fault_of([](json& a) { a["Disk"]["Owner"] = std::string(16, 'x'); }), "");
    EXPECT_NE(fault_of([](json& a) { a["Disk"]["InstanceName"] = "a\x1b[2Jb"; }), "");
    EXPECT_NE(fault_of([](json& a) { a["Disk"]["InstanceName"] = std::string("a\0b", 3); }), "");
    EXPECT_NE(fault_of([](json& a) { a["Disk"]["PNPDeviceID"] = std::string(256, 'x'); }), "");
    EXPECT_NE(fault_of([](json& a) { a["Disk"]["PNPDeviceID"] = 5; }), "");
}

TEST(ControlProtocol, MissingAndMisplacedPartsAreRefused) {
    EXPECT_THAT(fault_of([](json& a) { a["Disk"].erase("Pid"); }), HasSubstr("Pid"));
    EXPECT_THAT(fault_of([](json& a) { a["Stats"].erase("LastReplyTimestamp"); }),
                HasSubstr("LastReplyTimestamp"));
    EXPECT_NE(fault_of([](json& a) { a["Disk"] = json::array(); }), "");
    EXPECT_NE(fault_of([](json& a) { a["Stats"] = 1; }), "");
}

TEST(ControlProtocol, EndlessAndBottomlessAnswersAreRefused) {
    EXPECT_FALSE(
        parse_control_answer(R"({"Code":0,"Text":")" + std::string(control_answer_max, ' ') + "\"}")
            .ok());
    const std::string deep(control_answer_max - 1, '[');
    EXPECT_FALSE(parse_control_answer(deep).ok());
}

}  // namespace
}  // namespace wnbd::client
