// SPDX-License-Identifier: LGPL-2.1-or-later
// What Schannel is told not to check itself, because it knows no private CA: the server's chain,
// its dates, its purpose, its revocation by a given list, its name.
#include <winsock2.h>
// Behind winsock2.h.
#include <ws2tcpip.h>

#include <array>
#include <cstring>
#include <span>
#include <vector>

#include "nbd/tls_schannel.h"
#include "nbd/tls_text.h"

namespace wnbd::nbd::tls {
namespace {

/// With the system's trust Windows may fetch a CA's certificate from where the server's says it is,
/// or from its own updates. Each fetch may take so long, instead of 15 s. Milliseconds.
constexpr DWORD fetch_time_max = 4'000;

struct FreeEngine {
    void operator()(void* engine) const noexcept { ::CertFreeCertificateChainEngine(engine); }
};
using Engine = std::unique_ptr<void, FreeEngine>;
struct FreeChain {
    void operator()(const CERT_CHAIN_CONTEXT* chain) const noexcept {
        ::CertFreeCertificateChain(chain);
    }
};
using Chain = std::unique_ptr<const CERT_CHAIN_CONTEXT, FreeChain>;

std::int64_t unix_time(const FILETIME& time) noexcept {
    constexpr std::int64_t ticks_per_second = 10'000'000;
    constexpr std::int64_t from_1601_to_1970 = 11'644'473'600;
    const auto ticks = static_cast<std::int64_t>(time.dwHighDateTime) << 32 | time.dwLowDateTime;
    return ticks / ticks_per_second - from_1601_to_1970;
}

/// An engine that trusts the given CAs and nobody else; null where the system has no such thing.
Engine private_engine(HCERTSTORE authorities) {
    constexpr DWORD cas_that_are_no_roots = 1;  // CERT_CHAIN_EXCLUSIVE_ENABLE_CA_FLAG
    CERT_CHAIN_ENGINE_CONFIG config{};
    config.hExclusiveRoot = authorities;
    config.dwExclusiveFlags = cas_that_are_no_roots;
    config.dwFlags = CERT_CHAIN_CACHE_ONLY_URL_RETRIEVAL;
    HCERTCHAINENGINE engine = nullptr;
    for (const auto size : {sizeof config, offsetof(CERT_CHAIN_ENGINE_CONFIG, dwExclusiveFlags)}) {
        config.cbSize = static_cast<DWORD>(size);
        if (::CertCreateCertificateChainEngine(&config, &engine) != 0) return Engine(engine);
    }
    return nullptr;
}

/// The elements of the first simple chain, the server's own first.
std::span<PCERT_CHAIN_ELEMENT const> elements(const CERT_CHAIN_CONTEXT& chain) {
    if (chain.cChain == 0) return {};
    return {chain.rgpChain[0]->rgpElement, chain.rgpChain[0]->cElement};
}

/// Whether the chain has come to one of the CAs that we were given: byte for byte, since a system
/// may take certificates of the same issuer and serial number for the same.
bool anchored(const CERT_CHAIN_CONTEXT& chain, HCERTSTORE authorities) {
    const auto all = elements(chain);
    if (all.empty()) return false;
    const auto& end = *all.back()->pCertContext;
    const CERT_CONTEXT* authority = nullptr;
    while ((authority = ::CertEnumCertificatesInStore(authorities, authority)) != nullptr) {
        if (authority->cbCertEncoded != end.cbCertEncoded ||
            std::memcmp(authority->pbCertEncoded, end.pbCertEncoded, end.cbCertEncoded) != 0)
            continue;
        ::CertFreeCertificateContext(authority);
        return true;
    }
    return false;
}

bool revoked(const CERT_CHAIN_CONTEXT& chain, HCERTSTORE revocations) {
    const CRL_CONTEXT* list = nullptr;
    while ((list = ::CertEnumCRLsInStore(revocations, list)) != nullptr) {
        for (auto* const element : elements(chain)) {
            const auto& certificate = *element->pCertContext;
            CRL_ENTRY* entry = nullptr;
            if (::CertCompareCertificateName(X509_ASN_ENCODING, &list->pCrlInfo->Issuer,
                                             &certificate.pCertInfo->Issuer) == 0 ||
                ::CertFindCertificateInCRL(&certificate, list, 0, nullptr, &entry) == 0 ||
                entry == nullptr)
                continue;
            ::CertFreeCRLContext(list);
            return true;
        }
    }
    return false;
}

Fault date_fault(const CERT_CHAIN_CONTEXT& chain) {
    for (auto* const element : elements(chain)) {
        if ((element->TrustStatus.dwErrorStatus & CERT_TRUST_IS_NOT_TIME_VALID) == 0) continue;
        auto& info = *element->pCertContext->pCertInfo;
        return ::CertVerifyTimeValidity(nullptr, &info) < 0
                   ? not_yet_valid_fault(unix_time(info.NotBefore))
                   : expired_fault(unix_time(info.NotAfter));
    }
    return untrusted_fault("its dates are not good");
}

Fault chain_fault(const CERT_CHAIN_CONTEXT& chain, const SchannelCredentials& credentials) {
    constexpr DWORD no_end = CERT_TRUST_IS_UNTRUSTED_ROOT | CERT_TRUST_IS_PARTIAL_CHAIN;
    const auto& settings = credentials.settings();
    DWORD errors = chain.TrustStatus.dwErrorStatus;
    // Nobody asked for revocation lists from the network.
    errors &= ~static_cast<DWORD>(CERT_TRUST_REVOCATION_STATUS_UNKNOWN |
                                  CERT_TRUST_IS_OFFLINE_REVOCATION);
    if (credentials.authorities() != nullptr) {
        if (!anchored(chain, credentials.authorities())) return unknown_ca_fault(settings.ca_file);
        errors &= ~no_end;
    }
    if ((errors & no_end) != 0) return unknown_ca_fault(settings.ca_file);
    if ((errors & CERT_TRUST_IS_REVOKED) != 0 ||
        (credentials.revocations() != nullptr && revoked(chain, credentials.revocations())))
        return revoked_fault(settings.crl_file);
    if ((errors & CERT_TRUST_IS_NOT_SIGNATURE_VALID) != 0)
        return untrusted_fault("a signature is wrong");
    if ((errors & CERT_TRUST_IS_NOT_TIME_VALID) != 0) return date_fault(chain);
    if ((errors & CERT_TRUST_IS_NOT_VALID_FOR_USAGE) != 0)
        return untrusted_fault("it is not made for a server");
    if (errors != 0) return untrusted_fault("trust status " + status_text(errors));
    return {};
}

/// The names in the certificate; addresses as their bytes.
struct Names {
    std::string text;  // DNS names for a message
    std::vector<std::vector<std::uint8_t>> addresses;
};

Names names_of(const CERT_CONTEXT& certificate) {
    Names names;
    const auto& info = *certificate.pCertInfo;
    const auto* const extension =
        ::CertFindExtension(szOID_SUBJECT_ALT_NAME2, info.cExtension, info.rgExtension);
    if (extension == nullptr) return names;
    DWORD size = 0;
    CERT_ALT_NAME_INFO* decoded = nullptr;
    if (::CryptDecodeObjectEx(X509_ASN_ENCODING, X509_ALTERNATE_NAME, extension->Value.pbData,
                              extension->Value.cbData, CRYPT_DECODE_ALLOC_FLAG, nullptr,
                              static_cast<void*>(&decoded), &size) == 0)
        return names;
    for (const auto& entry : std::span(decoded->rgAltEntry, decoded->cAltEntry)) {
        if (entry.dwAltNameChoice == CERT_ALT_NAME_DNS_NAME) {
            if (!names.text.empty()) names.text += ", ";
            names.text += "'" + narrow(entry.pwszDNSName) + "'";
        } else if (entry.dwAltNameChoice == CERT_ALT_NAME_IP_ADDRESS) {
            const auto& bytes = entry.IPAddress;
            names.addresses.emplace_back(bytes.pbData, bytes.pbData + bytes.cbData);
        }
    }
    ::LocalFree(decoded);
    return names;
}

/// An address must stand among the certificate's as what it is, not as a name.
bool has_address(const Names& names, const std::string& host) {
    std::array<std::uint8_t, 16> bytes{};
    std::size_t size = 0;
    if (::inet_pton(AF_INET, host.c_str(), bytes.data()) == 1)
        size = 4;
    else if (::inet_pton(AF_INET6, host.substr(0, host.find('%')).c_str(), bytes.data()) == 1)
        size = 16;
    for (const auto& address : names.addresses)
        if (size > 0 && address.size() == size &&
            std::memcmp(address.data(), bytes.data(), size) == 0)
            return true;
    return false;
}

/// By the rules for web servers, of which the name is what is left to check.
Fault name_fault(const CERT_CHAIN_CONTEXT& chain, const CERT_CONTEXT& certificate,
                 const std::string& hostname) {
    const auto names = names_of(certificate);
    if (is_ip_address(hostname)) {
        if (has_address(names, hostname)) return {};
        return wrong_name_fault(names.text, hostname);
    }
    auto name = wide(hostname);
    HTTPSPolicyCallbackData server{};
    server.cbStruct = sizeof server;
    server.dwAuthType = AUTHTYPE_SERVER;
    server.fdwChecks = 0x00000100;  // SECURITY_FLAG_IGNORE_UNKNOWN_CA: our CA is checked above
    server.pwszServerName = name.data();
    CERT_CHAIN_POLICY_PARA parameters{};
    parameters.cbSize = sizeof parameters;
    parameters.dwFlags =
        CERT_CHAIN_POLICY_ALLOW_UNKNOWN_CA_FLAG | CERT_CHAIN_POLICY_IGNORE_ALL_REV_UNKNOWN_FLAGS;
    parameters.pvExtraPolicyPara = &server;
    CERT_CHAIN_POLICY_STATUS status{};
    status.cbSize = sizeof status;
    if (::CertVerifyCertificateChainPolicy(CERT_CHAIN_POLICY_SSL, &chain, &parameters, &status) ==
        0)
        return untrusted_fault(status_text(::GetLastError()));
    if (status.dwError == static_cast<DWORD>(CERT_E_CN_NO_MATCH))
        return wrong_name_fault(names.text, hostname);
    if (status.dwError != 0) return untrusted_fault(status_text(status.dwError));
    return {};
}

}  // namespace

Fault verify_server(const CERT_CONTEXT& certificate, const SchannelCredentials& credentials,
                    const std::string& hostname) {
    Engine engine;
    DWORD flags = 0;
    HCERTSTORE more = certificate.hCertStore;  // what the server sent along
    Store joined;
    if (credentials.authorities() != nullptr) {
        engine = private_engine(credentials.authorities());
        // Where there is no engine of our own the chain may end anywhere; anchored() decides.
        flags = CERT_CHAIN_CACHE_ONLY_URL_RETRIEVAL;
        joined.reset(::CertOpenStore(CERT_STORE_PROV_COLLECTION, 0, 0, 0, nullptr));
        ::CertAddStoreToCollection(joined.get(), credentials.authorities(), 0, 0);
        if (more != nullptr) ::CertAddStoreToCollection(joined.get(), more, 0, 0);
        more = joined.get();
    }
    char server_use[] = szOID_PKIX_KP_SERVER_AUTH;
    char* uses[] = {server_use};
    CERT_CHAIN_PARA parameters{};
    parameters.cbSize = sizeof parameters;
    parameters.RequestedUsage.dwType = USAGE_MATCH_TYPE_OR;
    parameters.RequestedUsage.Usage.cUsageIdentifier = 1;
    parameters.RequestedUsage.Usage.rgpszUsageIdentifier = uses;
    parameters.dwUrlRetrievalTimeout = fetch_time_max;
    const CERT_CHAIN_CONTEXT* built = nullptr;
    if (::CertGetCertificateChain(engine.get(), &certificate, nullptr, more, &parameters, flags,
                                  nullptr, &built) == 0)
        return untrusted_fault(status_text(::GetLastError()));
    const Chain chain(built);
    if (auto fault = chain_fault(*chain, credentials); fault.code != FaultCode::none) return fault;
    if (hostname.empty()) return {};
    return name_fault(*chain, certificate, hostname);
}

}  // namespace wnbd::nbd::tls
