// SPDX-License-Identifier: LGPL-2.1-or-later
// For tests: certificates, a GnuTLS server in memory, and a stream that leads to it. Native only.
#pragma once

#include <gnutls/gnutls.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cerrno>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <filesystem>
#include <stdexcept>
#include <string>
#include <vector>

#include "nbd/stream.h"
#include "nbd/tls.h"

namespace wnbd::nbd::test {

using Bytes = std::vector<std::uint8_t>;

/// The certificates of tests/tls/make_certificates.sh, made once per program.
inline const std::string& certificates() {
    struct Folder {
        Folder() {
            std::string name = (std::filesystem::temp_directory_path() / "wnbd-tls-XXXXXX");
            if (::mkdtemp(name.data()) == nullptr) throw std::runtime_error("no folder");
            path = name;
            const auto command = "sh " WNBD_CERTIFICATE_SCRIPT " " + path;
            if (std::system(command.c_str()) != 0) throw std::runtime_error("no certificates");
        }
        Folder(const Folder&) = delete;
        Folder& operator=(const Folder&) = delete;
        ~Folder() {
            std::error_code ignored;
            std::filesystem::remove_all(path, ignored);
        }
        std::string path;
    };
    static const Folder folder;
    return folder.path;
}

inline void must(int gnutls_result) {
    if (gnutls_result < 0) throw std::runtime_error(::gnutls_strerror(gnutls_result));
}

/// The server's side: bytes in, bytes out.
class TlsServer {
  public:
    struct Options {
        std::string folder = certificates();  // of server-cert.pem and server-key.pem
        const char* priority = "NORMAL:+ECDHE-PSK:+DHE-PSK:+PSK";
        gnutls_certificate_request_t client = GNUTLS_CERT_IGNORE;
        bool psk = false;
    };

    explicit TlsServer(const Options& options) {
        must(::gnutls_init(&session_, GNUTLS_SERVER | GNUTLS_NONBLOCK));
        must(::gnutls_priority_set_direct(session_, options.priority, nullptr));
        if (options.psk) {
            must(::gnutls_psk_allocate_server_credentials(&psk_));
            const auto file = certificates() + "/psk";
            must(::gnutls_psk_set_server_credentials_file(psk_, file.c_str()));
            must(::gnutls_credentials_set(session_, GNUTLS_CRD_PSK, psk_));
        } else {
            must(::gnutls_certificate_allocate_credentials(&x509_));
            const auto cert = options.folder + "/server-cert.pem";
            const auto key = options.folder + "/server-key.pem";
            must(::gnutls_certificate_set_x509_key_file(x509_, cert.c_str(), key.c_str(),
                                                        GNUTLS_X509_FMT_PEM));
            const auto ca = certificates() + "/ca-cert.pem";
            must(::gnutls_certificate_set_x509_trust_file(x509_, ca.c_str(), GNUTLS_X509_FMT_PEM));
            must(::gnutls_credentials_set(session_, GNUTLS_CRD_CERTIFICATE, x509_));
            ::gnutls_certificate_server_set_request(session_, options.client);
            if (options.client == GNUTLS_CERT_REQUIRE)
                ::gnutls_session_set_verify_cert(session_, nullptr, 0);
        }
        ::gnutls_transport_set_ptr(session_, this);
        ::gnutls_transport_set_push_function(session_, push);
        ::gnutls_transport_set_pull_function(session_, pull);
        ::gnutls_transport_set_pull_timeout_function(session_, pull_ready);
    }
    TlsServer(const TlsServer&) = delete;
    TlsServer& operator=(const TlsServer&) = delete;
    ~TlsServer() {
        ::gnutls_deinit(session_);
        if (x509_ != nullptr) ::gnutls_certificate_free_credentials(x509_);
        if (psk_ != nullptr) ::gnutls_psk_free_server_credentials(psk_);
    }

