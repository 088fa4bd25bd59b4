// SPDX-License-Identifier: LGPL-2.1-or-later
// Schannel's credentials, of which its sessions are made. Private to the tls_schannel files.
#pragma once

#include <windows.h>
#include <winsock2.h>

// SCH_CREDENTIALS is behind this, and wants UNICODE_STRING.
#include <subauth.h>
#define SCHANNEL_USE_BLACKLISTS
// And CERT_CHAIN_PARA's time-out behind this.
#define CERT_CHAIN_PARA_HAS_EXTRA_FIELDS
#define SECURITY_WIN32
#include <schannel.h>
#include <security.h>
#include <wincrypt.h>
// Behind wincrypt.h.
#include <ncrypt.h>

#include <memory>
#include <string>
#include <utility>

#include "base/result.h"
#include "nbd/fault.h"
#include "nbd/tls.h"
#include "nbd/tls_schannel_store.h"

namespace wnbd::nbd::tls {

struct CloseStore {
    void operator()(void* store) const noexcept { ::CertCloseStore(store, 0); }
};
using Store = std::unique_ptr<void, CloseStore>;

struct FreeCertificate {
    void operator()(const CERT_CONTEXT* certificate) const noexcept {
        ::CertFreeCertificateContext(certificate);
    }
};
using Certificate = std::unique_ptr<const CERT_CONTEXT, FreeCertificate>;

[[nodiscard]] std::wstring wide(const std::string& utf8);
[[nodiscard]] std::string narrow(const wchar_t* text);
/// "The certificate chain ... (0x800b0109)".
[[nodiscard]] std::string status_text(DWORD status);

/// A certificate of ours with its key.
struct Identity {
    Store store;  // of the certificate and its chain
    Certificate certificate;
    StoredKey key;
};
/// From PEM files, or from a PFX file without a password when `key_file` is empty.
[[nodiscard]] Result<Identity, Fault> load_identity(const std::string& cert_file,
                                                    const std::string& key_file);
/// Puts the key of a PEM file into the key store and joins it to the certificate.
[[nodiscard]] Result<StoredKey, Fault> import_key(const CERT_CONTEXT& certificate,
                                                  const std::string& cert_file,
                                                  const std::string& key_file);

class SchannelCredentials final : public TlsCredentials {
  public:
    explicit SchannelCredentials(const TlsSettings& settings) : settings_(settings) {}
    SchannelCredentials(const SchannelCredentials&) = delete;
    SchannelCredentials& operator=(const SchannelCredentials&) = delete;
    ~SchannelCredentials() override;

    /// Reads the files; once.
    [[nodiscard]] Fault read();

    [[nodiscard]] const TlsSettings& settings() const noexcept { return settings_; }
    [[nodiscard]] bool client_certificate() const noexcept {
        return identity_.certificate != nullptr;
    }
    [[nodiscard]] CredHandle& handle() const noexcept { return handle_; }
    /// The given CAs; null: what the system trusts.
    [[nodiscard]] HCERTSTORE authorities() const noexcept { return authorities_.get(); }
    /// The given revocation lists; may be null.
    [[nodiscard]] HCERTSTORE revocations() const noexcept { return revocations_.get(); }

  private:
    [[nodiscard]] Fault read_trust();
    [[nodiscard]] Fault acquire();

    const TlsSettings settings_;
    Store authorities_;
    Store revocations_;
    Identity identity_;
    bool acquired_ = false;
    mutable CredHandle handle_{};  // Schannel's calls take it without const
};

/// Whether the chain and the name of what the server showed are good. `hostname`: empty, no name is
/// checked.
[[nodiscard]] Fault verify_server(const CERT_CONTEXT& certificate,
                                  const SchannelCredentials& credentials,
                                  const std::string& hostname);

}  // namespace wnbd::nbd::tls
