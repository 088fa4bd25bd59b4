// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/uri.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

#include "nbd/protocol.h"
#include "nbd/uri_options.h"
#include "nbd/utf8.h"

namespace wnbd::nbd {
namespace {

using namespace std::chrono_literals;
using ::testing::HasSubstr;
using ::testing::Not;

Uri good(const std::string& text) {
    const auto uri = parse_uri(text);
    EXPECT_TRUE(uri.ok()) << (uri.ok() ? "" : uri.error());
    return uri.ok() ? uri.value() : Uri{.addresses = {Address{}}};
}

Address first(const std::string& text) {
    return good(text).addresses.at(0);
}

std::string bad(const std::string& text) {
    const auto uri = parse_uri(text);
    EXPECT_FALSE(uri.ok()) << text;
    if (uri.ok()) return {};
    EXPECT_THAT(uri.error(), Not(HasSubstr("\n")));
    return uri.error();
}

TEST(Uri, HostPortAndExport) {
    const auto address = first("nbd://server.example:10810/disk");
    EXPECT_EQ(address.host, "server.example");
    EXPECT_EQ(address.port, 10810);
    EXPECT_EQ(address.export_name, "disk");
    EXPECT_EQ(address.endpoint(), "server.example:10810");
}

TEST(Uri, PortAndExportMayBeLeftOut) {
    // RFC 3986 3.2.3: the colon without a port, too.
    for (const char* const uri : {"nbd://server", "nbd://server/", "NBD://server",
                                  "nbd://server:", "nbd://server:/", "nbd://server?"}) {
        EXPECT_EQ(first(uri).port, 10809) << uri;
        EXPECT_EQ(first(uri).export_name, "") << uri;
    }
}

TEST(Uri, ExportNamesOfTheDocument) {
    const std::vector<std::pair<std::string, std::string>> table{
        {"nbd://example.com/disk", "disk"},
        {"nbd+unix:///disk?socket=sock", "disk"},
        {"nbd://example.com/", ""},
        {"nbd://example.com", ""},
        {"nbd://example.com//disk", "/disk"},
        {"nbd://example.com/hello%20world", "hello world"},
        {"nbd://server/a/../b", "a/../b"},
        {"nbd://server/a%2Fb%c3%a4%3F", "a/b\xc3\xa4?"},
        {"nbd://server/\xc3\xa4", "\xc3\xa4"},
        {"nbd://server/a+b:c@d", "a+b:c@d"},
    };
    for (const auto& [uri, name] : table)
        EXPECT_EQ(first(uri).export_name, name) << uri;
}

TEST(Uri, Ipv6StandsInBrackets) {
    const auto address = first("nbd://[fe80::1]:1/x");
    EXPECT_EQ(address.host, "fe80::1");
    EXPECT_EQ(address.port, 1);
    EXPECT_EQ(address.endpoint(), "[fe80::1]:1");
    EXPECT_EQ(first("nbd://[::1]").host, "::1");
    EXPECT_EQ(first("nbd://[::ffff:10.0.0.1]").host, "::ffff:10.0.0.1");
    EXPECT_EQ(first("nbd://[fe80::1%25eth0]").host, "fe80::1%eth0");
    EXPECT_EQ(first("nbd://[fe80::1%eth0]").host, "fe80::1%eth0");
    EXPECT_THAT(bad("nbd://::1/x"), HasSubstr("brackets"));
    EXPECT_THAT(bad("nbd://[::1/x"), HasSubstr("']'"));
    EXPECT_THAT(bad("nbd://[::1]x/y"), HasSubstr("port"));
    EXPECT_THAT(bad("nbd://[server]/y"), HasSubstr("no IPv6 address"));
    EXPECT_THAT(bad("nbd://[v1.x:y]/y"), HasSubstr("no IPv6 address"));
    // Windows numbers its zones.
    EXPECT_EQ(first("nbd://[fe80::1%25]/y").host, "fe80::1%25");
}

TEST(Uri, UnixSocketComesAsParameter) {
    const auto address = first("nbd+unix:///disk?socket=/run/nbd%20server.sock");
    EXPECT_EQ(address.socket_path, "/run/nbd server.sock");
    EXPECT_EQ(address.export_name, "disk");
    EXPECT_EQ(address.host, "");
    EXPECT_EQ(first("nbd+unix:///?socket=nbd.sock").socket_path, "nbd.sock");
    EXPECT_EQ(first("nbd+unix://?socket=nbd.sock").socket_path, "nbd.sock");
    EXPECT_EQ(first("nbd+unix:///?socket=C:\\a\\b.sock").socket_path, "C:\\a\\b.sock");
    EXPECT_THAT(bad("nbd+unix:///disk"), HasSubstr("socket="));
    EXPECT_THAT(bad("nbd+unix:///disk?socket="), HasSubstr("needs a path"));
    EXPECT_THAT(bad("nbd+unix:///disk?socket=%00"), HasSubstr("needs a path"));
    EXPECT_THAT(bad("nbd+unix:///disk?socket=a%00b"), HasSubstr("beginning only"));
    EXPECT_THAT(bad("nbd+unix://host/disk?socket=/x"), HasSubstr("takes no host"));
    EXPECT_THAT(bad("nbd+unix:///disk?socket=/x&host=a"), HasSubstr("takes no host"));
    EXPECT_THAT(bad("nbd://host/disk?socket=/x"), HasSubstr("'socket': it goes with nbd+unix"));
}

TEST(Uri, AbstractSocketsBeginWithNul) {
    const auto address = first("nbd+unix:///?socket=%00/abstract");
    EXPECT_EQ(address.socket_path, std::string("\0/abstract", 10));
    EXPECT_EQ(address.endpoint(), "@/abstract");
}

TEST(Uri, EscapesAreWholeAndTextsAreUtf8) {
    for (const char* const escape : {"%2", "%", "%zz", "%2g", "%%"})
        EXPECT_THAT(bad(std::string("nbd://server/a") + escape), HasSubstr("hexadecimal"));
    EXPECT_THAT(bad("nbd://server/a%00"), HasSubstr("%00"));
    EXPECT_THAT(bad("nbd://server%00/a"), HasSubstr("%00"));
    EXPECT_THAT(bad("nbd://server/?tls-hostname=a%00"), HasSubstr("%00"));
    EXPECT_THAT(bad("nbd://server/%ff"), HasSubstr("export's name is not valid UTF-8"));
    EXPECT_THAT(bad("nbd://%c3/x"), HasSubstr("UTF-8"));
    EXPECT_THAT(bad("nbd://s/?tls-certificates=%c3"), HasSubstr("UTF-8"));
}

TEST(Uri, Utf8IsCheckedToTheLetter) {
    for (const char* const text : {"", "a", "\xc2\x80", "\xdf\xbf", "\xe0\xa0\x80", "\xed\x9f\xbf",
                                   "\xef\xbf\xbf", "\xf0\x90\x80\x80", "\xf4\x8f\xbf\xbf"})
        EXPECT_TRUE(is_utf8(text)) << text;
    for (const char* const text :
         {"\x80", "\xc0\x80", "\xc1\xbf", "\xc3", "\xc3(", "\xe0\x9f\xbf", "\xed\xa0\x80",
          "\xe1\x80", "\xf0\x8f\xbf\xbf", "\xf4\x90\x80\x80", "\xf1\x80\x80", "\xf5\x80\x80\x80",
          "\xf1\x80\x80(", "\xff"})
        EXPECT_FALSE(is_utf8(text)) << text;
}

TEST(Uri, MessagesAreOneHarmlessLine) {
    EXPECT_EQ(in_one_line("a\nb\x1b[1m\x7f"), "a?b?[1m?");
    EXPECT_EQ(in_one_line("\xc3\xa4\xc2\x9b"
                          "1m\xc2\xa0"),
              "\xc3\xa4??1m\xc2\xa0");
    EXPECT_EQ(in_one_line("\xc3\xa4\xff"), "???");
}

TEST(Uri, PortsOutsideOneTo65535AreRefused) {
    EXPECT_EQ(first("nbd://server:65535").port, 65535);
    for (const char* const port : {"0", "65536", "-1", "4294967297", "99999999999", "1x", "+1"})
        EXPECT_THAT(bad(std::string("nbd://server:") + port), HasSubstr("1 to 65535")) << port;
}

TEST(Uri, NamesOf255To4096BytesAreTakenAndLongerOnesRefused) {
    for (const std::size_t length : {255, 256, 4096})
        EXPECT_EQ(first("nbd://server/" + std::string(length, 'n')).export_name.size(), length);
    EXPECT_THAT(bad("nbd://server/" + std::string(4097, 'n')), HasSubstr("4097 bytes"));
}

TEST(Uri, NonsenseIsNamed) {
    EXPECT_THAT(bad(""), HasSubstr("nbd://"));
    EXPECT_THAT(bad("server/x"), HasSubstr("nbd://"));
    EXPECT_THAT(bad("http://server/x"), HasSubstr("'http'"));
    EXPECT_THAT(bad("nbd+vsock://2/x"), HasSubstr("'nbd+vsock'"));
    EXPECT_THAT(bad("nbd:///x"), HasSubstr("host is missing"));
    EXPECT_THAT(bad("nbd://a%2Fb/x"), HasSubstr("host has a character"));
    EXPECT_THAT(bad("nbd://@server/x"), HasSubstr("user name is empty"));
    EXPECT_THAT(bad("nbds://user:secret@server/x"), HasSubstr("password"));
    EXPECT_THAT(bad("nbd://server/x#y"), HasSubstr("fragments"));
    EXPECT_THAT(bad("nbd://server/a b"), HasSubstr("%20"));
    EXPECT_THAT(bad("nbd://server/a\nb"), HasSubstr("control"));
    EXPECT_THAT(bad("nbd://server/a|b"), HasSubstr("|"));
    EXPECT_THAT(bad("nbd://server/?colour=red"), HasSubstr("parameter 'colour': it is not known"));
    EXPECT_THAT(bad("nbd://server/?connections=1&connections=1"), HasSubstr("given twice"));
}

TEST(Uri, TheSchemeSaysWhetherTlsIsRequired) {
    EXPECT_EQ(good("nbd://s/").tls.mode, TlsMode::off);
    EXPECT_EQ(good("nbds://s/").tls.mode, TlsMode::require);
    EXPECT_EQ(good("nbds+unix:///?socket=x").tls.mode, TlsMode::require);
    EXPECT_EQ(good("nbds://s/?tls=require").tls.mode, TlsMode::require);
    EXPECT_EQ(good("nbd://s/?tls=require").tls.mode, TlsMode::require);
    EXPECT_EQ(good("nbd://s/?tls=prefer").tls.mode, TlsMode::prefer);
    EXPECT_EQ(good("nbd://s/?tls=off").tls.mode, TlsMode::off);
    // Who says how to trust the server wants it used.
    for (const char* const said : {"tls-certificates=c", "tls-psk-file=f", "tls-username=u",
                                   "tls-hostname=h", "tls-verify-peer=0", "tls-type=x509"})
        EXPECT_EQ(good(std::string("nbd://s/?") + said).tls.mode, TlsMode::prefer) << said;
    EXPECT_EQ(good("nbd://user@s/").tls.mode, TlsMode::prefer);
    EXPECT_THAT(bad("nbds://s/?tls=off"), HasSubstr("contradicts nbds"));
    EXPECT_THAT(bad("nbds://s/?tls=prefer"), HasSubstr("contradicts nbds"));
    EXPECT_THAT(bad("nbd://s/?tls=yes"), HasSubstr("'yes'"));
    EXPECT_THAT(bad("nbd://s/?tls=off&tls-certificates=c"), HasSubstr("no use"));
}

TEST(Uri, TlsParametersArrive) {
    const auto x509 =
        good("nbds://server/x?tls-certificates=/etc/my%20pki&tls-hostname=other&tls-verify-peer=1");
    EXPECT_EQ(x509.certificate_folder, "/etc/my pki");
    EXPECT_EQ(x509.tls.hostname, "other");
    EXPECT_TRUE(x509.tls.verify_peer);
    EXPECT_FALSE(good("nbds://s/?tls-verify-peer=0").tls.verify_peer);
    const auto psk = good("nbds://alice@server/x?tls-psk-file=keys.psk&tls-type=psk");
    EXPECT_EQ(psk.tls.psk_file, "keys.psk");
    EXPECT_EQ(psk.tls.psk_user, "alice");
    EXPECT_EQ(good("nbds://s/?tls-username=b%C3%B6b&tls-psk-file=f").tls.psk_user,
              "b\xc3\xb6"
              "b");
    EXPECT_EQ(good("nbds+unix://alice@/?socket=/tmp/nbd.sock&tls-certificates=certs").tls.psk_user,
              "alice");
    EXPECT_EQ(good("nbds://a@s/?tls-username=a").tls.psk_user, "a");
    EXPECT_THAT(bad("nbds://a@s/?tls-username=b"), HasSubstr("differ"));
    EXPECT_THAT(bad("nbds://s/?tls-type=anon"), HasSubstr("who the server is"));
    EXPECT_THAT(bad("nbds://s/?tls-type=ssh"), HasSubstr("'ssh'"));
    EXPECT_THAT(bad("nbds://s/?tls-type=psk"), HasSubstr("tls-psk-file"));
    EXPECT_THAT(bad("nbds://s/?tls-type=x509&tls-psk-file=f"), HasSubstr("tls-type=psk"));
    EXPECT_THAT(bad("nbds://s/?tls-certificates=c&tls-psk-file=f"), HasSubstr("combined"));
    EXPECT_THAT(bad("nbds://s/?tls-verify-peer=yes"), HasSubstr("0 or 1"));
    EXPECT_THAT(bad("nbds://s/?tls-certificates="), HasSubstr("path"));
    EXPECT_THAT(bad("nbds://s/?tls-hostname"), HasSubstr("value"));
}

// "Clients SHOULD prefix experimental query parameters using x-": it is the others that are to be
// diagnosed.
TEST(Uri, ExperimentsOfOtherClientsAreLeftAlone) {
    const auto uri = good("nbd://s/disk?x-colour=red&connections=2&x-colour&x-=%00%FF");
    EXPECT_EQ(uri.addresses.at(0).export_name, "disk");
    EXPECT_EQ(uri.connections, 2U);
    EXPECT_EQ(uri.tls.mode, TlsMode::off);
    for (const char* const name : {"X-colour", "x_colour", "x"})
        EXPECT_THAT(bad(std::string("nbd://s/?") + name + "=red"), HasSubstr("it is not known"));
}

TEST(Uri, OurParametersArrive) {
    const auto uri = good(
        "nbd://s/x?connections=4&reconnect-delay=0.25&reconnect-timeout=90&on-timeout=hold&"
        "request-timeout=7.5&keep-alive=0&write-through=1");
    EXPECT_EQ(uri.connections, 4U);
    EXPECT_EQ(uri.reconnect_delay, 250ms);
    EXPECT_EQ(uri.reconnect_timeout, 90s);
    EXPECT_EQ(uri.on_timeout, OnTimeout::hold);
    EXPECT_EQ(uri.request_timeout, 7500ms);
    EXPECT_EQ(uri.keep_alive, 0s);
    EXPECT_TRUE(uri.write_through);

    const auto plain = good("nbd://s/x");
    EXPECT_FALSE(plain.connections || plain.reconnect_delay || plain.reconnect_timeout ||
                 plain.on_timeout || plain.request_timeout || plain.keep_alive ||
                 plain.write_through);
    EXPECT_EQ(good("nbd://s/?on-timeout=fail&reconnect-timeout=0").on_timeout, OnTimeout::fail);
}

TEST(Uri, OurParametersAreChecked) {
    for (const char* const count : {"0", "17", "", "x", "-1", "1.5", "99999999999"})
        EXPECT_THAT(bad(std::string("nbd://s/?connections=") + count), HasSubstr("from 1 to 16"));
    for (const char* const time : {"", "-1", "1.", ".5", "1.2345", "1e3", "inf", "0x1", "+1",
                                   "31536001", "99999999999999999999", "1 "}) {
        auto text = std::string("nbd://s/?keep-alive=") + time;
        if (text.ends_with(' ')) text.replace(text.size() - 1, 1, "%20");
        EXPECT_THAT(bad(text), HasSubstr("number of seconds")) << time;
    }
    EXPECT_EQ(good("nbd://s/?reconnect-timeout=31536000.999").reconnect_timeout, 31536000999ms);
    EXPECT_THAT(bad("nbd://s/?reconnect-delay=0"), HasSubstr("at least 0.01"));
    EXPECT_THAT(bad("nbd://s/?on-timeout=wait"), HasSubstr("fail or hold"));
    EXPECT_THAT(bad("nbd://s/?write-through=yes"), HasSubstr("0 or 1"));
    EXPECT_THAT(bad("nbd://s/?on-timeout=hold&reconnect-timeout=0"), HasSubstr("contradicts"));
}

TEST(Uri, FurtherAddressesAreOfTheSameExport) {
    const auto uri = good("nbd://a:1/x?host=b&host=c:2&host=[::1]&host=%5B::2%5D:3");
    ASSERT_EQ(uri.addresses.size(), 5U);
    const char* const expected[] = {"a:1", "b:1", "c:2", "[::1]:1", "[::2]:3"};
    for (std::size_t i = 0; i < 5; ++i) {
        EXPECT_EQ(uri.addresses[i].endpoint(), expected[i]);
        EXPECT_EQ(uri.addresses[i].export_name, "x");
    }
    const auto sockets = good("nbd+unix:///y?socket=/a&socket=b");
    ASSERT_EQ(sockets.addresses.size(), 2U);
    EXPECT_EQ(sockets.addresses[1].socket_path, "b");
    EXPECT_EQ(sockets.addresses[1].export_name, "y");
    EXPECT_THAT(bad("nbd://a/?host="), HasSubstr("'host': the host is missing"));
    EXPECT_THAT(bad("nbd://a/?host=::1"), HasSubstr("brackets"));
    EXPECT_THAT(bad("nbd://a/?host=b:0"), HasSubstr("1 to 65535"));
    std::string many = "nbd://a/?host=b";
    for (int i = 0; i < 14; ++i)
        many += "&host=b";
    EXPECT_EQ(good(many).addresses.size(), 16U);
    EXPECT_THAT(bad(many + "&host=b"), HasSubstr("at most 16"));
}

TEST(Uri, WhatItSaysBecomesTheClientsOptions) {
    const auto said = options_of(good(
        "nbds://a@h/x?host=b&connections=3&reconnect-delay=45&reconnect-timeout=9&on-timeout=hold&"
        "request-timeout=2&keep-alive=1.5&write-through=1&tls-psk-file=k&tls-hostname=n"));
    ASSERT_EQ(said.addresses.size(), 2U);
    EXPECT_EQ(said.addresses[1].host, "b");
    EXPECT_EQ(said.connections, 3U);
    EXPECT_EQ(said.reconnect.delay, 45s);
    EXPECT_GE(said.reconnect.delay_max, said.reconnect.delay);
    EXPECT_EQ(said.reconnect.timeout, 9s);
    EXPECT_EQ(said.reconnect.on_timeout, OnTimeout::hold);
    EXPECT_EQ(said.request_time_max, 2s);
    EXPECT_EQ(said.keep_alive, 1500ms);
    EXPECT_TRUE(said.write_through);
    EXPECT_EQ(said.tls.mode, TlsMode::require);
    EXPECT_EQ(said.tls.psk_file, "k");
    EXPECT_EQ(said.tls.psk_user, "a");
    EXPECT_EQ(said.tls.hostname, "n");

    const auto nothing = options_of(good("nbd://h/x"));
    const ClientOptions defaults;
    EXPECT_EQ(nothing.connections, defaults.connections);
    EXPECT_EQ(nothing.reconnect.delay, defaults.reconnect.delay);
    EXPECT_EQ(nothing.reconnect.delay_max, defaults.reconnect.delay_max);
    EXPECT_EQ(nothing.reconnect.timeout, defaults.reconnect.timeout);
    EXPECT_EQ(nothing.request_time_max, defaults.request_time_max);
    EXPECT_EQ(nothing.keep_alive, defaults.keep_alive);
    EXPECT_EQ(nothing.tls.mode, TlsMode::off);
    // Which of the folder's files are there is looked up, so that is not the parser's to do.
    EXPECT_THAT(options_of(good("nbds://h/x?tls-certificates=/nowhere")).tls.ca_file,
                HasSubstr("ca-cert.pem"));
}

TEST(Uri, WhatIsJoinedIsSplitAgain) {
    for (const char* const text :
         {"nbd://server/", "nbds://al%20ice@[fe80::1%25eth%200]:1/a%2Fb%25/c?x=1%262",
          "nbd+unix:///?socket=%00/abstract", "nbds+unix://u@/x?socket=a&socket=C:\\b",
          "nbd://s:1/a?b=c?d&e", "nbd://h%C3%B6st/%3F%23%5B"}) {
        const auto parts = split_uri(text);
        ASSERT_TRUE(parts.ok()) << text << parts.error();
        const auto joined = join_uri(parts.value());
        const auto again = split_uri(joined);
        ASSERT_TRUE(again.ok()) << joined << again.error();
        EXPECT_EQ(join_uri(again.value()), joined);
        EXPECT_EQ(again.value().tls, parts.value().tls);
        EXPECT_EQ(again.value().unix_socket, parts.value().unix_socket);
        EXPECT_EQ(again.value().user, parts.value().user);
        EXPECT_EQ(again.value().host, parts.value().host);
        EXPECT_EQ(again.value().port, parts.value().port);
        EXPECT_EQ(again.value().export_name, parts.value().export_name);
        ASSERT_EQ(again.value().parameters.size(), parts.value().parameters.size());
        for (std::size_t i = 0; i < parts.value().parameters.size(); ++i) {
            EXPECT_EQ(again.value().parameters[i].name, parts.value().parameters[i].name);
            EXPECT_EQ(again.value().parameters[i].value, parts.value().parameters[i].value);
        }
    }
    EXPECT_EQ(join_uri({.host = "::1", .port = 1, .export_name = "a b/c"}),
              "nbd://[::1]:1/a%20b/c");
}

TEST(Uri, TheEdgesOfWhatIsAllowed) {
    EXPECT_EQ(good("nbd://s/?connections=16").connections, 16U);
    EXPECT_EQ(good("nbd://s/?&connections=1&&").connections, 1U);
    EXPECT_EQ(good("nbd://s/?reconnect-delay=0.01").reconnect_delay, 10ms);
    EXPECT_THAT(bad("nbd://s/?reconnect-delay=0.009"), HasSubstr("at least 0.01"));
    EXPECT_EQ(good("nbd://s/?keep-alive=1.05").keep_alive, 1050ms);
    EXPECT_EQ(first("nbd://s/%7f").export_name, "\x7f");
    EXPECT_THAT(bad("nbd://s/\x7f"), HasSubstr("control"));
    EXPECT_THAT(bad("nbd://a\\b/x"), HasSubstr("host has a character"));
    EXPECT_EQ(first("nbd://s/a/b?connections=2").export_name, "a/b");
    EXPECT_EQ(join_uri({.host = "fe80::1%25", .export_name = "x"}), "nbd://[fe80::1%2525]/x");
}

}  // namespace
}  // namespace wnbd::nbd