    /// Goes on: the handshake first, then receives into `plain`.
    void pump() {
        if (error != 0) return;
        if (!established) {
            const int result = ::gnutls_handshake(session_);
            if (result == 0) {
                established = true;
            } else if (::gnutls_error_is_fatal(result) != 0) {
                error = result;
                (void)::gnutls_alert_send_appropriate(session_, result);
            }
            if (!established) return;
        }
        for (;;) {
            std::uint8_t piece[20'000];
            const auto got = ::gnutls_record_recv(session_, piece, sizeof piece);
            if (got == 0) ended = true;
            if (got < 0 && ::gnutls_error_is_fatal(static_cast<int>(got)) != 0)
                error = static_cast<int>(got);
            if (got == GNUTLS_E_AGAIN && !in.empty()) continue;  // a message that is no data
            if (got <= 0) return;
            plain.insert(plain.end(), piece, piece + got);
        }
    }
    void write(const Bytes& bytes) {
        std::size_t done = 0;
        while (done < bytes.size()) {
            const auto sent =
                ::gnutls_record_send(session_, bytes.data() + done, bytes.size() - done);
            if (sent > 0) done += static_cast<std::size_t>(sent);
            if (sent < 0 && ::gnutls_error_is_fatal(static_cast<int>(sent)) != 0)
                must(static_cast<int>(sent));
        }
    }
    void say_goodbye() { (void)::gnutls_bye(session_, GNUTLS_SHUT_WR); }
    void alert(gnutls_alert_description_t what) {
        must(::gnutls_alert_send(session_, GNUTLS_AL_FATAL, what));
    }
    void update_key(bool peer_too) {
        must(::gnutls_session_key_update(session_, peer_too ? GNUTLS_KU_PEER : 0U));
    }

    std::deque<std::uint8_t> in;   // encrypted, for the server
    std::deque<std::uint8_t> out;  // encrypted, from it
    Bytes plain;                   // received
    bool established = false;
    bool ended = false;  // the client's close_notify came
    int error = 0;       // of GnuTLS, fatal

  private:
    static ssize_t push(gnutls_transport_ptr_t self, const void* data, std::size_t size) {
        auto& out = static_cast<TlsServer*>(self)->out;
        const auto* const bytes = static_cast<const std::uint8_t*>(data);
        out.insert(out.end(), bytes, bytes + size);
        return static_cast<ssize_t>(size);
    }
    static ssize_t pull(gnutls_transport_ptr_t self, void* data, std::size_t size) {
        auto& in = static_cast<TlsServer*>(self)->in;
        if (in.empty()) {
            errno = EAGAIN;
            return -1;
        }
        const auto count = std::min(size, in.size());
        std::copy_n(in.begin(), count, static_cast<std::uint8_t*>(data));
        in.erase(in.begin(), in.begin() + static_cast<std::ptrdiff_t>(count));
        return static_cast<ssize_t>(count);
    }
    static int pull_ready(gnutls_transport_ptr_t self, unsigned) {
        return static_cast<TlsServer*>(self)->in.empty() ? 0 : 1;
    }

    gnutls_session_t session_ = nullptr;
    gnutls_certificate_credentials_t x509_ = nullptr;
    gnutls_psk_server_credentials_t psk_ = nullptr;
};

/// Leads to a TlsServer, which works when the client waits.
class ServerStream final : public Stream {
  public:
    explicit ServerStream(TlsServer& server) : server_(server) {}

    IoResult send(std::span<const IoSlice> slices) noexcept override {
        ++sends;
        if (down) return {.status = IoResult::Status::failed, .error = EPIPE};
        std::size_t taken = 0;
        for (const auto& slice : slices) {
            const auto count = std::min(slice.size, room - taken);
            server_.in.insert(server_.in.end(), slice.data, slice.data + count);
            taken += count;
        }
        if (room != unlimited) room -= taken;
        if (taken == 0) return {.status = IoResult::Status::would_block};
        return {.bytes = taken};
    }
    IoResult receive(std::span<const IoSlice> slices) noexcept override {
        auto& out = server_.out;
        if (slices.empty() || slices.front().size == 0) ADD_FAILURE() << "no room to receive";
        if (out.empty())
            return {.status = hang_up ? IoResult::Status::closed : IoResult::Status::would_block};
        const auto count = std::min({slices.front().size, out.size(), piece_max});
        std::copy_n(out.begin(), count, slices.front().data);
        out.erase(out.begin(), out.begin() + static_cast<std::ptrdiff_t>(count));
        return {.bytes = count};
    }
    Ready wait(const WaitFor& what) noexcept override {
        ++waits;
        if (woken) return {.woken = true};
        if (room != unlimited) room = room_each;
        server_.pump();
        return {.readable = true, .writable = what.room};
    }
    void wake() noexcept override { woken = true; }
    void shut_down() noexcept override { down = true; }
    void shut_down_send() noexcept override { sending_ended = true; }

    static constexpr std::size_t unlimited = SIZE_MAX;
    std::size_t piece_max = unlimited;  // of one receive
    std::size_t room = unlimited;       // for sending, until the next wait
    std::size_t room_each = unlimited;  // what a wait gives
    bool hang_up = false;               // the end comes after the last byte
    bool down = false;
    bool woken = false;
    bool sending_ended = false;
    unsigned sends = 0;
    unsigned waits = 0;

  private:
    TlsServer& server_;
};

}  // namespace wnbd::nbd::test
