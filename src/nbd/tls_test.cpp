// SPDX-License-Identifier: LGPL-2.1-or-later
// Whom a session trusts, what it says when it does not, and what is wrong with its files.
#include "nbd/tls.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>

#include "nbd/tls_stream.h"
#include "nbd/tls_test_server.h"
#include "nbd/tls_text.h"

namespace wnbd::nbd::test {
namespace {

using std::chrono::steady_clock;
using ::testing::HasSubstr;
using ::testing::StartsWith;

std::string in(const std::string& name) {
    return certificates() + "/" + name;
}

TlsSettings folder_settings(const std::string& folder = certificates()) {
    TlsSettings settings;
    settings.use_certificate_folder(folder);
    return settings;
}

struct Outcome {
    Fault fault{};
    std::string description{};  // of the session
    int server_error = 0;
};

/// A handshake, and, when it succeeds, one message from the server: TLS 1.3 refuses a client only
/// after the client has finished.
Outcome connect(const TlsServer::Options& options, const TlsSettings& settings,
                const std::string& hostname = "localhost",
                std::chrono::milliseconds patience = std::chrono::seconds(60)) {
    TlsServer server(options);
    const auto credentials = TlsCredentials::load(settings);
    if (!credentials) return {.fault = credentials.error()};
    auto way = std::make_unique<ServerStream>(server);
    auto opened = TlsStream::open(std::move(way), credentials.value(), hostname,
                                  steady_clock::now() + patience);
    server.pump();
    if (!opened) return {.fault = opened.error(), .server_error = server.error};
    auto& stream = *opened.value();
    if (server.established) server.write({1});
    std::uint8_t byte = 0;
    const IoSlice into{&byte, 1};
    const auto got = stream.receive({&into, 1});
    if (got.status != IoResult::Status::ok)
        return {.fault = stream.failure(), .server_error = server.error};
    return {.description = stream.description()};
}

constexpr const char* only_13 = "NORMAL:-VERS-ALL:+VERS-TLS1.3";
constexpr const char* only_12 = "NORMAL:-VERS-ALL:+VERS-TLS1.2";

TEST(Tls, BothVersionsAreSpokenAndNamed) {
    EXPECT_THAT(connect({.priority = only_13}, folder_settings()).description,
                StartsWith("TLS 1.3, AES-"));
    EXPECT_THAT(connect({.priority = only_12}, folder_settings()).description,
                StartsWith("TLS 1.2, AES-"));
}

TEST(Tls, OlderVersionsAreNotSpoken) {
    const auto outcome =
        connect({.priority = "NORMAL:-VERS-ALL:+VERS-TLS1.1:%COMPAT"}, folder_settings());
    EXPECT_EQ(describe(outcome.fault), "TLS failed: the server does not speak TLS 1.2 or 1.3");
}

TEST(Tls, AnAddressIsANameToo) {
    // A zone is this machine's own matter.
    for (const char* host : {"127.0.0.1", "::1", "::1%lo", "localhost"})
        EXPECT_NE(connect({}, folder_settings(), host).description, "") << host;
    EXPECT_EQ(connect({}, folder_settings(), "127.0.0.2").fault.code, FaultCode::tls_wrong_name);
}

TEST(Tls, AnotherNameIsRefusedAndBothAreSaid) {
    const auto outcome = connect({.folder = in("elsewhere")}, folder_settings());
    EXPECT_EQ(outcome.fault.code, FaultCode::tls_wrong_name);
    EXPECT_EQ(describe(outcome.fault),
              "the server's certificate is for 'elsewhere.example', not for 'localhost': connect "
              "by a name that it has, or say it with tls-hostname");
}

TEST(Tls, TheSettingsMaySayAnotherName) {
    auto settings = folder_settings();
    settings.hostname = "elsewhere.example";
    EXPECT_NE(connect({.folder = in("elsewhere")}, settings, "localhost").description, "");
    EXPECT_EQ(connect({}, settings, "localhost").fault.code, FaultCode::tls_wrong_name);
}

TEST(Tls, WithoutANameTheChainAloneIsChecked) {
    EXPECT_NE(connect({}, folder_settings(), "").description, "");
    EXPECT_EQ(connect({}, folder_settings(in("other")), "").fault.code, FaultCode::tls_unknown_ca);
}

TEST(Tls, AnUnknownCaIsRefusedAndTheServerHearsIt) {
    for (const char* version : {only_12, only_13}) {
        auto settings = folder_settings(in("other"));
        const auto outcome = connect({.priority = version}, settings);
        EXPECT_EQ(outcome.fault.code, FaultCode::tls_unknown_ca);
        EXPECT_EQ(outcome.server_error, GNUTLS_E_FATAL_ALERT_RECEIVED);
        EXPECT_EQ(describe(outcome.fault), "the server's certificate is not signed by a CA in '" +
                                               in("other/ca-cert.pem") + "'");
        // What the system trusts does not know it either.
        EXPECT_THAT(describe(connect({.priority = version}, {}).fault),
                    HasSubstr("not signed by a CA that this system trusts"));
    }
}

TEST(Tls, DatesAreChecked) {
    const auto expired = connect({.folder = in("expired")}, folder_settings());
    EXPECT_EQ(expired.fault.code, FaultCode::tls_expired);
    EXPECT_THAT(describe(expired.fault), HasSubstr("expired on 2021-01-01 00:00 UTC"));
    const auto future = connect({.folder = in("future")}, folder_settings());
    EXPECT_EQ(future.fault.code, FaultCode::tls_expired);
    EXPECT_THAT(describe(future.fault), HasSubstr("not valid before 2090-01-01 00:00 UTC"));
}

TEST(Tls, RevokedCertificatesAreRefused) {
    const auto outcome = connect({}, folder_settings(in("revoked")));
    EXPECT_EQ(outcome.fault.code, FaultCode::tls_untrusted);
    EXPECT_EQ(describe(outcome.fault),
              "the server's certificate is revoked by '" + in("revoked/ca-crl.pem") + "'");
}

TEST(Tls, ACertificateForClientsMakesNoServer) {
    for (const char* host : {"localhost", ""}) {
        const auto outcome = connect({.folder = in("misused")}, folder_settings(), host);
        EXPECT_EQ(describe(outcome.fault),
                  "the server's certificate is not accepted: it is not made for a server");
    }
}

TEST(Tls, WithoutVerificationAnyCertificateWillDo) {
    auto settings = folder_settings(in("other"));
    settings.verify_peer = false;
    for (const char* folder : {"expired", "elsewhere", "."})
        EXPECT_NE(connect({.folder = in(folder)}, settings).description, "") << folder;
}

TEST(Tls, AClientCertificateIsShownWhenAskedFor) {
    for (const char* version : {only_12, only_13})
        EXPECT_NE(connect({.priority = version, .client = GNUTLS_CERT_REQUIRE}, folder_settings())
                      .description,
                  "");
}

TEST(Tls, AMissingClientCertificateIsSaid) {
    for (const char* version : {only_12, only_13}) {
        const auto outcome = connect({.priority = version, .client = GNUTLS_CERT_REQUIRE},
                                     folder_settings(in("lonely")));
        EXPECT_EQ(outcome.fault.code, FaultCode::tls_client_certificate_wanted) << version;
        EXPECT_THAT(describe(outcome.fault), HasSubstr("put client-cert.pem and client-key.pem"));
    }
}

TEST(Tls, AClientCertificateThatIsRefusedIsSaid) {
    auto settings = folder_settings();
    settings.client_cert = in("other/client-cert.pem");
    settings.client_key = in("other/client-key.pem");
    for (const char* version : {only_12, only_13}) {
        const auto outcome =
            connect({.priority = version, .client = GNUTLS_CERT_REQUIRE}, settings);
        EXPECT_EQ(outcome.fault.code, FaultCode::tls_client_certificate_refused) << version;
        EXPECT_THAT(describe(outcome.fault), HasSubstr("comes from a CA that the server trusts"));
    }
}

TEST(Tls, APreSharedKeyNeedsNoCertificate) {
    for (const char* version : {"NORMAL:-VERS-ALL:+VERS-TLS1.2:-KX-ALL:+ECDHE-PSK:+DHE-PSK:+PSK",
                                "NORMAL:-VERS-ALL:+VERS-TLS1.3:-KX-ALL:+ECDHE-PSK:+DHE-PSK"}) {
        TlsSettings settings;
        settings.psk_file = in("psk");
        settings.psk_user = "bob";
        EXPECT_NE(connect({.priority = version, .psk = true}, settings, "").description, "");
    }
}

std::string written(const std::string& name, const std::string& content) {
    auto path = in(name);
    std::ofstream(path) << content;
    return path;
}

std::string load_error(const TlsSettings& settings) {
    const auto loaded = TlsCredentials::load(settings);
    return loaded ? "" : describe(loaded.error());
}

const std::string key = "00112233445566778899aabbccddeeff";

TEST(Tls, AWrongPreSharedKeyIsRefused) {
    TlsSettings settings;
    settings.psk_file = written("wrong.psk", "alice:" + key + "\n");
    EXPECT_EQ(connect({.psk = true}, settings).fault.code, FaultCode::tls_alert);
    settings.psk_file = written("stranger.psk", "eve:" + key + "\n");
    EXPECT_EQ(connect({.psk = true}, settings).fault.code, FaultCode::tls_alert);
}

TEST(Tls, PskFilesAreReadStrictly) {
    const auto error = [](const std::string& content, const std::string& user) {
        TlsSettings settings;
        settings.psk_file = written("read.psk", content);
        settings.psk_user = user;
        return load_error(settings);
    };
    const auto alice = "alice:" + key + "\n";
    EXPECT_EQ(error("alice:" + key + "\r\n", ""), "");
    EXPECT_EQ(error("a:b:c:" + key, "a:b:c"), "");
    EXPECT_EQ(error(alice + "bob:" + key, "bob"), "");
    EXPECT_THAT(error(alice + "bob:11\n", ""), HasSubstr("several users: name one with tls-user"));
    EXPECT_THAT(error(alice + alice, "alice"), HasSubstr("several keys for 'alice'"));
    EXPECT_THAT(error(alice, "bob"), HasSubstr("no key for the user 'bob'"));
    EXPECT_THAT(error("\n\n", ""), HasSubstr("no line of the form user:key"));
    for (const char* bad : {"alice:", "alice:0", "alice:xy", "alice:0x00"})
        EXPECT_THAT(error(bad, ""), HasSubstr("the key of 'alice' is not hexadecimal"));
}

TEST(Tls, FilesThatCannotBeUsedAreNamed) {
    const auto text = written("text.pem", "no certificate\n");
    const auto missing = in("missing.pem");
    TlsSettings settings;
    settings.ca_file = missing;
    EXPECT_EQ(load_error(settings), "cannot use '" + missing + "': No such file or directory");
    settings.ca_file = certificates();
    EXPECT_EQ(load_error(settings), "cannot use '" + certificates() + "': Is a directory");
    settings.ca_file = text;
    EXPECT_EQ(load_error(settings),
              "cannot use '" + text + "': it holds no certificate in PEM form");
    settings = folder_settings();
    settings.client_cert = text;
    EXPECT_EQ(load_error(settings),
              "cannot use '" + text + "': it holds no certificate in PEM form");
    settings = folder_settings();
    settings.client_key = text;
    EXPECT_THAT(load_error(settings), StartsWith("cannot use '" + text + "': "));
    settings = folder_settings();
    settings.client_key.clear();
    EXPECT_THAT(load_error(settings), HasSubstr("there is no client key for it"));
    settings = folder_settings();
    settings.crl_file = text;
    EXPECT_THAT(load_error(settings), StartsWith("cannot use '" + text + "': "));
    settings = {};
    settings.psk_file = missing;
    EXPECT_THAT(load_error(settings), StartsWith("cannot use '" + missing + "': "));
}

TEST(Tls, AKeyOfAnotherCertificateIsNamed) {
    auto settings = folder_settings();
    settings.client_key = in("server-key.pem");
    const auto loaded = TlsCredentials::load(settings);
    ASSERT_FALSE(loaded.ok());
    EXPECT_EQ(loaded.error().code, FaultCode::tls_key_mismatch);
    EXPECT_EQ(describe(loaded.error()), "the key in '" + in("server-key.pem") +
                                            "' does not belong to the certificate in '" +
                                            in("client-cert.pem") + "'");
}

TEST(Tls, AFolderGivesWhatIsInIt) {
    const auto all = folder_settings();
    EXPECT_EQ(all.ca_file, in("ca-cert.pem"));
    EXPECT_EQ(all.crl_file, "");
    EXPECT_EQ(all.client_cert, in("client-cert.pem"));
    EXPECT_EQ(all.client_key, in("client-key.pem"));
    EXPECT_EQ(folder_settings(in("lonely")).client_cert, "");
    EXPECT_EQ(folder_settings(in("revoked")).crl_file, in("revoked/ca-crl.pem"));
}

TEST(Tls, AFarewellInsteadOfAWordSaysThatACertificateIsMissed) {
    for (const char* version : {only_12, only_13}) {
        TlsServer server({.priority = version, .client = GNUTLS_CERT_REQUEST});
        auto opened = TlsStream::open(std::make_unique<ServerStream>(server),
                                      TlsCredentials::load(folder_settings(in("lonely"))).value(),
                                      "localhost", steady_clock::now() + std::chrono::seconds(60));
        ASSERT_TRUE(opened.ok());
        auto& stream = *opened.value();
        server.pump();
        server.say_goodbye();
        std::uint8_t byte = 0;
        const IoSlice into{&byte, 1};
        EXPECT_EQ(stream.receive({&into, 1}).status, IoResult::Status::failed);
        EXPECT_EQ(stream.failure().code, FaultCode::tls_client_certificate_wanted) << version;
    }
}

/// A server that says something else than TLS, or nothing.
Fault meet(const std::string& said, bool hang_up, std::chrono::milliseconds patience,
           bool woken = false) {
    TlsServer server{TlsServer::Options{}};
    server.error = -1;  // it takes no part
    server.out.assign(said.begin(), said.end());
    auto way = std::make_unique<ServerStream>(server);
    way->hang_up = hang_up;
    way->woken = woken;
    const auto opened =
        TlsStream::open(std::move(way), TlsCredentials::load(folder_settings()).value(),
                        "localhost", steady_clock::now() + patience);
    return opened ? Fault{} : opened.error();
}

TEST(Tls, WhateverTheServerSaysInsteadEnds) {
    constexpr std::chrono::seconds patience{60};
    EXPECT_EQ(meet("NBDMAGICIHAVEOPT", false, patience).code, FaultCode::tls_failed);
    EXPECT_EQ(meet(std::string(400'000, '\0'), false, patience).code, FaultCode::tls_failed);
    EXPECT_EQ(meet(std::string(400'000, '\x16'), false, patience).code, FaultCode::tls_failed);
    EXPECT_EQ(meet("", true, patience).code, FaultCode::tls_truncated);
    EXPECT_EQ(meet("", false, std::chrono::milliseconds(20)).code, FaultCode::timed_out);
    EXPECT_EQ(meet("", false, patience, true).code, FaultCode::closed);
    EXPECT_EQ(describe(meet({21, 3, 3, 0, 2, 2, 40}, false, patience)),
              "the server ended TLS with the alert 'handshake failure' (40)");
}

TEST(Tls, AlertsHaveTheirRegisteredNames) {
    EXPECT_EQ(tls::alert_name(40), "handshake failure");
    EXPECT_EQ(tls::alert_name(116), "certificate required");
    EXPECT_EQ(tls::alert_name(255), "unknown alert");
}

TEST(Tls, AddressesAreToldFromNames) {
    for (const char* address : {"127.0.0.1", "::1", "fe80::1%2", "10.1"})
        EXPECT_TRUE(tls::is_ip_address(address)) << address;
    for (const char* name : {"localhost", "a.example", "1and1.com", "", "host."})
        EXPECT_FALSE(tls::is_ip_address(name)) << name;
}

}  // namespace
}  // namespace wnbd::nbd::test
