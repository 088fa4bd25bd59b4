// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/map_plan.h"

#include <gtest/gtest.h>

#include <string>
#include <string_view>
#include <vector>

namespace wnbd::client {
namespace {

using Words = std::vector<std::string>;
constexpr std::int32_t pid = 77;

Result<MapPlan, MapRefusal> plan(const Words& words) {
    const auto parsed = parse_arguments(*find_command("map"), words);
    if (!parsed) return Failure{MapRefusal{0, "not parsed: " + parsed.error().text}};
    return plan_map(parsed.value(), pid);
}

TEST(MapPlan, ADriverlessDiskIsPlannedLikeAnyOtherAndSaysSo) {
    auto planned = plan({"disk", "--memory=1M", "--driverless", "--read-only"});
    ASSERT_TRUE(planned.ok()) << planned.error().text;
    EXPECT_TRUE(planned.value().driverless);
    EXPECT_STREQ(planned.value().properties.Owner, "wnbd-driverless");
    EXPECT_EQ(planned.value().properties.Flags.ReadOnly, 1U);
    EXPECT_EQ(planned.value().backend_uri, "memory:1048576");
    EXPECT_FALSE(plan({"disk", "--memory=1M"}).value().driverless);
}

TEST(MapPlan, ADriverlessDiskHasANameThatOthersCanBeTold) {
    for (const std::string name : {"a\tb", "a\nb", "a\x1b[2J", "\xFF", "a\xC2\x9B", "\x7F"}) {
        auto planned = plan({name, "--memory=1M", "--driverless"});
        ASSERT_FALSE(planned.ok()) << name;
        EXPECT_EQ(planned.error().code, 87U);
        EXPECT_EQ(planned.error().text,
                  "The instance name of a driverless disk must be UTF-8 without control "
                  "characters.");
        EXPECT_TRUE(plan({name, "--memory=1M"}).ok()) << name;
    }
    EXPECT_TRUE(plan({"\xC3\xA4 ?", "--memory=1M", "--driverless"}).ok());
}

TEST(MapPlan, ServerHasTheDocumentedDefaults) {
    auto planned = plan({"disk", "server"});
    ASSERT_TRUE(planned.ok()) << planned.error().text;
    const WNBD_PROPERTIES& properties = planned.value().properties;
    EXPECT_STREQ(properties.InstanceName, "disk");
    EXPECT_STREQ(properties.SerialNumber, "disk");
    EXPECT_STREQ(properties.Owner, "wnbd-client");
    EXPECT_STREQ(properties.NbdProperties.Hostname, "server");
    EXPECT_STREQ(properties.NbdProperties.ExportName, "disk");
    EXPECT_EQ(properties.NbdProperties.PortNumber, 10809U);
    EXPECT_EQ(properties.NbdProperties.Flags.SkipNegotiation, 0U);
    EXPECT_EQ(properties.Flags.UseUserspaceNbd, 1U);
    EXPECT_EQ(properties.Flags.ReadOnly, 0U);
    EXPECT_EQ(properties.BlockSize, 512U);
    EXPECT_EQ(properties.BlockCount, 0U);
    EXPECT_EQ(properties.Pid, pid);
    EXPECT_EQ(planned.value().backend_uri, "");
    EXPECT_EQ(planned.value().remark, "");
}

TEST(MapPlan, EveryServerOptionArrives) {
    auto planned = plan({"disk", "server", "--port=65535", "--export-name=e", "--skip-handshake",
                         "--disk-size=1M", "--block-size=4096", "--read-only"});
    ASSERT_TRUE(planned.ok()) << planned.error().text;
    const WNBD_PROPERTIES& properties = planned.value().properties;
    EXPECT_EQ(properties.NbdProperties.PortNumber, 65535U);
    EXPECT_STREQ(properties.NbdProperties.ExportName, "e");
    EXPECT_EQ(properties.NbdProperties.Flags.SkipNegotiation, 1U);
    EXPECT_EQ(properties.Flags.ReadOnly, 1U);
    EXPECT_EQ(properties.BlockSize, 4096U);
    EXPECT_EQ(properties.BlockCount, 256U);
}

TEST(MapPlan, PhysicalBlocksAreBlocksTimesAPowerOfTwo) {
    const auto exponent = [](const char* physical, const char* block) {
        auto planned =
            plan({"disk", "--memory=1M", "--physical-block-size", physical, "--block-size", block});
        EXPECT_TRUE(planned.ok()) << planned.error().text;
        return planned.ok() ? WnbdGetPhysicalBlockExponent(&planned.value().properties) : 255;
    };
    EXPECT_EQ(exponent("0", "512"), 0);
    EXPECT_EQ(exponent("512", "512"), 0);
    EXPECT_EQ(exponent("4096", "512"), 3);
    EXPECT_EQ(exponent("4096", "4096"), 0);
    EXPECT_EQ(exponent("65536", "512"), 7);
}

TEST(MapPlan, UriTellsHostPortAndExport) {
    auto planned = plan({"disk", "nbd://[::1]:10/a%20b"});
    ASSERT_TRUE(planned.ok()) << planned.error().text;
    const NBD_CONNECTION_PROPERTIES& nbd = planned.value().properties.NbdProperties;
    EXPECT_STREQ(nbd.Hostname, "::1");
    EXPECT_EQ(nbd.PortNumber, 10U);
    EXPECT_STREQ(nbd.ExportName, "a b");

    auto bare = plan({"disk", "nbd://server"});
    ASSERT_TRUE(bare.ok()) << bare.error().text;
    EXPECT_EQ(bare.value().properties.NbdProperties.PortNumber, 10809U);
    EXPECT_STREQ(bare.value().properties.NbdProperties.ExportName, "");
}

std::string uri_of(const Words& words) {
    auto planned = plan(words);
    EXPECT_TRUE(planned.ok()) << planned.error().text;
    return planned.ok() ? planned.value().backend_uri : "";
}

TEST(MapPlan, AUriIsHandedOnAndStillToldOfInTheProperties) {
    auto planned = plan({"disk", "nbds://a@s:1/x%2Fy?tls-psk-file=C:\\k", "--connections=2"});
    ASSERT_TRUE(planned.ok()) << planned.error().text;
    EXPECT_EQ(planned.value().backend_uri, "nbds://a@s:1/x/y?tls-psk-file=C:%5Ck&connections=2");
    const WNBD_PROPERTIES& properties = planned.value().properties;
    EXPECT_EQ(properties.Flags.UseUserspaceNbd, 1U);
    EXPECT_STREQ(properties.NbdProperties.Hostname, "s");
    EXPECT_EQ(properties.NbdProperties.PortNumber, 1U);
    EXPECT_STREQ(properties.NbdProperties.ExportName, "x/y");

    auto socket = plan({"disk", "nbd+unix:///e?socket=/run/nbd"});
    ASSERT_TRUE(socket.ok()) << socket.error().text;
    EXPECT_EQ(socket.value().backend_uri, "nbd+unix:///e?socket=/run/nbd");
    EXPECT_STREQ(socket.value().properties.NbdProperties.Hostname, "/run/nbd");
    EXPECT_EQ(socket.value().properties.NbdProperties.PortNumber, 0U);
    EXPECT_STREQ(socket.value().properties.NbdProperties.ExportName, "e");
}

TEST(MapPlan, OptionsAboutTheServerMakeAUriOfTheHost) {
    EXPECT_EQ(uri_of({"d", "s"}), "");
    EXPECT_EQ(uri_of({"d", "s", "--connections=4", "--export-name=a b"}),
              "nbd://s/a%20b?connections=4");
    EXPECT_EQ(uri_of({"d", "::1", "--port=5", "--host=b", "--host=::2", "--host=[::3]:6"}),
              "nbd://[::1]:5/d?host=b&host=%5B::2%5D&host=%5B::3%5D:6");
    EXPECT_EQ(
        uri_of({"d", "s", "--reconnect-delay=0.5", "--reconnect-timeout=90", "--on-timeout=hold",
                "--request-timeout=5", "--keep-alive=0", "--write-through"}),
        "nbd://s/d?reconnect-delay=0.5&reconnect-timeout=90&on-timeout=hold&"
        "request-timeout=5&keep-alive=0&write-through=1");
    // The first --host may stand for the server.
    EXPECT_EQ(uri_of({"d", "--host=a:7"}), "");
    EXPECT_EQ(plan({"d", "--host=a:7"}).value().properties.NbdProperties.PortNumber, 7U);
    EXPECT_EQ(uri_of({"d", "--host=a:7", "--host=b", "--port=8"}), "nbd://a:7/d?host=b");
}

TEST(MapPlan, OptionsAboutTlsMeanTlsUnlessTheySayOtherwise) {
    EXPECT_EQ(uri_of({"d", "s", "--tls-certificates=c", "--tls-hostname=h"}),
              "nbds://s/d?tls-certificates=c&tls-hostname=h");
    EXPECT_EQ(uri_of({"d", "s", "--tls-psk-file=k", "--tls-username=u", "--tls=prefer"}),
              "nbd://s/d?tls=prefer&tls-psk-file=k&tls-username=u");
    EXPECT_EQ(uri_of({"d", "s", "--tls=require", "--tls-verify-peer=0"}),
              "nbd://s/d?tls=require&tls-verify-peer=0");
    EXPECT_EQ(uri_of({"d", "nbd://s/d", "--tls-certificates=c"}), "nbd://s/d?tls-certificates=c");
}

TEST(MapPlan, WithoutANegotiationTheOldWayIsGone) {
    auto planned =
        plan({"disk", "nbd://s:3/e", "--skip-handshake", "--disk-size=1M", "--block-size=512"});
    ASSERT_TRUE(planned.ok()) << planned.error().text;
    EXPECT_EQ(planned.value().backend_uri, "");
    EXPECT_EQ(planned.value().properties.NbdProperties.PortNumber, 3U);
}

TEST(MapPlan, MemoryNeedsNoServer) {
    auto planned = plan({"disk", "--memory", "64M"});
    ASSERT_TRUE(planned.ok()) << planned.error().text;
    EXPECT_EQ(planned.value().backend_uri, "memory:67108864");
    EXPECT_EQ(planned.value().properties.BlockCount, 131072U);
    EXPECT_EQ(planned.value().properties.Flags.UseUserspaceNbd, 0U);
}

TEST(MapPlan, FileIsCreatedWithASizeOnly) {
    auto existing = plan({"disk", "--file", "C:\\a b.img"});
    ASSERT_TRUE(existing.ok()) << existing.error().text;
    EXPECT_EQ(existing.value().backend_uri, "file:C:\\a b.img?");
    EXPECT_EQ(existing.value().properties.BlockCount, 0U);
    auto created = plan({"disk", "--file", "x", "--disk-size", "8192", "--block-size", "4096"});
    ASSERT_TRUE(created.ok()) << created.error().text;
    EXPECT_EQ(created.value().backend_uri, "file:x?size=8192");
    EXPECT_EQ(created.value().properties.BlockCount, 2U);
    auto read_only = plan({"disk", "--file", "\\\\?\\C:\\x", "--read-only", "--disk-size=512"});
    ASSERT_TRUE(read_only.ok()) << read_only.error().text;
    EXPECT_EQ(read_only.value().backend_uri, "file:\\\\?\\C:\\x?readonly=1&size=512");
    EXPECT_EQ(read_only.value().properties.Flags.ReadOnly, 1U);
}

TEST(MapPlan, NamesOf255BytesFit) {
    const std::string longest(255, 'n');
    auto planned = plan({longest, longest, "--export-name", longest});
    ASSERT_TRUE(planned.ok()) << planned.error().text;
    EXPECT_EQ(planned.value().properties.InstanceName, longest);
    EXPECT_EQ(planned.value().properties.SerialNumber, longest);
    EXPECT_EQ(planned.value().properties.NbdProperties.Hostname, longest);
    EXPECT_EQ(planned.value().properties.NbdProperties.ExportName, longest);
}

TEST(MapPlan, LongerNamesAreRefused) {
    for (const std::size_t length : {256U, 4096U}) {
        const std::string name(length, 'n');
        const std::vector<Words> table{{name, "--memory=1M"},
                                       {name, "--file=x"},
                                       {name, "server", "--export-name=e"},
                                       {"disk", name},
                                       {"disk", "server", "--export-name", name},
                                       {"disk", "nbd://" + name + "/"},
                                       {"disk", "nbd://s/" + name}};
        for (const Words& words : table) {
            auto planned = plan(words);
            ASSERT_FALSE(planned.ok());
            EXPECT_EQ(planned.error().code, 111U);
            EXPECT_NE(planned.error().text.find("is too long: " + std::to_string(length) +
                                                " bytes, at most 255 are allowed."),
                      std::string::npos)
                << planned.error().text;
        }
    }
}

TEST(MapPlan, DiskSizeWithoutEffectIsRemarkedOn) {
    auto planned = plan({"disk", "server", "--disk-size=1M"});
    ASSERT_TRUE(planned.ok()) << planned.error().text;
    EXPECT_NE(planned.value().remark.find("--disk-size has no effect"), std::string::npos);
    EXPECT_EQ(planned.value().properties.BlockCount, 0U);
}

TEST(MapPlan, BadCombinationsAndValuesAreRefused) {
    struct Case {
        Words words;
        std::string_view text;
    };
    constexpr std::string_view skip =
        "--disk-size and --block-size are required with --skip-handshake, since the server is not "
        "asked for the disk's size.";
    const std::vector<Case> table{
        {{"d", "s", "--port=0"}, "Missing NBD server port number."},
        {{"", "", "--port=0"}, "Missing NBD server port number."},
        {{"d", "s", "--port=65536"}, "Invalid NBD server port number: 65536"},
        {{"d", "nbd://s:65536/"},
         "Invalid NBD URI: nbd://s:65536/: the port '65536' is not a number from 1 to 65535."},
        {{"d", "nbd://s/?a=b"}, "Invalid NBD URI: nbd://s/?a=b: parameter 'a': it is not known."},
        {{"d", "http://s/"},
         "Invalid NBD URI: http://s/: the scheme 'http' is not nbd, nbds, nbd+unix or nbds+unix."},
        {{"d", "s", "--connections=17"},
         "Invalid --connections: '17' is not a number from 1 to 16."},
        {{"d", "nbd://s/?connections=2", "--connections=3"},
         "Invalid --connections: it is given twice."},
        {{"d", "s", "--reconnect-timeout=soon"},
         "Invalid --reconnect-timeout: 'soon' is not a number of seconds."},
        {{"d", "s", "--on-timeout=hold", "--reconnect-timeout=0"},
         "Invalid options: on-timeout=hold contradicts reconnect-timeout=0: one waits for ever, "
         "the other not at all."},
        {{"d", "s", "--on-timeout=wait"},
         "not parsed: the argument ('wait') for option '--on-timeout' is invalid"},
        {{"d", "s", "--tls=off", "--tls-certificates=c"},
         "Invalid options: tls=off leaves no use for the other TLS parameters."},
        {{"d", "nbds://s/", "--tls=prefer"},
         "Invalid options: tls=prefer contradicts nbds, which always requires TLS."},
        {{"d", "s", "--host=a:b"}, "Invalid --host: the port 'b' is not a number from 1 to 65535."},
        {{"d", "--host=a:b"}, "Invalid --host: the port 'b' is not a number from 1 to 65535."},
        {{"d", "nbd+unix:///?socket=x", "--host=a"},
         "Invalid --host: a Unix socket takes no host."},
        {{"d", "a b", "--connections=1"},
         "Invalid NBD hostname 'a b': the host has a character that none may have."},
        {{"d", "--memory=1M", "--connections=1"},
         "--memory cannot be combined with --connections."},
        {{"d", "--file=x", "--write-through"}, "--file cannot be combined with --write-through."},
        {{"d", "s", "--skip-handshake", "--disk-size=512", "--block-size=512", "--tls=off"},
         "--skip-handshake cannot be combined with --tls."},
        {{"d", "nbds://s/", "--skip-handshake", "--disk-size=512", "--block-size=512"},
         "--skip-handshake needs a server that is a host, or a plain nbd:// URI."},
        {{"d", "s", "--skip-handshake"}, skip},
        {{"d", "s", "--skip-handshake", "--disk-size=512"}, skip},
        {{"d", "s", "--skip-handshake", "--block-size=512"}, skip},
        {{"d", "s", "--skip-handshake", "--disk-size=512", "--block-size=0"}, skip},
        {{"", "s"}, "Missing instance name."},
        {{"", "--memory=1M"}, "Missing instance name."},
        {{"d", ""}, "Missing NBD hostname."},
        {{"d"},
         "the option '--hostname' is required but missing (or give --memory or "
         "--file)"},
        {{"d", "s", "--memory=1M"}, "--memory cannot be combined with a server."},
        {{"d", "s", "--file=x"}, "--file cannot be combined with a server."},
        {{"d", "--file=x", "--memory=1M"}, "--memory cannot be combined with --file."},
        {{"d", "--memory=1M", "--port=1"}, "--memory cannot be combined with --port."},
        {{"d", "--memory=1M", "--disk-size=1M"}, "--memory cannot be combined with --disk-size."},
        {{"d", "--memory=1M", "--export-name=e"},
         "--memory cannot be combined with --export-name."},
        {{"d", "--file=x", "--skip-handshake"}, "--file cannot be combined with --skip-handshake."},
        {{"d", "s", "--driverless", "--skip-handshake", "--disk-size=512", "--block-size=512"},
         "--driverless cannot be combined with --skip-handshake."},
        {{"d", "--file", ""}, "Missing image file name."},
        {{"d", "nbd://s/", "--port=1"},
         "--port cannot be combined with an NBD URI, which tells it."},
        {{"d", "nbd://s/", "--export-name=e"},
         "--export-name cannot be combined with an NBD URI, which tells it."},
        {{"d", "--memory=0"}, "Invalid --memory: 0. A disk has at least one block."},
        {{"d", "--memory=513"}, "Invalid --memory: 513 is not a multiple of the block size, 512."},
        {{"d", "--memory=9223372036854775808"},
         "Invalid --memory: 9223372036854775808. It must be below 2^63 bytes."},
        {{"d", "--file=x", "--disk-size=0"},
         "Invalid --disk-size: 0. A disk has at least one block."},
        {{"d", "s", "--disk-size=0"}, "Invalid --disk-size: 0. A disk has at least one block."},
        {{"d", "s", "--skip-handshake", "--disk-size=4608", "--block-size=4096"},
         "Invalid --disk-size: 4608 is not a multiple of the block size, 4096."},
        {{"d", "s", "--skip-handshake", "--disk-size=9223372036854775808", "--block-size=512"},
         "Invalid --disk-size: 9223372036854775808. It must be below 2^63 bytes."},
        {{"d", "--memory=1M", "--physical-block-size=1536"},
         "Invalid --physical-block-size: 1536. It must be the block size times a power of two, at "
         "most 65536."},
        {{"d", "--memory=1M", "--block-size=4096", "--physical-block-size=512"},
         "Invalid --physical-block-size: 512. It must be the block size times a power of two, at "
         "most 65536."},
        {{"d", "--memory=1M", "--physical-block-size=131072"},
         "Invalid --physical-block-size: 131072. It must be the block size times a power of two, "
         "at most 65536."},
        {{"d", "s", "--block-size=513"}, "Invalid --block-size: 513. It must be 512 or 4096."},
        {{"d", "--memory=1M", "--block-size=1024"},
         "Invalid --block-size: 1024. It must be 512 or 4096."},
    };
    for (const Case& refused : table) {
        auto planned = plan(refused.words);
        ASSERT_FALSE(planned.ok()) << refused.text;
        EXPECT_EQ(planned.error().text, refused.text);
        if (!refused.text.starts_with("not parsed")) {
            EXPECT_EQ(planned.error().code, 87U) << refused.text;
        }
    }
}

}  // namespace
}  // namespace wnbd::client
