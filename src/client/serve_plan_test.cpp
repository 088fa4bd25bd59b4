// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/serve_plan.h"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace wnbd::client {
namespace {

using Words = std::vector<std::string>;

Result<ServePlan, std::string> plan(const Words& words) {
    const auto parsed = parse_arguments(*find_command("serve"), words);
    if (!parsed) return Failure{"not parsed: " + parsed.error().text};
    return plan_serve(parsed.value());
}

std::string complaint(const Words& words) {
    const auto planned = plan(words);
    return planned ? "planned" : planned.error();
}

TEST(ServePlan, ABackendIsEnough) {
    auto planned = plan({"disk0", "nbd://server:10810/vol1"});
    ASSERT_TRUE(planned.ok()) << planned.error();
    const ServePlan& serve = planned.value();
    EXPECT_EQ(serve.target_name, "iqn.2026-11.internal.wnbd:disk0");
    ASSERT_EQ(serve.units.size(), 1U);
    EXPECT_EQ(serve.units[0].backend, "nbd://server:10810/vol1");
    EXPECT_EQ(serve.units[0].settings.block_size, 512U);
    EXPECT_EQ(serve.units[0].settings.physical_block_size, 512U);
    EXPECT_FALSE(serve.units[0].settings.read_only);
    EXPECT_EQ(serve.units[0].settings.serial, "disk0");
    EXPECT_EQ(serve.units[0].settings.naa, "");
    ASSERT_EQ(serve.listen.size(), 1U);
    EXPECT_EQ(serve.listen[0].host, "127.0.0.1");
    EXPECT_EQ(serve.listen[0].port, 3260);
    EXPECT_FALSE(serve.allow_anyone);
    EXPECT_FALSE(serve.initiator.has_value());
    EXPECT_FALSE(serve.self.has_value());
}

TEST(ServePlan, EveryOptionArrives) {
    auto planned = plan({"iqn.2020-01.org.example:Big.Disk",
                         "--file",
                         "a?b.img",
                         "--size",
                         "8192",
                         "--block-size",
                         "4096",
                         "--physical-block-size=8192",
                         "--read-only",
                         "--serial",
                         "S 1",
                         "--naa",
                         "0x5000C500DEADBEEF",
                         "--listen",
                         "[::1]:0",
                         "--listen",
                         "0.0.0.0",
                         "--allow-anyone",
                         "--chap-user",
                         "me",
                         "--chap-secret-file",
                         "f",
                         "--mutual-user",
                         "you"});
    ASSERT_TRUE(planned.ok()) << planned.error();
    const ServePlan& serve = planned.value();
    EXPECT_EQ(serve.target_name, "iqn.2020-01.org.example:big.disk");
    ASSERT_EQ(serve.units.size(), 1U);
    EXPECT_EQ(serve.units[0].backend, "file:a?b.img?readonly=1&size=8192");
    const iscsi::UnitSettings& unit = serve.units[0].settings;
    EXPECT_EQ(unit.block_size, 4096U);
    EXPECT_EQ(unit.physical_block_size, 8192U);
    EXPECT_TRUE(unit.read_only);
    EXPECT_EQ(unit.serial, "S 1");
    EXPECT_EQ(unit.naa, std::string("\x50\x00\xC5\x00\xDE\xAD\xBE\xEF", 8));
    ASSERT_EQ(serve.listen.size(), 2U);
    EXPECT_EQ(serve.listen[0].host, "::1");
    EXPECT_EQ(serve.listen[0].port, 0);
    EXPECT_EQ(serve.listen[1].host, "0.0.0.0");
    EXPECT_EQ(serve.listen[1].port, 3260);
    EXPECT_TRUE(serve.allow_anyone);
    EXPECT_EQ(serve.initiator->user, "me");
    EXPECT_EQ(serve.initiator->secret_file, "f");
    EXPECT_EQ(serve.self->user, "you");
    EXPECT_EQ(serve.self->secret_file, "");
}

TEST(ServePlan, UnitsAreNumberedInTheirOrder) {
    auto planned = plan({"t", "--lun", "memory:1M", "--memory", "2M", "--lun", "file:x"});
    ASSERT_TRUE(planned.ok()) << planned.error();
    const auto& units = planned.value().units;
    ASSERT_EQ(units.size(), 3U);
    EXPECT_EQ(units[0].backend, "memory:2097152");
    EXPECT_EQ(units[1].backend, "memory:1M");
    EXPECT_EQ(units[2].backend, "file:x");
    EXPECT_EQ(units[0].settings.serial, "t");
    EXPECT_EQ(units[1].settings.serial, "t-1");
    EXPECT_EQ(units[2].settings.serial, "t-2");

    auto one = plan({"t", "--lun=memory:1M"});
    ASSERT_TRUE(one.ok()) << one.error();
    EXPECT_EQ(one.value().units.size(), 1U);
}

TEST(ServePlan, OptionsAboutTheServerBecomeParametersOfItsUri) {
    auto planned = plan({"t", "nbd://s/e", "--connections=2", "--tls=require", "--host=b:1"});
    ASSERT_TRUE(planned.ok()) << planned.error();
    EXPECT_EQ(planned.value().units[0].backend, "nbd://s/e?host=b:1&connections=2&tls=require");
}

TEST(ServePlan, WhatMakesNoSenseIsRefusedInOneLine) {
    const std::vector<std::pair<Words, std::string>> table{
        {{"t"}, "Nothing to serve: give an NBD URI, --file, --memory or --lun."},
        {{"", "--memory=1M"}, "Missing target name."},
        {{"my_disk", "--memory=1M"},
         "Invalid target name 'my_disk': it may have letters, digits, '-', '.' and ':'."},
        {{std::string(198, 'n'), "--memory=1M"},
         "The target name is too long: as a whole it would have 224 bytes, at most 223 are "
         "allowed."},
        {{"t", "nbd://s/", "--memory=1M"}, "--memory cannot be combined with a backend."},
        {{"t", "--file=f", "--memory=1M"}, "--memory cannot be combined with --file."},
        {{"t", "--file=f", "nbd://s/"}, "--file cannot be combined with a backend."},
        {{"t", "--size=1M", "nbd://s/"}, "--size needs --file."},
        {{"t", "--memory=1M", "--connections=2"},
         "--memory cannot be combined with --connections."},
        {{"t", "--file=f", "--host=a"}, "--file cannot be combined with --host."},
        {{"t", "memory:1M", "--keep-alive=1"}, "--keep-alive needs an NBD URI."},
        {{"t", "--lun=nbd://s/", "--keep-alive=1"}, "--keep-alive needs an NBD URI."},
        {{"t", "nbd://s/", "--keep-alive=x"},
         "Invalid --keep-alive: 'x' is not a number of seconds."},
        {{"t", "--memory=1000"},
         "Invalid --memory: 1000 is not a multiple of the block size, 512."},
        {{"t", "--file=f", "--size=0"}, "Invalid --size: 0. A disk has at least one block."},
        {{"t", "--memory=1M", "--block-size=1024"},
         "Invalid --block-size: 1024. It must be 512 or 4096."},
        {{"t", "--memory=1M", "--physical-block-size=1000"},
         "Invalid --physical-block-size: 1000. It must be the block size times a power of two, at "
         "most 65536."},
        {{"t", "--memory=1M", "--serial=a\nb"},
         "Invalid --serial: it has at most 251 printable ASCII characters."},
        {{"t", "--memory=1M", "--lun=memory:1M", "--naa=5000c500deadbeef"},
         "--naa can be given with one unit only."},
        {{"t", "--memory=1M", "--listen=:3260"},
         "Invalid --listen: ':3260'. It is HOST, HOST:PORT or [ADDRESS]:PORT, with a port up to "
         "65535."},
        {{"t", "--memory=1M", "--chap-secret-file=f"}, "--chap-secret-file needs --chap-user."},
        {{"t", "--memory=1M", "--mutual-user=u"}, "--mutual-user needs --chap-user."},
        {{"t", "--memory=1M", "--chap-user="},
         "not parsed: the argument for option '--chap-user' should follow immediately after the "
         "equal sign"},
        {{"t", "--memory=1M", "--chap-user", ""},
         "Invalid --chap-user: it has 1 to 255 bytes, none of them a control character."},
        {{"t", "--memory=1M", "--memory=2M"},
         "not parsed: option '--memory' cannot be specified more than once"},
    };
    for (const auto& [words, line] : table)
        EXPECT_EQ(complaint(words), line);
}

TEST(ServePlan, PlacesToListenAt) {
    const std::vector<std::pair<std::string, std::pair<std::string, int>>> table{
        {"localhost", {"localhost", 3260}},
        {"10.0.0.1:1", {"10.0.0.1", 1}},
        {"::1", {"::1", 3260}},
        {"[::1]", {"::1", 3260}},
        {"[fe80::1]:65535", {"fe80::1", 65535}},
    };
    for (const auto& [text, place] : table) {
        auto parsed = parse_listen_place(text);
        ASSERT_TRUE(parsed.ok()) << text;
        EXPECT_EQ(parsed.value().host, place.first);
        EXPECT_EQ(parsed.value().port, place.second);
    }
    for (const char* text : {"", ":", "h:", "h:x", "h:65536", "[::1", "[::1]x", "[]:1", "h:-1"})
        EXPECT_FALSE(parse_listen_place(text).ok()) << text;
}

TEST(ServePlan, NaaIdentifiersHaveATypeAndALength) {
    EXPECT_EQ(parse_naa("5000c500deadbeef").value().size(), 8U);
    EXPECT_EQ(parse_naa("60014050000000000000000000000001").value().size(), 16U);
    for (const char* text :
         {"", "5", "5000c500deadbee", "5000c500deadbeeg", "9000c500deadbeef", "6000c500deadbeef",
          "50014050000000000000000000000001", "0x", "5000c500deadbeef00"})
        EXPECT_FALSE(parse_naa(text).ok()) << text;
}

TEST(ServePlan, WholeNamesAreTakenAsTheyAre) {
    EXPECT_EQ(target_name("IQN.2001-04.com.example").value(), "iqn.2001-04.com.example");
    EXPECT_EQ(target_name("eui.02004567A425678D").value(), "eui.02004567a425678d");
    EXPECT_EQ(target_name("Disk.1").value(), "iqn.2026-11.internal.wnbd:disk.1");
    for (const char* text : {"", "a b", "p\xC3\xABt", "a_b", "a\n"})
        EXPECT_FALSE(target_name(text).ok()) << text;
}

}  // namespace
}  // namespace wnbd::client
