// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/nbd_report.h"

#include <gtest/gtest.h>

#include <string>
#include <vector>

#include "nbd/protocol.h"

namespace wnbd::client {
namespace {

using Kind = AllocationMap::Kind;
using Names = std::vector<std::string>;

TEST(NbdReport, FlagsHaveTheirNames) {
    EXPECT_EQ(flag_names(0), Names{});
    EXPECT_EQ(flag_names(nbd::transmission_has_flags), Names{});
    EXPECT_EQ(flag_names(0x8003), (Names{"READ_ONLY", "bit 15"}));
    EXPECT_EQ(flag_names(0x1FFF).size(), 12U);
}

TEST(NbdReport, AnExportIsToldLineByLine) {
    NbdExport info{.server = "host:10809", .name = "a", .agreement = {}, .contexts = {"x:y", "z"}};
    info.agreement.format = nbd::WireFormat::structured;
    info.agreement.tls = true;
    info.agreement.tls_session = "TLS 1.3, AES-256-GCM";
    info.agreement.info = {.size = 1U << 20,
                           .transmission_flags = nbd::transmission_has_flags |
                                                 nbd::transmission_send_flush |
                                                 nbd::transmission_send_trim,
                           .minimum_block = 512,
                           .description = "evil\x1b[2J\ntext"};
    EXPECT_EQ(table_of(export_record(info)),
              "Server         : host:10809\n"
              "Tls            : 1\n"
              "TlsSession     : TLS 1.3, AES-256-GCM\n"
              "Replies        : structured\n"
              "ExportName     : a\n"
              "CanonicalName  : \n"
              "Description    : evil?[2J?text\n"
              "Size           : 1048576\n"
              "Flags          : SEND_FLUSH, SEND_TRIM\n"
              "MinimumBlock   : 512\n"
              "PreferredBlock : 4096\n"
              "MaximumPayload : 33554432\n"
              "Contexts       : x:y, z\n");
    EXPECT_NE(json_text(export_record(info)).find("\"SEND_TRIM\""), std::string::npos);
}

TEST(NbdReport, ExportsAreListedWithWhatTheyAre) {
    EXPECT_EQ(table_of(std::vector<nbd::ListedExport>{{"", ""}, {"disk", "a disk"}, {"b\n", "B"}}),
              "''\n'disk'  a disk\n'b?'    B\n");
    EXPECT_EQ(table_of(std::vector<nbd::ListedExport>{}), "");
}

TEST(NbdReport, NeighboursOfOneKindAreOneRun) {
    AllocationMap map;
    ASSERT_TRUE(map.add(100, Kind::data));
    ASSERT_TRUE(map.add(0, Kind::hole));
    ASSERT_TRUE(map.add(50, Kind::data));
    ASSERT_TRUE(map.add(50, AllocationMap::kind_of(false, true)));
    ASSERT_TRUE(map.add(100, AllocationMap::kind_of(true, true)));
    ASSERT_TRUE(map.add(100, AllocationMap::kind_of(false, false)));
    EXPECT_EQ(map.size(), 400U);
    EXPECT_EQ(map.table(),
              "Offset               Length               Type\n"
              "0                    150                  data\n"
              "150                  50                   hole,zero\n"
              "200                  100                  zero\n"
              "300                  100                  hole\n"
              "\n"
              "Total                150                  data, 37.5%\n"
              "Total                100                  zero, 25.0%\n"
              "Total                100                  hole, 25.0%\n"
              "Total                50                   hole,zero, 12.5%\n");
    const std::string json = json_line(map.record());
    EXPECT_NE(json.find(R"({"Offset":150,"Length":50,"Type":"hole,zero"})"), std::string::npos)
        << json;
    EXPECT_NE(json.find(R"("Totals":{"data":150,"zero":100,"hole":100,"hole,zero":50})"),
              std::string::npos)
        << json;
}

TEST(NbdReport, AMapHasAnEnd) {
    AllocationMap map;
    for (std::size_t i = 0; i < AllocationMap::runs_max; ++i)
        ASSERT_TRUE(map.add(1, i % 2 == 0 ? Kind::data : Kind::hole));
    EXPECT_FALSE(map.add(1, Kind::data));
}

}  // namespace
}  // namespace wnbd::client
