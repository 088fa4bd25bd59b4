// SPDX-License-Identifier: LGPL-2.1-or-later
// GnuTLS's credentials, of which its sessions are made. Private to the tls_gnutls files.
#pragma once

#include <gnutls/gnutls.h>

#include "base/result.h"
#include "nbd/fault.h"
#include "nbd/tls.h"

namespace wnbd::nbd::tls {

class GnutlsCredentials final : public TlsCredentials {
  public:
    explicit GnutlsCredentials(const TlsSettings& settings) : settings_(settings) {}
    GnutlsCredentials(const GnutlsCredentials&) = delete;
    GnutlsCredentials& operator=(const GnutlsCredentials&) = delete;
    ~GnutlsCredentials() override;

    /// Reads the files; once.
    [[nodiscard]] Fault read();

    [[nodiscard]] const TlsSettings& settings() const noexcept { return settings_; }
    [[nodiscard]] bool psk() const noexcept { return psk_ != nullptr; }
    [[nodiscard]] bool client_certificate() const noexcept {
        return !settings_.client_cert.empty();
    }
    /// A GnuTLS error if negative. The credentials must outlive the session.
    [[nodiscard]] int apply(gnutls_session_t session) const noexcept;

  private:
    [[nodiscard]] Fault read_psk();
    [[nodiscard]] Fault read_trust();
    [[nodiscard]] Fault read_client_certificate();

    const TlsSettings settings_;
    gnutls_certificate_credentials_t x509_ = nullptr;
    gnutls_psk_client_credentials_t psk_ = nullptr;
};

}  // namespace wnbd::nbd::tls
