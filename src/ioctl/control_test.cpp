// SPDX-License-Identifier: LGPL-2.1-or-later
// What the commands that make, name and describe disks and options do.
#include "ioctl/control.h"

#include <gtest/gtest.h>

#include "engine/native/control.h"
#include "ioctl/test_host.h"

namespace wnbd::ioctl {
namespace {

using namespace test;

constexpr std::size_t info_size = sizeof(WNBD_CONNECTION_INFO);

struct ControlTest : testing::Test {
    nt::Status create(const WNBD_IOCTL_CREATE_COMMAND& command) {
        return host.call(command, info_size).status;
    }
    nt::Status create(const std::string& name) { return create(create_command(name)); }
    WNBD_CONNECTION_INFO show(const std::string& name) {
        EXPECT_EQ(host.call(show_command(name), info_size).status, nt::success);
        return host.reply<WNBD_CONNECTION_INFO>();
    }
    nt::Status set_option(const std::u16string& name, bool value) {
        auto command = option_command<WNBD_IOCTL_SET_DRV_OPT_COMMAND>(IOCTL_WNBD_SET_DRV_OPT, name);
        command.Value.Type = WnbdOptBool;
        command.Value.Data.AsBool = value ? 1 : 0;
        return host.call(command).status;
    }
    Host host;
};

TEST_F(ControlTest, CreateAnswersWithTheWholeDisk) {
    auto command = create_command("disk");
    command.Properties.NaaIdentifier.data[3] = 7;
    ASSERT_EQ(create(command), nt::success);
    const auto info = host.reply<WNBD_CONNECTION_INFO>();
    EXPECT_STREQ(info.Properties.InstanceName, "disk");
    EXPECT_STREQ(info.Properties.SerialNumber, "disk") << "an empty serial is the name";
    EXPECT_EQ(info.Properties.Pid, own_process);
    EXPECT_EQ(info.Properties.NaaIdentifier.data[3], 7);
    EXPECT_NE(info.ConnectionId, 0u);
    EXPECT_EQ(info.BusNumber, 0);
    EXPECT_EQ(info.TargetId, 0);
    EXPECT_EQ(info.Lun, 0);
    EXPECT_EQ(info.DiskNumber, -1);
    EXPECT_EQ(info.PNPDeviceID[0], 0);
    EXPECT_EQ(info.ConnectionFlags.Disconnecting, 0u);
    for (const BYTE reserved : info.Reserved)
        EXPECT_EQ(reserved, 0);
    EXPECT_EQ(host.port.changes(), 1u);
}

TEST_F(ControlTest, CreateRefusesWhatIsNoDisk) {
    const auto refused = [&](auto change) {
        auto command = create_command("disk");
        change(command.Properties);
        const nt::Status status = create(command);
        EXPECT_EQ(host.output.size(), 0u);
        return status;
    };
    using P = WNBD_PROPERTIES;
    EXPECT_EQ(refused([](P& p) { p.Flags.UseKernelNbd = 1; }), nt::invalid_parameter);
    EXPECT_EQ(refused([](P& p) { p.InstanceName[0] = 0; }), nt::invalid_parameter);
    EXPECT_EQ(refused([](P& p) { p.BlockCount = 0; }), nt::invalid_parameter);
    EXPECT_EQ(refused([](P& p) { p.BlockCount = ~UINT64{0}; }), nt::invalid_parameter);
    EXPECT_EQ(refused([](P& p) { p.BlockCount = ~UINT64{0} / 512 + 1; }), nt::invalid_parameter);
    for (const UINT32 size : {0U, 1U, 511U, 513U, 1024U, 2048U, 8192U, ~0U})
        EXPECT_EQ(refused([&](P& p) { p.BlockSize = size; }), nt::invalid_parameter) << size;
    for (const UINT8 exponent : {8, 15, 16, 64, 255})
        EXPECT_EQ(refused([&](P& p) { WnbdSetPhysicalBlockExponent(&p, exponent); }),
                  nt::invalid_parameter)
            << unsigned{exponent};
    EXPECT_FALSE(host.adapter->unit_at(0));
    auto command = create_command("4k");
    command.Properties.BlockSize = 4096;
    WnbdSetPhysicalBlockExponent(&command.Properties, 4);
    EXPECT_EQ(create(command), nt::success);
    EXPECT_EQ(host.adapter->unit_at(0)->disk.description().physical_block_exponent, 4);
    auto too_large = create_command("too large");
    too_large.Properties.BlockSize = 4096;
    WnbdSetPhysicalBlockExponent(&too_large.Properties, 5);
    EXPECT_EQ(create(too_large), nt::invalid_parameter);
}

TEST_F(ControlTest, NamesWithoutEndAreTerminated) {
    auto command = create_command(std::string(WNBD_MAX_NAME_LENGTH, 'x'));
    std::memset(command.Properties.SerialNumber, 's', sizeof command.Properties.SerialNumber);
    std::memset(command.Properties.Owner, 'o', sizeof command.Properties.Owner);
    std::memset(command.Properties.NbdProperties.Hostname, 'h', WNBD_MAX_NAME_LENGTH);
    std::memset(command.Properties.NbdProperties.ExportName, 'e', WNBD_MAX_NAME_LENGTH);
    ASSERT_EQ(create(command), nt::success);
    const auto made = host.reply<WNBD_CONNECTION_INFO>().Properties;
    EXPECT_EQ(std::string(made.InstanceName), std::string(WNBD_MAX_NAME_LENGTH - 1, 'x'));
    EXPECT_EQ(made.SerialNumber[WNBD_MAX_NAME_LENGTH - 1], 0);
    EXPECT_EQ(made.Owner[WNBD_MAX_OWNER_LENGTH - 1], 0);
    EXPECT_EQ(made.NbdProperties.Hostname[WNBD_MAX_NAME_LENGTH - 1], 0);
    EXPECT_EQ(made.NbdProperties.ExportName[WNBD_MAX_NAME_LENGTH - 1], 0);
    EXPECT_EQ(host.call(remove_command(std::string(WNBD_MAX_NAME_LENGTH, 'x'))).status,
              nt::success);
}

TEST_F(ControlTest, CreateTellsWhyThereIsNoDisk) {
    ASSERT_EQ(create("disk"), nt::success);
    EXPECT_EQ(create("disk"), nt::object_name_collision);
    platform::native::fail_allocations_after(0);
    EXPECT_EQ(create("another"), nt::insufficient_resources);
    platform::native::restore_allocations();
    for (unsigned i = 1; i < engine::max_disks; ++i)
        ASSERT_EQ(create("disk" + std::to_string(i)), nt::success);
    EXPECT_EQ(create("one too many"), nt::too_many_addresses);
    ASSERT_EQ(set_option(u"NewMappingsAllowed", false), nt::success);
    EXPECT_EQ(create("one too many"), nt::shutdown_in_progress);
    ASSERT_EQ(set_option(u"NewMappingsAllowed", true), nt::success);
    EXPECT_EQ(create("one too many"), nt::too_many_addresses);
}

TEST_F(ControlTest, RemoveNamesADiskAndPerhapsItsConnection) {
    ASSERT_EQ(create("disk"), nt::success);
    const auto connection = host.reply<WNBD_CONNECTION_INFO>().ConnectionId;
    EXPECT_EQ(host.call(remove_command("")).status, nt::invalid_parameter);
    EXPECT_EQ(host.call(remove_command("another")).status, nt::object_name_not_found);
    EXPECT_EQ(host.call(remove_command("disk", connection + 1)).status, nt::object_name_not_found);
    EXPECT_TRUE(host.adapter->find(connection));
    EXPECT_EQ(host.call(remove_command("disk", connection)).status, nt::success);
    EXPECT_FALSE(host.adapter->find(connection));
    ASSERT_EQ(create("disk"), nt::success);
    EXPECT_EQ(host.call(remove_command("disk", connection)).status, nt::object_name_not_found)
        << "an old daemon does not remove a newer disk of the same name";
    EXPECT_EQ(host.call(remove_command("disk")).status, nt::success);
}

TEST_F(ControlTest, ListGoesInOrderOfCreation) {
    for (const char* const name : {"a", "b", "c"})
        ASSERT_EQ(create(name), nt::success);
    ASSERT_EQ(host.call(remove_command("a")).status, nt::success);
    ASSERT_EQ(create("d"), nt::success);  // in the place of a
    host.locator.known = true;
    const auto list = command_for<WNBD_IOCTL_LIST_COMMAND>(IOCTL_WNBD_LIST);
    const std::size_t asked = host.call(list).information;
    EXPECT_EQ(asked, 3 * info_size + sizeof(WNBD_CONNECTION_LIST));
    const Completion done = host.call(list, asked);
    ASSERT_EQ(done.status, nt::success);
    ASSERT_EQ(done.information, 8 + 3 * info_size);
    const auto head = host.reply<WNBD_CONNECTION_LIST>();
    EXPECT_EQ(head.ElementSize, info_size);
    ASSERT_EQ(head.Count, 3u);
    for (std::size_t i = 0; i < 3; ++i) {
        WNBD_CONNECTION_INFO info;
        std::memcpy(&info, host.output.data() + 8 + i * info_size, info_size);
        EXPECT_EQ(info.Properties.InstanceName[0], "bcd"[i]);
        EXPECT_NE(info.ConnectionId, 0u);
        EXPECT_EQ(info.DiskNumber, info.TargetId + 1);
        EXPECT_EQ(std::u16string(info.PNPDeviceID), u"SCSI\\DISK");
    }
    const Completion short_one = host.call(list, 8 + 3 * info_size - 1);
    EXPECT_EQ(short_one.status, nt::buffer_overflow);
    EXPECT_EQ(short_one.information, 8u);
    EXPECT_EQ(host.reply<WNBD_CONNECTION_LIST>().Count, 3u) << "it tells how many there are";
}

TEST_F(ControlTest, AnEmptyListIsAList) {
    const auto list = command_for<WNBD_IOCTL_LIST_COMMAND>(IOCTL_WNBD_LIST);
    EXPECT_EQ(host.call(list).information, sizeof(WNBD_CONNECTION_LIST));
    const Completion done = host.call(list, sizeof(WNBD_CONNECTION_LIST));
    EXPECT_EQ(done.status, nt::success);
    EXPECT_EQ(done.information, 8u);
    EXPECT_EQ(host.reply<WNBD_CONNECTION_LIST>().Count, 0u);
}

TEST_F(ControlTest, UnknownAndEmptyNamesAreTold) {
    EXPECT_EQ(host.call(show_command("disk"), info_size).status, nt::object_name_not_found);
    EXPECT_EQ(host.call(show_command(""), info_size).status, nt::invalid_parameter);
    EXPECT_EQ(host.call(stats_command("disk"), sizeof(WNBD_DRV_STATS)).status,
              nt::object_name_not_found);
    EXPECT_EQ(host.call(stats_command(""), sizeof(WNBD_DRV_STATS)).status, nt::invalid_parameter);
}

TEST_F(ControlTest, ANewSizeIsCheckedAndShown) {
    ASSERT_EQ(create("disk"), nt::success);
    auto command = command_for<WNBD_IOCTL_SET_SIZE_COMMAND>(IOCTL_WNBD_SET_DISK_SIZE);
    command.BlockCount = 4096;
    EXPECT_EQ(host.call(command).status, nt::object_name_not_found);
    command.ConnectionId = show("disk").ConnectionId;
    EXPECT_EQ(host.call(command).status, nt::success);
    EXPECT_EQ(show("disk").Properties.BlockCount, 4096u);
    for (const UINT64 bad : {UINT64{0}, ~UINT64{0}, ~UINT64{0} / 512 + 1, UINT64{1} << 63}) {
        command.BlockCount = bad;
        EXPECT_EQ(host.call(command).status, nt::invalid_parameter) << bad;
    }
    EXPECT_EQ(show("disk").Properties.BlockCount, 4096u);
}

TEST_F(ControlTest, ADiskOfAClosedHandleGoesAndADiskMadeForAnotherProcessStays) {
    ASSERT_EQ(create("mine"), nt::success);
    auto command = create_command("yours");
    command.Properties.Pid = foreign_process;
    ASSERT_EQ(create(command), nt::success);
    const auto connection = host.reply<WNBD_CONNECTION_INFO>().ConnectionId;
    host.adapter->remove_owned_by(host.handle);
    EXPECT_FALSE(host.adapter->find_by_name("mine"));
    EXPECT_TRUE(host.adapter->find_by_name("yours"));

    // Whoever serves it first owns it.
    const int serving = 0;
    host.process = foreign_process;
    host.handle = &serving;
    EXPECT_EQ(host.call(send_command(connection, {}, nullptr, 0)).status, nt::not_found);
    host.adapter->remove_owned_by(&serving);
    EXPECT_FALSE(host.adapter->find_by_name("yours"));
}

TEST_F(ControlTest, VersionIsAStringAndThreeNumbers) {
    ASSERT_EQ(
        host.call(command_for<WNBD_IOCTL_VERSION_COMMAND>(IOCTL_WNBD_VERSION), sizeof(WNBD_VERSION))
            .status,
        nt::success);
    const auto version = host.reply<WNBD_VERSION>();
    const std::string prefix = std::to_string(version.Major) + "." + std::to_string(version.Minor) +
                               "." + std::to_string(version.Patch);
    EXPECT_EQ(std::string(version.Description).rfind(prefix, 0), 0u) << version.Description;
    for (const BYTE reserved : version.Reserved)
        EXPECT_EQ(reserved, 0);
}

TEST_F(ControlTest, OptionsGoInAndOut) {
    const auto get =
        option_command<WNBD_IOCTL_GET_DRV_OPT_COMMAND>(IOCTL_WNBD_GET_DRV_OPT, u"dbgprintenabled");
    ASSERT_EQ(set_option(u"DbgPrintEnabled", false), nt::success);
    ASSERT_EQ(host.call(get, sizeof(WNBD_OPTION_VALUE)).status, nt::success);
    EXPECT_EQ(host.reply<WNBD_OPTION_VALUE>().Type, WnbdOptBool);
    EXPECT_EQ(host.reply<WNBD_OPTION_VALUE>().Data.AsBool, 0);
    auto stored = get;
    stored.Persistent = 1;
    EXPECT_EQ(host.call(stored, sizeof(WNBD_OPTION_VALUE)).status, nt::object_name_not_found);
    auto reset = option_command<WNBD_IOCTL_RESET_DRV_OPT_COMMAND>(IOCTL_WNBD_RESET_DRV_OPT,
                                                                  u"DbgPrintEnabled");
    EXPECT_EQ(host.call(reset).status, nt::success);
    ASSERT_EQ(host.call(get, sizeof(WNBD_OPTION_VALUE)).status, nt::success);
    EXPECT_EQ(host.reply<WNBD_OPTION_VALUE>().Data.AsBool, 1);
    EXPECT_EQ(set_option(u"NoSuchOption", true), nt::object_name_not_found);
    EXPECT_EQ(set_option(std::u16string(WNBD_MAX_NAME_LENGTH, u'L'), true),
              nt::object_name_not_found);
}

TEST_F(ControlTest, OptionValuesOfUnknownTypesAreRefused) {
    auto command =
        option_command<WNBD_IOCTL_SET_DRV_OPT_COMMAND>(IOCTL_WNBD_SET_DRV_OPT, u"LogLevel");
    for (const std::uint32_t type : {0U, 1U, 4U, 255U, ~0U}) {
        std::memcpy(&command.Value.Type, &type, sizeof(type));
        EXPECT_EQ(host.call(command).status, nt::object_type_mismatch) << type;
    }
}

TEST_F(ControlTest, StoredOptionsAreListedAlone) {
    host.store.values[u"LogLevel"] = 3;
    auto list = command_for<WNBD_IOCTL_LIST_DRV_OPT_COMMAND>(IOCTL_WNBD_LIST_DRV_OPT);
    list.Persistent = 1;
    const Completion done = host.call(list, 15056);
    ASSERT_EQ(done.status, nt::success);
    const auto head = host.reply<WNBD_OPTION_LIST>();
    EXPECT_EQ(head.ElementSize, sizeof(WNBD_OPTION));
    ASSERT_EQ(head.Count, 1u);
    EXPECT_EQ(std::u16string(head.Options[0].Name), u"LogLevel");
    EXPECT_EQ(head.Options[0].Value.Data.AsInt64, 3);
}

TEST_F(ControlTest, ALeaseRefusesNewMappingsForItsTime) {
    platform::native::hold_time(1);
    auto command = option_command<WNBD_IOCTL_SET_DRV_OPT_COMMAND>(IOCTL_WNBD_SET_DRV_OPT,
                                                                  u"NewMappingsAllowed");
    command.Value.Type = WnbdOptBool;
    WnbdSetOptionLease(&command, 70'000);
    EXPECT_EQ(WnbdGetOptionLease(&command), 70'000U);
    EXPECT_EQ(host.call(command).status, nt::success);
    EXPECT_EQ(create("disk"), nt::shutdown_in_progress);
    platform::native::advance_time_ms(70'000);
    EXPECT_EQ(create("disk"), nt::success);
    command.Persistent = 1;
    EXPECT_EQ(host.call(command).status, nt::invalid_parameter);
    EXPECT_TRUE(host.store.values.empty());
    platform::native::release_time();
}

TEST_F(ControlTest, AStoredProhibitionHoldsFromTheStart) {
    host.store.values[u"NewMappingsAllowed"] = 0;
    host.options.initialize(host.store);
    EXPECT_EQ(create("disk"), nt::shutdown_in_progress);
}

TEST_F(ControlTest, ReloadingTakesEffectOnNewMappings) {
    host.store.values[u"NewMappingsAllowed"] = 0;
    EXPECT_EQ(
        host.call(command_for<WNBD_IOCTL_RELOAD_CONFIG_COMMAND>(IOCTL_WNBD_RELOAD_CONFIG)).status,
        nt::success);
    EXPECT_EQ(create("disk"), nt::shutdown_in_progress);
}

}  // namespace
}  // namespace wnbd::ioctl
