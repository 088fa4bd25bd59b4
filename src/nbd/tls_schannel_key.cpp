// SPDX-License-Identifier: LGPL-2.1-or-later
// Client certificates for Schannel: from PFX, and from PEM files as everybody else has them.
#include <cstring>
#include <string_view>
#include <vector>

#include "nbd/tls_pem.h"
#include "nbd/tls_schannel.h"
#include "nbd/tls_text.h"

namespace wnbd::nbd::tls {
namespace {

using Bytes = std::vector<std::uint8_t>;
constexpr DWORD encodings = X509_ASN_ENCODING | PKCS_7_ASN_ENCODING;

/// A structure of crypt32's, which lives as long as its bytes.
Bytes decode(const char* type, const Bytes& der) {
    DWORD size = 0;
    if (::CryptDecodeObjectEx(encodings, type, der.data(), static_cast<DWORD>(der.size()), 0,
                              nullptr, nullptr, &size) == 0)
        return {};
    Bytes decoded(size);
    if (::CryptDecodeObjectEx(encodings, type, der.data(), static_cast<DWORD>(der.size()), 0,
                              nullptr, decoded.data(), &size) == 0)
        return {};
    decoded.resize(size);
    return decoded;
}

Bytes bytes_of(const BYTE* data, DWORD size) {
    return {data, data + size};
}

/// The modulus in a key blob of CryptoAPI: behind the two headers, as long as its bits say.
Bytes modulus(const Bytes& blob) {
    constexpr std::size_t head = sizeof(BLOBHEADER) + sizeof(RSAPUBKEY);
    if (blob.size() < head) return {};
    RSAPUBKEY key;
    std::memcpy(&key, blob.data() + sizeof(BLOBHEADER), sizeof key);
    const std::size_t size = key.bitlen / 8;
    if (size > blob.size() - head) return {};
    const auto* const start = blob.data() + head;
    return {start, start + size};
}

/// The key of the file as PKCS #8.
Result<Bytes, Fault> read_key(const std::string& key_file) {
    constexpr const char* rewrite = "; write it with: openssl pkcs8 -topk8 -nocrypt";
    auto content = read_file(key_file);
    if (!content) return Failure{content.error()};
    for (auto& block : read_pem(content.value())) {
        if (block.label == "PRIVATE KEY" && !block.data.empty()) return std::move(block.data);
        if (block.label == "RSA PRIVATE KEY" && !block.data.empty())
            return wrap_rsa_key(block.data);
        if (block.label == "RSA PRIVATE KEY" || block.label == "ENCRYPTED PRIVATE KEY")
            return Failure{file_fault(key_file, std::string("the key has a password") + rewrite)};
        if (block.label == "EC PRIVATE KEY")
            return Failure{
                file_fault(key_file, std::string("the key is not in the PKCS #8 form") + rewrite)};
    }
    return Failure{file_fault(key_file, "it holds no private key in PEM form")};
}

/// The RSA key as CryptoAPI has it; empty if it is of another kind.
Bytes rsa_blob(const Bytes& pkcs8) {
    const auto pkcs1 = unwrap_rsa_key(pkcs8);
    return pkcs1.empty() ? Bytes{} : decode(PKCS_RSA_PRIVATE_KEY, pkcs1);
}

bool belongs(const CERT_CONTEXT& certificate, const Bytes& key_blob) {
    const auto& info = certificate.pCertInfo->SubjectPublicKeyInfo;
    if (std::string_view(info.Algorithm.pszObjId) != szOID_RSA_RSA) return false;
    const auto theirs = modulus(
        decode(RSA_CSP_PUBLICKEYBLOB, bytes_of(info.PublicKey.pbData, info.PublicKey.cbData)));
    return !theirs.empty() && theirs == modulus(key_blob);
}

/// Asks the key store, for keys that are not RSA.
bool belongs_in_store(const CERT_CONTEXT& certificate) {
    HCRYPTPROV_OR_NCRYPT_KEY_HANDLE key = 0;
    DWORD spec = 0;
    BOOL release = FALSE;
    const bool good = ::CryptAcquireCertificatePrivateKey(&certificate,
                                                          CRYPT_ACQUIRE_ONLY_NCRYPT_KEY_FLAG |
                                                              CRYPT_ACQUIRE_COMPARE_KEY_FLAG |
                                                              CRYPT_ACQUIRE_SILENT_FLAG,
                                                          nullptr, &key, &spec, &release) != 0;
    if (good && release != 0) ::NCryptFreeObject(key);
    return good;
}

std::string no_store(DWORD status, bool curve) {
    const auto why = "Windows's key store does not take it: " + status_text(status);
    return curve ? why + "; make the client's key an RSA key, which every Windows takes" : why;
}

/// Where the certificate's key is, if it has one.
Bytes key_place(const CERT_CONTEXT& certificate) {
    DWORD size = 0;
    if (::CertGetCertificateContextProperty(&certificate, CERT_KEY_PROV_INFO_PROP_ID, nullptr,
                                            &size) == 0)
        return {};
    Bytes place(size);
    if (::CertGetCertificateContextProperty(&certificate, CERT_KEY_PROV_INFO_PROP_ID, place.data(),
                                            &size) == 0)
        return {};
    return place;
}

Result<Identity, Fault> load_pfx(const std::string& file) {
    auto content = read_file(file);
    if (!content) return Failure{content.error()};
    CRYPT_DATA_BLOB blob{static_cast<DWORD>(content.value().size()),
                         reinterpret_cast<BYTE*>(content.value().data())};
    // The newer key store signs for TLS 1.3; Wine has the older one only. No password is an empty
    // one, or none at all.
    Identity identity;
    for (const wchar_t* password : {L"", static_cast<const wchar_t*>(nullptr)}) {
        for (const DWORD flags : {DWORD{PKCS12_ALWAYS_CNG_KSP}, DWORD{0}})
            if (!identity.store) identity.store.reset(::PFXImportCertStore(&blob, password, flags));
    }
    if (!identity.store)
        return Failure{file_fault(
            file, "it is no PFX file without a password: " + status_text(::GetLastError()) +
                      "; make one with: openssl pkcs12 -export -passout pass: "
                      "-in client-cert.pem -inkey client-key.pem -out client.pfx")};
    const CERT_CONTEXT* each = nullptr;
    while ((each = ::CertEnumCertificatesInStore(identity.store.get(), each)) != nullptr) {
        const auto place = key_place(*each);
        if (place.empty()) continue;
        identity.key = StoredKey(*reinterpret_cast<const CRYPT_KEY_PROV_INFO*>(place.data()));
        identity.certificate.reset(each);
        return identity;
    }
    return Failure{file_fault(file, "it holds no certificate with its key")};
}

}  // namespace

Result<StoredKey, Fault> import_key(const CERT_CONTEXT& certificate, const std::string& cert_file,
                                    const std::string& key_file) {
    const auto pkcs8 = read_key(key_file);
    if (!pkcs8) return Failure{pkcs8.error()};
    const auto rsa = rsa_blob(pkcs8.value());
    if (!rsa.empty() && !belongs(certificate, rsa))
        return Failure{key_mismatch_fault(key_file, cert_file)};

    auto stored = store_key(pkcs8.value(), rsa);
    if (!stored) return Failure{file_fault(key_file, no_store(stored.error(), rsa.empty()))};
    if (!stored.value().join(certificate))
        return Failure{failed_fault("the client key: " + status_text(::GetLastError()))};
    if (rsa.empty() && !belongs_in_store(certificate))
        return Failure{key_mismatch_fault(key_file, cert_file)};
    return std::move(stored.value());
}

Result<Identity, Fault> load_identity(const std::string& cert_file, const std::string& key_file) {
    if (key_file.empty()) return load_pfx(cert_file);
    auto content = read_file(cert_file);
    if (!content) return Failure{content.error()};
    Identity identity;
    identity.store.reset(::CertOpenStore(CERT_STORE_PROV_MEMORY, 0, 0, 0, nullptr));
    for (const auto& block : read_pem(content.value())) {
        if (block.label != "CERTIFICATE") continue;
        // The first is ours, what follows leads from it to its CA.
        const CERT_CONTEXT* added = nullptr;
        if (::CertAddEncodedCertificateToStore(
                identity.store.get(), X509_ASN_ENCODING, block.data.data(),
                static_cast<DWORD>(block.data.size()), CERT_STORE_ADD_ALWAYS, &added) == 0)
            return Failure{file_fault(cert_file, "a certificate in it is damaged")};
        Certificate owner(added);
        if (!identity.certificate) identity.certificate = std::move(owner);
    }
    if (!identity.certificate)
        return Failure{file_fault(cert_file, "it holds no certificate in PEM form")};
    auto key = import_key(*identity.certificate, cert_file, key_file);
    if (!key) return Failure{key.error()};
    identity.key = std::move(key.value());
    return identity;
}

}  // namespace wnbd::nbd::tls
