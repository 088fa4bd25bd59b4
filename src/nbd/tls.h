// SPDX-License-Identifier: LGPL-2.1-or-later
// TLS for a connection to a server, fed with bytes: GnuTLS natively, Schannel on Windows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>

#include "base/result.h"
#include "nbd/fault.h"
#include "nbd/io_slice.h"

namespace wnbd::nbd {

enum class TlsMode : std::uint8_t {
    off,      // never; a server that insists is refused by name
    prefer,   // when the server has it; a server without it is used in plain text
    require,  // or no connection
};

/// Who we are and whom we trust. File names are UTF-8. Empty: not used.
struct TlsSettings {
    TlsMode mode = TlsMode::off;
    bool verify_peer = true;  // the server's certificate against the CA and its name
    std::string ca_file;      // PEM, one or more; empty: what the system trusts
    std::string crl_file;     // PEM: certificates that the CA has revoked
    std::string client_cert;  // PEM, with its chain; on Windows a PFX file may stand here
    std::string client_key;   // PEM; empty with a PFX file
    std::string psk_file;     // lines of user:hexadecimal key, instead of certificates; GnuTLS only
    std::string psk_user;     // the file's line; may be empty when there is but one
    std::string hostname;     // that the certificate must name; empty: the host of the address

    /// Sets the file names as libnbd, nbdkit and qemu lay them out in one folder: ca-cert.pem,
    /// ca-crl.pem, client-cert.pem and client-key.pem, on Windows also client.pfx. All but the
    /// first are used if they are there.
    void use_certificate_folder(const std::string& folder);
};

/// Credentials read once, for many connections. Immutable, shared by threads.
class TlsCredentials {
  public:
    /// Reads the files. The fault names the file and what is wrong with it.
    [[nodiscard]] static Result<std::shared_ptr<const TlsCredentials>, Fault> load(
        const TlsSettings& settings);
    virtual ~TlsCredentials() = default;
};

/// One TLS session as a machine: encrypted bytes in and out, plain bytes in and out. No socket.
/// Once established, one thread may use the sending side (encrypt, output, sent, close) while
/// another uses the receiving side. Its buffers are allocated when it is made; what the TLS library
/// allocates inside is its own matter (docs/nbd-tls.md).
class TlsSession {
  public:
    /// The most plain bytes in one record, and what a record can be longer than them.
    static constexpr std::size_t record_plain_max = 16'384;
    static constexpr std::size_t record_extra_max = 5 + 2'048;
    /// Encrypted bytes: some records at a time into one system call.
    static constexpr std::size_t buffer_size =
        std::size_t{16} * (record_plain_max + record_extra_max);

    /// `hostname`: for SNI and for the certificate's name, unless the settings say another. Without
    /// either (a Unix socket) the certificate's chain alone is checked.
    [[nodiscard]] static Result<std::unique_ptr<TlsSession>, Fault> create(
        std::shared_ptr<const TlsCredentials> credentials, const std::string& hostname);
    virtual ~TlsSession() = default;

    /// Where encrypted bytes from the server go. Empty only while decrypt() has whole records to
    /// take.
    [[nodiscard]] virtual std::span<std::uint8_t> receive_window() noexcept = 0;
    virtual void received(std::size_t count) noexcept = 0;

    /// Goes on with the handshake: true once established, and then the certificate has been
    /// checked. Whatever it says, output() may have something to send: an alert, too.
    [[nodiscard]] virtual Result<bool, Fault> handshake() = 0;

    /// Encrypts as much of the slices as fits the outgoing buffer; returns plain bytes taken.
    [[nodiscard]] virtual Result<std::size_t, Fault> encrypt(
        std::span<const IoSlice> slices) noexcept = 0;
    /// Encrypted bytes that sent() has not confirmed.
    [[nodiscard]] virtual std::span<const std::uint8_t> output() const noexcept = 0;
    virtual void sent(std::size_t count) noexcept = 0;
    /// Puts a close_notify into the outgoing buffer, if it can.
    virtual void close() noexcept = 0;

    enum class Incoming : std::uint8_t {
        data,         // `bytes` are more than none
        more_needed,  // no whole record is there
        closed,       // the peer's close_notify
    };
    struct Decrypted {
        Incoming state = Incoming::more_needed;
        std::size_t bytes = 0;
        bool more = false;  // call again before waiting for the server
    };
    /// Decrypts into the slices what has been received, until they are full.
    [[nodiscard]] virtual Result<Decrypted, Fault> decrypt(
        std::span<const IoSlice> slices) noexcept = 0;

    /// The peer ended the connection without a close_notify: what that means. Thread-safe.
    [[nodiscard]] virtual Fault truncated() const = 0;

    /// For messages: "TLS 1.3, AES-256-GCM".
    [[nodiscard]] virtual std::string description() const = 0;
};

}  // namespace wnbd::nbd
