// SPDX-License-Identifier: LGPL-2.1-or-later
#include <cstdio>
#include <string_view>
#include <vector>

#include "nbd/socket.h"
#include "nbd/tls_pem.h"
#include "nbd/tls_schannel.h"
#include "nbd/tls_text.h"

namespace wnbd::nbd::tls {
namespace {

constexpr DWORD protocols = SP_PROT_TLS1_2_CLIENT | SP_PROT_TLS1_3_CLIENT;
constexpr DWORD credential_flags =
    SCH_CRED_MANUAL_CRED_VALIDATION | SCH_CRED_NO_DEFAULT_CREDS | SCH_USE_STRONG_CRYPTO;

Store memory_store() {
    return Store(::CertOpenStore(CERT_STORE_PROV_MEMORY, 0, 0, 0, nullptr));
}

SECURITY_STATUS acquire_with(void* data, CredHandle& handle) {
    TimeStamp expiry;
    wchar_t package[] = UNISP_NAME_W;
    return ::AcquireCredentialsHandleW(nullptr, package, SECPKG_CRED_OUTBOUND, nullptr, data,
                                       nullptr, nullptr, &handle, &expiry);
}

}  // namespace

std::wstring wide(const std::string& utf8) {
    const auto size = static_cast<int>(utf8.size());
    std::wstring text(utf8.size(), L'\0');
    const int used = ::MultiByteToWideChar(CP_UTF8, 0, utf8.data(), size, text.data(), size);
    text.resize(static_cast<std::size_t>(used));
    return text;
}

std::string narrow(const wchar_t* text) {
    const int size = ::WideCharToMultiByte(CP_UTF8, 0, text, -1, nullptr, 0, nullptr, nullptr);
    if (size <= 1) return {};
    std::string utf8(static_cast<std::size_t>(size), '\0');
    ::WideCharToMultiByte(CP_UTF8, 0, text, -1, utf8.data(), size, nullptr, nullptr);
    utf8.pop_back();
    return utf8;
}

std::string status_text(DWORD status) {
    char number[16];
    std::snprintf(number, sizeof number, "0x%08lx", static_cast<unsigned long>(status));
    return system_error_text(static_cast<int>(status)) + " (" + number + ")";
}

SchannelCredentials::~SchannelCredentials() {
    if (acquired_) ::FreeCredentialsHandle(&handle_);
}

Fault SchannelCredentials::read() {
    if (!settings_.psk_file.empty())
        return {.code = FaultCode::unsupported,
                .text = "pre-shared keys in Windows's TLS; use certificates (tls-certificates)"};
    if (auto fault = read_trust(); fault.code != FaultCode::none) return fault;
    if (!settings_.client_cert.empty() || !settings_.client_key.empty()) {
        if (settings_.client_cert.empty())
            return file_fault(settings_.client_key, "there is no client certificate for it");
        auto identity = load_identity(settings_.client_cert, settings_.client_key);
        if (!identity) return identity.error();
        identity_ = std::move(identity.value());
    }
    return acquire();
}

Fault SchannelCredentials::read_trust() {
    if (!settings_.ca_file.empty()) {
        auto content = read_file(settings_.ca_file);
        if (!content) return content.error();
        authorities_ = memory_store();
        unsigned count = 0;
        for (const auto& block : read_pem(content.value()))
            if (block.label == "CERTIFICATE" &&
                ::CertAddEncodedCertificateToStore(
                    authorities_.get(), X509_ASN_ENCODING, block.data.data(),
                    static_cast<DWORD>(block.data.size()), CERT_STORE_ADD_ALWAYS, nullptr) != 0)
                ++count;
        if (count == 0) return file_fault(settings_.ca_file, "it holds no certificate in PEM form");
    }
    if (!settings_.crl_file.empty()) {
        auto content = read_file(settings_.crl_file);
        if (!content) return content.error();
        revocations_ = memory_store();
        unsigned count = 0;
        for (const auto& block : read_pem(content.value()))
            if (block.label == "X509 CRL" &&
                ::CertAddEncodedCRLToStore(revocations_.get(), X509_ASN_ENCODING, block.data.data(),
                                           static_cast<DWORD>(block.data.size()),
                                           CERT_STORE_ADD_ALWAYS, nullptr) != 0)
                ++count;
        if (count == 0) return file_fault(settings_.crl_file, "it holds no revocation list");
    }
    return {};
}

Fault SchannelCredentials::acquire() {
    const CERT_CONTEXT* ours = identity_.certificate.get();

    // The newer form is the only one that speaks TLS 1.3 on Windows; Windows before 1809 has the
    // older one, and so has Wine.
    TLS_PARAMETERS parameters{};
    parameters.grbitDisabledProtocols = ~protocols;
    SCH_CREDENTIALS newer{};
    newer.dwVersion = SCH_CREDENTIALS_VERSION;
    newer.dwFlags = credential_flags;
    newer.cTlsParameters = 1;
    newer.pTlsParameters = &parameters;
    SCHANNEL_CRED older{};
    older.dwVersion = SCHANNEL_CRED_VERSION;
    older.dwFlags = credential_flags;
    if (ours != nullptr) {
        newer.cCreds = older.cCreds = 1;
        newer.paCred = older.paCred = &ours;
    }
    auto status = acquire_with(&newer, handle_);
    for (const DWORD enabled : {protocols, static_cast<DWORD>(SP_PROT_TLS1_2_CLIENT)}) {
        if (status == SEC_E_OK) break;
        older.grbitEnabledProtocols = enabled;
        status = acquire_with(&older, handle_);
    }
    if (status != SEC_E_OK)
        return failed_fault("no credentials from Schannel: " +
                            status_text(static_cast<DWORD>(status)));
    acquired_ = true;
    return {};
}

}  // namespace wnbd::nbd::tls

namespace wnbd::nbd {

Result<std::shared_ptr<const TlsCredentials>, Fault> TlsCredentials::load(
    const TlsSettings& settings) {
    auto credentials = std::make_shared<tls::SchannelCredentials>(settings);
    if (auto fault = credentials->read(); fault.code != FaultCode::none)
        return Failure{std::move(fault)};
    return std::shared_ptr<const TlsCredentials>(std::move(credentials));
}

}  // namespace wnbd::nbd
