// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/tls_schannel_store.h"

// Behind wincrypt.h.
#include <ncrypt.h>

#include <cstdio>
#include <cwchar>
#include <iterator>

namespace wnbd::nbd::tls {
namespace {

using Bytes = std::vector<std::uint8_t>;
constexpr std::wstring_view prefix = L"wnbd-";

/// Names no other key: processes come and go, and so do credentials within one.
std::wstring fresh_container() {
    static volatile LONG count = 0;
    wchar_t name[64];
    std::swprintf(name, std::size(name), L"wnbd-%lu-%lld-%ld", ::GetCurrentProcessId(),
                  static_cast<long long>(::GetTickCount64()), ::InterlockedIncrement(&count));
    return name;
}

/// Whether there is surely no such process any more.
bool gone(DWORD process) {
    const HANDLE handle = ::OpenProcess(SYNCHRONIZE, FALSE, process);
    // Of others it may be denied to know anything: they live.
    if (handle == nullptr) return ::GetLastError() == ERROR_INVALID_PARAMETER;
    const bool ended = ::WaitForSingleObject(handle, 0) == WAIT_OBJECT_0;
    ::CloseHandle(handle);
    return ended;
}

bool left_behind(std::wstring_view name) {
    const auto owner = owner_of(name);
    return owner && gone(*owner);
}

void delete_newer(NCRYPT_PROV_HANDLE provider, const std::wstring& container) {
    NCRYPT_KEY_HANDLE key = 0;
    if (::NCryptOpenKey(provider, &key, container.c_str(), 0, NCRYPT_SILENT_FLAG) != 0) return;
    // Frees the handle if it can delete.
    if (::NCryptDeleteKey(key, NCRYPT_SILENT_FLAG) != 0) ::NCryptFreeObject(key);
}

void delete_older(const std::wstring& container, const wchar_t* provider, DWORD type) {
    HCRYPTPROV none = 0;
    ::CryptAcquireContextW(&none, container.c_str(), provider, type,
                           CRYPT_DELETEKEYSET | CRYPT_SILENT);
}

void sweep_newer(NCRYPT_PROV_HANDLE provider) {
    std::vector<std::wstring> names;
    NCryptKeyName* name = nullptr;
    void* place = nullptr;
    while (::NCryptEnumKeys(provider, nullptr, &name, &place, NCRYPT_SILENT_FLAG) == 0) {
        if (left_behind(name->pszName)) names.emplace_back(name->pszName);
        ::NCryptFreeBuffer(name);
    }
    if (place != nullptr) ::NCryptFreeBuffer(place);
    for (const auto& each : names)
        delete_newer(provider, each);
}

void sweep_older() {
    HCRYPTPROV provider = 0;
    if (::CryptAcquireContextW(&provider, nullptr, MS_ENH_RSA_AES_PROV_W, PROV_RSA_AES,
                               CRYPT_VERIFYCONTEXT | CRYPT_SILENT) == 0)
        return;
    std::vector<std::wstring> names;
    char name[MAX_PATH + 1];
    DWORD size = sizeof name;
    for (DWORD flag = CRYPT_FIRST;
         ::CryptGetProvParam(provider, PP_ENUMCONTAINERS, reinterpret_cast<BYTE*>(name), &size,
                             flag) != 0;
         flag = CRYPT_NEXT, size = sizeof name) {
        // Ours are ASCII.
        const std::string_view text(name, ::strnlen(name, sizeof name));
        const std::wstring wide(text.begin(), text.end());
        if (left_behind(wide)) names.push_back(wide);
    }
    ::CryptReleaseContext(provider, 0);
    for (const auto& each : names)
        delete_older(each, MS_ENH_RSA_AES_PROV_W, PROV_RSA_AES);
}

/// The store's status; 0 is good.
DWORD import_newer(const Bytes& pkcs8, std::wstring& container) {
    NCRYPT_PROV_HANDLE provider = 0;
    auto status = ::NCryptOpenStorageProvider(&provider, MS_KEY_STORAGE_PROVIDER, 0);
    if (status != 0) return static_cast<DWORD>(status);
    NCryptBuffer name{static_cast<ULONG>((container.size() + 1) * sizeof(wchar_t)),
                      NCRYPTBUFFER_PKCS_KEY_NAME, container.data()};
    NCryptBufferDesc parameters{NCRYPTBUFFER_VERSION, 1, &name};
    NCRYPT_KEY_HANDLE key = 0;
    status = ::NCryptImportKey(provider, 0, NCRYPT_PKCS8_PRIVATE_KEY_BLOB, &parameters, &key,
                               const_cast<BYTE*>(pkcs8.data()), static_cast<DWORD>(pkcs8.size()),
                               NCRYPT_SILENT_FLAG | NCRYPT_OVERWRITE_KEY_FLAG);
    if (status == 0) {
        ::NCryptFreeObject(key);
        sweep_newer(provider);
    }
    ::NCryptFreeObject(provider);
    return static_cast<DWORD>(status);
}

/// RSA, in CryptoAPI's own form. Never to be exported: neither Windows's Schannel nor Wine's, which
/// reads the store's registry keys, needs that. The system's error; 0 is good.
DWORD import_older(const Bytes& blob, const std::wstring& container) {
    sweep_older();
    HCRYPTPROV provider = 0;
    if (::CryptAcquireContextW(&provider, container.c_str(), MS_ENH_RSA_AES_PROV_W, PROV_RSA_AES,
                               CRYPT_NEWKEYSET | CRYPT_SILENT) == 0)
        return ::GetLastError();
    HCRYPTKEY key = 0;
    const bool imported =
        ::CryptImportKey(provider, blob.data(), static_cast<DWORD>(blob.size()), 0, 0, &key) != 0;
    const DWORD error = imported ? 0 : ::GetLastError();
    if (imported) ::CryptDestroyKey(key);
    ::CryptReleaseContext(provider, 0);
    if (!imported) delete_older(container, MS_ENH_RSA_AES_PROV_W, PROV_RSA_AES);
    return error;
}

}  // namespace

std::optional<DWORD> owner_of(std::wstring_view key_name) {
    // wnbd-PROCESS-TICKS-COUNT
    if (!key_name.starts_with(prefix)) return {};
    key_name.remove_prefix(prefix.size());
    std::uint64_t process = 0;
    for (unsigned part = 0; part < 3; ++part) {
        const auto end = part < 2 ? key_name.find(L'-') : key_name.size();
        if (end == 0 || end == std::wstring_view::npos) return {};
        const auto digits = key_name.substr(0, end);
        if (digits.find_first_not_of(L"0123456789") != std::wstring_view::npos) return {};
        if (part == 0 && end > 10) return {};
        for (const auto digit : digits)
            if (part == 0) process = process * 10 + static_cast<std::uint64_t>(digit - L'0');
        key_name.remove_prefix(part < 2 ? end + 1 : end);
    }
    if (process == 0 || process > MAXDWORD) return {};
    return static_cast<DWORD>(process);
}

StoredKey::StoredKey(const CRYPT_KEY_PROV_INFO& info)
    : container_(info.pwszContainerName),
      provider_(info.pwszProvName != nullptr ? info.pwszProvName : L""),
      type_(info.dwProvType),
      spec_(info.dwKeySpec) {}

StoredKey::~StoredKey() {
    if (container_.empty()) return;
    if (type_ != 0) {
        delete_older(container_, provider_.empty() ? nullptr : provider_.c_str(), type_);
        return;
    }
    NCRYPT_PROV_HANDLE provider = 0;
    if (::NCryptOpenStorageProvider(&provider, provider_.c_str(), 0) != 0) return;
    delete_newer(provider, container_);
    ::NCryptFreeObject(provider);
}

bool StoredKey::join(const CERT_CONTEXT& certificate) {
    CRYPT_KEY_PROV_INFO info{};
    info.pwszContainerName = container_.data();
    info.pwszProvName = provider_.data();
    info.dwProvType = type_;
    info.dwKeySpec = spec_;
    return ::CertSetCertificateContextProperty(&certificate, CERT_KEY_PROV_INFO_PROP_ID, 0,
                                               &info) != 0;
}

Result<StoredKey, DWORD> store_key(const Bytes& pkcs8, const Bytes& rsa) {
    auto container = fresh_container();
    std::wstring provider = MS_KEY_STORAGE_PROVIDER;
    CRYPT_KEY_PROV_INFO info{};
    info.pwszContainerName = container.data();
    auto error = import_newer(pkcs8, container);
    if (error != 0 && !rsa.empty()) {
        provider = MS_ENH_RSA_AES_PROV_W;
        info.dwProvType = PROV_RSA_AES;
        info.dwKeySpec = AT_KEYEXCHANGE;
        error = import_older(rsa, container);
    }
    if (error != 0) return Failure{error};
    info.pwszProvName = provider.data();
    return StoredKey(info);
}

}  // namespace wnbd::nbd::tls
