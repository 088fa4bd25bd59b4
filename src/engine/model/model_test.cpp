// SPDX-License-Identifier: LGPL-2.1-or-later
// Every order of a few requests' steps with everything that can end them, on the real Disk.
#include <gtest/gtest.h>

#include <iostream>

#include "engine/model/explore.h"

namespace wnbd::engine::model {
namespace {

const Scenario::Command read{read_cdb(8, 1), block_size};
const Scenario::Command write{write_cdb(16, 1), block_size};
/// Two steps: the disk has a cache and no FUA, so a flush follows the write.
const Scenario::Command write_through{write_cdb(24, 1, true), block_size};
/// Two steps, and no other request meanwhile.
const Scenario::Command compare_and_write{compare_and_write_cdb(32, 1),
                                          std::size_t{2} * block_size};

void explore_all(const Scenario& scenario) {
    const Explored explored = explore(scenario);
    EXPECT_GT(explored.ends, 0u);
    std::cout << "explored " << explored.schedules << " schedules through " << explored.states
              << " states\n";
}

TEST(ModelTest, ThreeRequestsAndTwoFetchers) {
    Scenario scenario;
    scenario.commands = {read, read, write};
    scenario.fetchers = 2;
    explore_all(scenario);
}

TEST(ModelTest, ThreeRequestsMeetALunResetAndAnAbort) {
    Scenario scenario;
    scenario.commands = {read, read, write};
    scenario.fetchers = 2;
    scenario.lun_resets = 1;
    scenario.aborts = 1;
    scenario.stray_replies = 1;
    explore_all(scenario);
}

TEST(ModelTest, ThreeRequestsMeetABusResetAndARemoval) {
    Scenario scenario;
    scenario.commands = {read, read, read};
    scenario.fetchers = 2;
    scenario.bus_resets = 1;
    scenario.removal = true;
    scenario.owner_dies = true;
    explore_all(scenario);
}

TEST(ModelTest, ThreeRequestsMeetEverythingThatEndsThem) {
    Scenario scenario;
    scenario.commands = {read, read, read};
    scenario.fetchers = 1;
    scenario.lun_resets = 1;
    scenario.aborts = 1;
    scenario.bus_resets = 1;
    scenario.removal = true;
    scenario.owner_dies = true;
    explore_all(scenario);
}

TEST(ModelTest, TwoRequestsMeetEveryFaultOfTheirServer) {
    Scenario scenario;
    scenario.commands = {read, write};
    scenario.fetchers = 2;
    scenario.lun_resets = 1;
    scenario.alerts = 1;
    scenario.returns = 1;
    scenario.rejections = 1;
    scenario.bad_replies = 1;
    scenario.error_replies = 1;
    scenario.misfits = 1;
    explore_all(scenario);
}

TEST(ModelTest, TwoRequestsMeetEveryFaultAndEverythingThatEndsThem) {
    Scenario scenario;
    scenario.commands = {read, write};
    scenario.fetchers = 1;
    scenario.lun_resets = 1;
    scenario.aborts = 1;
    scenario.bus_resets = 1;
    scenario.removal = true;
    scenario.returns = 1;
    scenario.error_replies = 1;
    scenario.stray_replies = 1;
    explore_all(scenario);
}

TEST(ModelTest, AnAtomicRequestAmongOthers) {
    Scenario scenario;
    scenario.commands = {read, compare_and_write, write};
    scenario.fetchers = 2;
    scenario.alerts = 1;
    explore_all(scenario);
}

TEST(ModelTest, AnAtomicRequestAmongOthersMeetsResets) {
    Scenario scenario;
    scenario.commands = {compare_and_write, compare_and_write, read};
    scenario.fetchers = 2;
    scenario.lun_resets = 1;
    scenario.aborts = 1;
    scenario.returns = 1;
    explore_all(scenario);
}

TEST(ModelTest, RequestsOfSeveralStepsMeetARemovalAndResets) {
    Scenario scenario;
    scenario.commands = {write_through, compare_and_write};
    scenario.fetchers = 2;
    scenario.lun_resets = 1;
    scenario.bus_resets = 1;
    scenario.removal = true;
    scenario.alerts = 1;
    scenario.error_replies = 1;
    explore_all(scenario);
}

TEST(ModelTest, AServerInTheProcessMeetsEverythingThatEndsRequests) {
    Scenario scenario;
    scenario.commands = {read, write_through, write};
    scenario.fetchers = 0;
    scenario.in_process = true;
    scenario.lun_resets = 1;
    scenario.aborts = 1;
    scenario.removal = true;
    scenario.error_replies = 1;
    explore_all(scenario);
}

TEST(ModelTest, AServerInTheProcessRunsAtomicRequestsAlone) {
    Scenario scenario;
    scenario.commands = {compare_and_write, compare_and_write, read};
    scenario.fetchers = 0;
    scenario.in_process = true;
    scenario.lun_resets = 1;
    scenario.aborts = 1;
    scenario.error_replies = 1;
    explore_all(scenario);
}

TEST(ModelTest, AServerInTheProcessWithASmallTableLosesNothing) {
    Scenario scenario;
    scenario.commands = {read, compare_and_write, write_through};
    scenario.capacity = 2;
    scenario.fetchers = 0;
    scenario.in_process = true;
    scenario.bus_resets = 1;
    scenario.bad_replies = 1;
    explore_all(scenario);
}

TEST(ModelTest, ATableThatIsTooSmallRefusesAndLosesNothing) {
    Scenario scenario;
    scenario.commands = {read, write, write_through};
    scenario.capacity = 2;
    scenario.fetchers = 2;
    scenario.bus_resets = 1;
    explore_all(scenario);
}

}  // namespace
}  // namespace wnbd::engine::model
