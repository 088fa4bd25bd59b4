// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/uri.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>

#include "nbd/protocol.h"

namespace wnbd::nbd {
namespace {

using ::testing::HasSubstr;

Address good(const std::string& uri) {
    const auto address = parse_uri(uri);
    EXPECT_TRUE(address.ok()) << (address.ok() ? "" : address.error());
    return address.ok() ? address.value() : Address{};
}

std::string bad(const std::string& uri) {
    const auto address = parse_uri(uri);
    EXPECT_FALSE(address.ok()) << uri;
    return address.ok() ? "" : address.error();
}

TEST(Uri, HostPortAndExport) {
    const auto address = good("nbd://server.example:10810/disk");
    EXPECT_EQ(address.host, "server.example");
    EXPECT_EQ(address.port, 10810);
    EXPECT_EQ(address.export_name, "disk");
    EXPECT_EQ(address.endpoint(), "server.example:10810");
}

TEST(Uri, PortAndExportMayBeLeftOut) {
    for (const char* const uri : {"nbd://server", "nbd://server/", "NBD://server"}) {
        EXPECT_EQ(good(uri).port, 10809);
        EXPECT_EQ(good(uri).export_name, "");
    }
}

TEST(Uri, OnlyTheFirstSlashIsNotPartOfTheExport) {
    EXPECT_EQ(good("nbd://server//dev/sda").export_name, "/dev/sda");
}

TEST(Uri, Ipv6StandsInBrackets) {
    const auto address = good("nbd://[fe80::1]:1/x");
    EXPECT_EQ(address.host, "fe80::1");
    EXPECT_EQ(address.port, 1);
    EXPECT_EQ(address.endpoint(), "[fe80::1]:1");
    EXPECT_EQ(good("nbd://[::1]").host, "::1");
    EXPECT_THAT(bad("nbd://::1/x"), HasSubstr("brackets"));
    EXPECT_THAT(bad("nbd://[::1/x"), HasSubstr("']'"));
    EXPECT_THAT(bad("nbd://[::1]x/y"), HasSubstr("port"));
}

TEST(Uri, UnixSocketComesAsParameter) {
    const auto address = good("nbd+unix:///disk?socket=/run/nbd%20server.sock");
    EXPECT_EQ(address.socket_path, "/run/nbd server.sock");
    EXPECT_EQ(address.export_name, "disk");
    EXPECT_EQ(address.host, "");
    EXPECT_THAT(bad("nbd+unix:///disk"), HasSubstr("socket="));
    EXPECT_THAT(bad("nbd+unix:///disk?socket="), HasSubstr("socket="));
    EXPECT_THAT(bad("nbd+unix://host/disk?socket=/x"), HasSubstr("no host"));
    EXPECT_THAT(bad("nbd://host/disk?socket=/x"), HasSubstr("unknown parameter 'socket'"));
}

TEST(Uri, PercentEscapesAreDecoded) {
    EXPECT_EQ(good("nbd://server/a%2Fb%c3%a4%3F").export_name, "a/b\xc3\xa4?");
    EXPECT_THAT(bad("nbd://server/a%2"), HasSubstr("hexadecimal"));
    EXPECT_THAT(bad("nbd://server/a%"), HasSubstr("hexadecimal"));
    EXPECT_THAT(bad("nbd://server/a%zz"), HasSubstr("hexadecimal"));
    EXPECT_THAT(bad("nbd://server/a%00"), HasSubstr("%00"));
}

TEST(Uri, PortsOutsideOneTo65535AreRefused) {
    EXPECT_EQ(good("nbd://server:65535").port, 65535);
    for (const char* const port : {"0", "65536", "-1", "4294967297", "99999999999", "", "1x", "+1"})
        EXPECT_THAT(bad(std::string("nbd://server:") + port), HasSubstr("1 to 65535")) << port;
}

TEST(Uri, NamesOf255To4096BytesAreTakenAndLongerOnesRefused) {
    for (const std::size_t length : {255, 256, 4096})
        EXPECT_EQ(good("nbd://server/" + std::string(length, 'n')).export_name.size(), length);
    EXPECT_THAT(bad("nbd://server/" + std::string(4097, 'n')), HasSubstr("4097 bytes"));
}

TEST(Uri, TlsIsRefusedByName) {
    EXPECT_THAT(bad("nbds://server/x"), HasSubstr("TLS"));
    EXPECT_THAT(bad("nbds+unix:///x?socket=/s"), HasSubstr("TLS"));
}

TEST(Uri, NonsenseIsNamed) {
    EXPECT_THAT(bad(""), HasSubstr("nbd://"));
    EXPECT_THAT(bad("server/x"), HasSubstr("nbd://"));
    EXPECT_THAT(bad("http://server/x"), HasSubstr("'http'"));
    EXPECT_THAT(bad("nbd:///x"), HasSubstr("host is missing"));
    EXPECT_THAT(bad("nbd://user@server/x"), HasSubstr("user names"));
    EXPECT_THAT(bad("nbd://server/x#y"), HasSubstr("fragments"));
}

}  // namespace
}  // namespace wnbd::nbd
