// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/nbd_uri.h"

#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <vector>

namespace wnbd::client {
namespace {

TEST(NbdUri, HostNamesAreNoUris) {
    EXPECT_FALSE(is_uri("server"));
    EXPECT_FALSE(is_uri("::1"));
    EXPECT_TRUE(is_uri("nbd://server"));
    EXPECT_TRUE(is_uri("nbds://server"));
}

TEST(NbdUri, PartsAreFound) {
    struct Case {
        std::string uri;
        std::string host;
        std::optional<std::uint32_t> port;
        std::string export_name;
    };
    const std::vector<Case> table{
        {"nbd://server", "server", std::nullopt, ""},
        {"nbd://server/", "server", std::nullopt, ""},
        {"nbd://10.0.0.1:1234/disk", "10.0.0.1", 1234, "disk"},
        {"nbd://[::1]:1/a/b", "::1", 1, "a/b"},
        {"nbd://[fe80::1]/x", "fe80::1", std::nullopt, "x"},
        {"nbd://s/a%20b%2F%c3%a9", "s", std::nullopt, "a b/\xC3\xA9"},
        {"nbd://s:0/", "s", 0, ""},
        {"nbd://s:65536/", "s", 65536, ""},
    };
    for (const Case& expected : table) {
        const auto parsed = parse_nbd_uri(expected.uri);
        ASSERT_TRUE(parsed.ok()) << parsed.error();
        EXPECT_EQ(parsed.value().host, expected.host) << expected.uri;
        EXPECT_EQ(parsed.value().port, expected.port) << expected.uri;
        EXPECT_EQ(parsed.value().export_name, expected.export_name) << expected.uri;
    }
}

TEST(NbdUri, FaultsAreNamed) {
    struct Case {
        std::string uri;
        std::string why;
    };
    const std::vector<Case> table{
        {"nbds://s/x", "only nbd:// is supported"},
        {"nbd+unix://s/x", "only nbd:// is supported"},
        {"://s", "only nbd:// is supported"},
        {"nbd:///x", "the host is missing"},
        {"nbd://:1/x", "the host is missing"},
        {"nbd://", "the host is missing"},
        {"nbd://u@s/x", "it must not have a user name"},
        {"nbd://s/x?a=b", "it must not have a query or a fragment"},
        {"nbd://s/x#a", "it must not have a query or a fragment"},
        {"nbd://s:/x", "the port is not a number"},
        {"nbd://s:1x/x", "the port is not a number"},
        {"nbd://s:4294967296/x", "the port is not a number"},
        {"nbd://::1/x", "the host is missing"},
        {"nbd://fe80::1/x", "the port is not a number"},
        {"nbd://[::1/x", "a [ without its ]"},
        {"nbd://[::1]1/x", "something other than :port after the ]"},
        {"nbd://s/%", "a malformed % escape"},
        {"nbd://s/%4", "a malformed % escape"},
        {"nbd://s/%zz", "a malformed % escape"},
        {"nbd://s/%00", "a malformed % escape"},
        {"nbd://%0/", "a malformed % escape"},
    };
    for (const Case& refused : table) {
        const auto parsed = parse_nbd_uri(refused.uri);
        ASSERT_FALSE(parsed.ok()) << refused.uri;
        EXPECT_EQ(parsed.error(), "Invalid NBD URI: " + refused.uri + ": " + refused.why + ".");
    }
}

}  // namespace
}  // namespace wnbd::client
