// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/driverless/driverless_plan.h"

#include <gtest/gtest.h>

#include <cstring>
#include <set>

#include "nbd/uri.h"

namespace wnbd::client {
namespace {

constexpr DriverlessRandom some_random{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 62, 255};

MapPlan a_plan() {
    MapPlan plan;
    std::strcpy(plan.properties.InstanceName, "disk");
    std::strcpy(plan.properties.SerialNumber, "serial");
    plan.properties.BlockSize = 512;
    plan.backend_uri = "memory:65536";
    plan.driverless = true;
    return plan;
}

TEST(DriverlessPlan, ServesWhatMapWasAskedFor) {
    MapPlan plan = a_plan();
    plan.properties.Flags.ReadOnly = 1;
    WnbdSetPhysicalBlockExponent(&plan.properties, 3);
    const ServePlan served = driverless_plan(plan, 4711, some_random);
    ASSERT_EQ(served.units.size(), 1U);
    EXPECT_EQ(served.units[0].backend, "memory:65536");
    EXPECT_EQ(served.units[0].settings.block_size, 512U);
    EXPECT_EQ(served.units[0].settings.physical_block_size, 4096U);
    EXPECT_TRUE(served.units[0].settings.read_only);
    EXPECT_EQ(served.units[0].settings.serial, "serial");
}

TEST(DriverlessPlan, ListensOnTheLoopbackAlone) {
    const ServePlan served = driverless_plan(a_plan(), 1, some_random);
    ASSERT_EQ(served.listen.size(), 1U);
    EXPECT_EQ(served.listen[0].host, "127.0.0.1");
    EXPECT_EQ(served.listen[0].port, 0);
    EXPECT_FALSE(served.allow_anyone);
}

TEST(DriverlessPlan, TheTargetsNameIsANameAndTellsItsProcess) {
    const ServePlan served = driverless_plan(a_plan(), 4294967295U, some_random);
    const auto checked = target_name(served.target_name);
    ASSERT_TRUE(checked.ok());
    EXPECT_EQ(checked.value(), served.target_name);
    EXPECT_EQ(driverless_process(served.target_name), 4294967295U);
    DriverlessRandom other = some_random;
    other[15] = 0;
    EXPECT_NE(driverless_plan(a_plan(), 4294967295U, other).target_name, served.target_name);
}

TEST(DriverlessPlan, OtherTargetsTellNoProcess) {
    const std::string ours = std::string(target_prefix) + "driverless-";
    for (const std::string& name :
         {std::string(), std::string("iqn.2026-11.com.example:driverless-1-2"),
          std::string(target_prefix) + "disk", ours, ours + "1", ours + "x-2", ours + "-2",
          ours + "4294967296-2"})
        EXPECT_FALSE(driverless_process(name)) << name;
}

TEST(DriverlessPlan, ASecretHasSixteenPlainCharacters) {
    EXPECT_EQ(chap_secret_text(some_random), "ABCDEFGHIJKLMN-_");
    std::set<char> seen;
    for (unsigned byte = 0; byte < 256; ++byte) {
        DriverlessRandom random{};
        random[0] = static_cast<std::uint8_t>(byte);
        seen.insert(chap_secret_text(random)[0]);
    }
    EXPECT_EQ(seen.size(), 64U);
}

TEST(DriverlessPlan, AnNbdServerBecomesAUriThatIsReadBack) {
    MapPlan plan = a_plan();
    plan.backend_uri.clear();
    NBD_CONNECTION_PROPERTIES& nbd = plan.properties.NbdProperties;
    nbd.PortNumber = 10810;
    for (const char* const host : {"server", "192.0.2.1", "2001:db8::1"}) {
        for (const char* const name : {"", "disk", "a b/c%?#&\xC3\xA9\x01"}) {
            std::strcpy(nbd.Hostname, host);
            std::strcpy(nbd.ExportName, name);
            const ServePlan served = driverless_plan(plan, 1, some_random);
            const auto read = nbd::parse_uri(served.units[0].backend);
            ASSERT_TRUE(read.ok()) << served.units[0].backend;
            EXPECT_EQ(read.value().addresses[0].host, host);
            EXPECT_EQ(read.value().addresses[0].port, 10810);
            EXPECT_EQ(read.value().addresses[0].export_name, name);
        }
    }
}

}  // namespace
}  // namespace wnbd::client
