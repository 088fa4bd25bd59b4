// SPDX-License-Identifier: LGPL-2.1-or-later
// TLS for a connection to a server, fed with bytes: GnuTLS natively, Schannel on Windows.
#pragma once

#include <cstddef>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

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
    std::string ca_file;      // PEM; empty: what the system trusts
    std::string client_cert;  // PEM, with its chain; on Windows a PFX file may stand here
    std::string client_key;   // PEM; empty with a PFX file
    std::string psk_file;     // lines of user:hexadecimal key; GnuTLS only
    std::string psk_user;     // the file's line
    std::string hostname;     // that the certificate must name; empty: the host of the address

    /// Sets the three file names as libnbd and qemu lay them out in one folder: ca-cert.pem,
    /// client-cert.pem, client-key.pem. The client's two are used if they are there.
    void use_certificate_folder(const std::string& folder);
};

/// Credentials read once, for many connections. Immutable, shared by threads.
class TlsCredentials {
  public:
    /// Reads the files. The error is one line that names the file and what is wrong with it.
    [[nodiscard]] static Result<std::shared_ptr<const TlsCredentials>, Fault> load(
        const TlsSettings& settings);
    virtual ~TlsCredentials() = default;
};

/// One TLS session as a machine: encrypted bytes in and out, plain bytes in and out. No socket.
/// One thread may encrypt() while another calls receive()/decrypt() once established.
/// Its record buffers are allocated when it is made; what the TLS library allocates inside is its
/// own matter (docs/nbd.md).
class TlsSession {
  public:
    /// `hostname`: for SNI and for the certificate's name, unless the settings say another.
    [[nodiscard]] static Result<std::unique_ptr<TlsSession>, Fault> create(
        std::shared_ptr<const TlsCredentials> credentials, const std::string& hostname);
    virtual ~TlsSession() = default;

    /// Encrypted bytes from the server; returns how many were taken (all, unless full).
    virtual std::size_t receive(std::span<const std::uint8_t> bytes) noexcept = 0;
    /// Where encrypted bytes may be received to directly, instead of receive(); commit with
    /// received(). Never empty unless plain bytes wait to be taken.
    [[nodiscard]] virtual std::span<std::uint8_t> receive_window() noexcept = 0;
    virtual void received(std::size_t count) noexcept = 0;

    /// Goes on with the handshake: Ok(true) once established. The certificate has been checked
    /// then.
    [[nodiscard]] virtual Result<bool, Fault> handshake() = 0;

    /// Encrypts as much of the slices as fits the outgoing buffer; returns plain bytes taken.
    [[nodiscard]] virtual Result<std::size_t, Fault> encrypt(
        std::span<const IoSlice> slices) noexcept = 0;
    /// Encrypted bytes to be sent, until sent() confirms them. The sender's.
    [[nodiscard]] virtual std::span<const std::uint8_t> output() const noexcept = 0;
    virtual void sent(std::size_t count) noexcept = 0;

    enum class Incoming : std::uint8_t { data, more_needed, closed };
    struct Decrypted {
        Incoming state = Incoming::more_needed;
        std::size_t bytes = 0;
    };
    /// Decrypts into the slices what has been received. `closed`: the peer's close_notify came.
    [[nodiscard]] virtual Result<Decrypted, Fault> decrypt(
        std::span<const IoSlice> slices) noexcept = 0;

    /// Puts a close_notify into the outgoing buffer.
    virtual void close() noexcept = 0;
    /// For messages: "TLS 1.3 AES-256-GCM".
    [[nodiscard]] virtual std::string description() const = 0;
};

}  // namespace wnbd::nbd
