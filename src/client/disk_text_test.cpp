// SPDX-License-Identifier: LGPL-2.1-or-later
// The very bytes that scripts read.
#include "client/disk_text.h"

#include <gtest/gtest.h>

#include <cstring>
#include <iterator>
#include <limits>
#include <string>
#include <string_view>
#include <vector>

namespace wnbd::client {
namespace {

void store(char* array, std::string_view text) {
    std::memcpy(array, text.data(), text.size());
}

WNBD_CONNECTION_INFO nbd_disk() {
    WNBD_CONNECTION_INFO disk{};
    store(disk.Properties.InstanceName, "disk0");
    store(disk.Properties.SerialNumber, "serial0");
    store(disk.Properties.Owner, "wnbd-client");
    disk.Properties.Flags.FlushSupported = 1;
    disk.Properties.Flags.FUASupported = 1;
    disk.Properties.Flags.UseUserspaceNbd = 1;
    disk.Properties.BlockCount = 131072;
    disk.Properties.BlockSize = 512;
    disk.Properties.MaxUnmapDescCount = 1;
    disk.Properties.Pid = 4242;
    store(disk.Properties.NbdProperties.Hostname, "127.0.0.1");
    disk.Properties.NbdProperties.PortNumber = 10809;
    store(disk.Properties.NbdProperties.ExportName, "export0");
    disk.TargetId = 3;
    disk.DiskNumber = 2;
    constexpr std::u16string_view id = u"SCSI\\DISK&VEN_WNBD\\1&0";
    id.copy(disk.PNPDeviceID, id.size());
    return disk;
}

WNBD_CONNECTION_INFO foreign_disk() {
    WNBD_CONNECTION_INFO disk{};
    store(disk.Properties.InstanceName, "rbd/image with spaces");
    store(disk.Properties.Owner, "ceph-rbd-wnbd16");  // 15 bytes, as many as there is room for
    disk.Properties.Pid = 123456789;
    disk.DiskNumber = -1;
    return disk;
}

TEST(ListText, HasOneRowForEachDisk) {
    const std::vector<WNBD_CONNECTION_INFO> disks{nbd_disk(), foreign_disk()};
    EXPECT_EQ(list_text(disks, OutputFormat::table),
              "Pid         DiskNumber  Nbd    Owner            InstanceName\n"
              "4242        2           true   wnbd-client      disk0\n"
              "123456789   -1          false  ceph-rbd-wnbd16  rbd/image with spaces\n");
}

TEST(ListText, IsTheHeaderAloneWithoutDisks) {
    EXPECT_EQ(list_text({}, OutputFormat::table),
              "Pid         DiskNumber  Nbd    Owner            InstanceName\n");
    EXPECT_EQ(list_text({}, OutputFormat::json), "[]\n");
}

TEST(ListText, KernelNbdCountsAsNbd) {
    WNBD_CONNECTION_INFO disk = foreign_disk();
    disk.Properties.Flags.UseKernelNbd = 1;
    EXPECT_NE(list_text({&disk, 1}, OutputFormat::table).find("  true   "), std::string::npos);
}

TEST(ListText, JsonHasTheSameFields) {
    const WNBD_CONNECTION_INFO disk = nbd_disk();
    EXPECT_EQ(list_text({&disk, 1}, OutputFormat::json),
              "[\n"
              "  {\n"
              "    \"Pid\": 4242,\n"
              "    \"DiskNumber\": 2,\n"
              "    \"Nbd\": true,\n"
              "    \"Owner\": \"wnbd-client\",\n"
              "    \"InstanceName\": \"disk0\"\n"
              "  }\n"
              "]\n");
}

TEST(ListText, UnterminatedAndMalformedNamesDoNoHarm) {
    WNBD_CONNECTION_INFO disk{};
    std::memset(disk.Properties.InstanceName, 0xFF, sizeof(disk.Properties.InstanceName));
    std::memset(disk.Properties.Owner, 'o', sizeof(disk.Properties.Owner));
    const std::string table = list_text({&disk, 1}, OutputFormat::table);
    EXPECT_TRUE(table.ends_with("  oooooooooooooooo  " + std::string(256, '\xFF') + "\n"));
    EXPECT_NE(list_text({&disk, 1}, OutputFormat::json).find("\xEF\xBF\xBD"), std::string::npos);
}

TEST(ShowText, HasEveryLabelInOrder) {
    EXPECT_EQ(show_text(nbd_disk(), {.per_lun = 255, .per_adapter = 1000}, OutputFormat::table),
              "Connection info\n"
              "InstanceName              : disk0\n"
              "SerialNumber              : serial0\n"
              "Owner                     : wnbd-client\n"
              "ReadOnly                  : 0\n"
              "FlushSupported            : 1\n"
              "FUASupported              : 1\n"
              "UnmapSupported            : 0\n"
              "UnmapAnchorSupported      : 0\n"
              "UseUserspaceNbd           : 1\n"
              "BlockCount                : 131072\n"
              "BlockSize                 : 512\n"
              "MaxUnmapDescCount         : 1\n"
              "Pid                       : 4242\n"
              "DiskNumber                : 2\n"
              "PNPDeviceID               : SCSI\\DISK&VEN_WNBD\\1&0\n"
              "BusNumber                 : 0\n"
              "TargetId                  : 3\n"
              "Lun                       : 0\n"
              "MaxIOReqPerLun            : 255\n"
              "MaxIOReqPerAdapter        : 1000\n"
              "\n"
              "Nbd properties\n"
              "Hostname                  : 127.0.0.1\n"
              "PortNumber                : 10809\n"
              "ExportName                : export0\n"
              "SkipNegotiation           : 0\n"
              "\n");
}

TEST(ShowText, LeavesNbdOutForOtherDisks) {
    const std::string text = show_text(foreign_disk(), {}, OutputFormat::table);
    EXPECT_TRUE(
        text.ends_with("MaxIOReqPerLun            : -1\n"
                       "MaxIOReqPerAdapter        : -1\n\n"));
    EXPECT_EQ(text.find("Nbd properties"), std::string::npos);
    EXPECT_EQ(show_text(foreign_disk(), {}, OutputFormat::json).find("NbdProperties"),
              std::string::npos);
}

TEST(ShowText, JsonHasSwitchesAndNestedNbdProperties) {
    const std::string text = show_text(nbd_disk(), {}, OutputFormat::json);
    EXPECT_NE(text.find("\"ReadOnly\": false"), std::string::npos);
    EXPECT_NE(text.find("\"FlushSupported\": true"), std::string::npos);
    EXPECT_NE(text.find("\"MaxIOReqPerLun\": -1"), std::string::npos);
    EXPECT_TRUE(
        text.ends_with("  \"NbdProperties\": {\n"
                       "    \"Hostname\": \"127.0.0.1\",\n"
                       "    \"PortNumber\": 10809,\n"
                       "    \"ExportName\": \"export0\",\n"
                       "    \"SkipNegotiation\": false\n"
                       "  }\n"
                       "}\n"));
}

WNBD_DRV_STATS some_stats() {
    WNBD_DRV_STATS stats{};
    stats.TotalReceivedIORequests = 1;
    stats.TotalSubmittedIORequests = 2;
    stats.TotalReceivedIOReplies = 3;
    stats.UnsubmittedIORequests = 4;
    stats.PendingSubmittedIORequests = 5;
    stats.AbortedSubmittedIORequests = 6;
    stats.AbortedUnsubmittedIORequests = 7;
    stats.CompletedAbortedIORequests = 8;
    stats.OutstandingIOCount = -9;
    stats.LastReceivedReqTimestamp = 10'000'000;  // one second after the start
    stats.LastSubmittedReqTimestamp = 90'000'000;
    return stats;
}

TEST(StatsText, HasEveryLabelInOrderAndSaysNever) {
    EXPECT_EQ(stats_text(some_stats(), 5000, OutputFormat::table),
              "Disk stats\n"
              "TotalReceivedIORequests        : 1\n"
              "TotalSubmittedIORequests       : 2\n"
              "TotalReceivedIOReplies         : 3\n"
              "UnsubmittedIORequests          : 4\n"
              "PendingSubmittedIORequests     : 5\n"
              "AbortedSubmittedIORequests     : 6\n"
              "AbortedUnsubmittedIORequests   : 7\n"
              "CompletedAbortedIORequests     : 8\n"
              "OutstandingIOCount             : -9\n"
              "TimeSinceLastReceivedReqMs     : 4000\n"
              "TimeSinceLastSubmittedReqMs    : 0\n"
              "TimeSinceLastReplyMs           : never\n"
              "\n");
}

TEST(StatsText, JsonSaysNullForNever) {
    const std::string text = stats_text(some_stats(), 5000, OutputFormat::json);
    EXPECT_TRUE(
        text.ends_with("  \"TimeSinceLastReceivedReqMs\": 4000,\n"
                       "  \"TimeSinceLastSubmittedReqMs\": 0,\n"
                       "  \"TimeSinceLastReplyMs\": null\n"
                       "}\n"));
}

}  // namespace
}  // namespace wnbd::client
