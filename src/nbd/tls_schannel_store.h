// SPDX-License-Identifier: LGPL-2.1-or-later
// The user's key stores, in which Schannel, which signs in another process, finds a client's key:
// it can use no other. Private to the tls_schannel files.
#pragma once

#include <windows.h>
// Behind windows.h.
#include <wincrypt.h>

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace wnbd::nbd::tls {

/// The name of a key that was put into a key store for as long as we need it. Deleted at the end.
class StoredKey {
  public:
    StoredKey() = default;
    explicit StoredKey(const CRYPT_KEY_PROV_INFO& info);
    StoredKey(StoredKey&& other) noexcept { *this = std::move(other); }
    StoredKey& operator=(StoredKey&& other) noexcept {
        std::swap(container_, other.container_);
        std::swap(provider_, other.provider_);
        std::swap(type_, other.type_);
        std::swap(spec_, other.spec_);
        return *this;
    }
    ~StoredKey();

    /// Makes it the certificate's.
    [[nodiscard]] bool join(const CERT_CONTEXT& certificate);

  private:
    std::wstring container_;
    std::wstring provider_;
    DWORD type_ = 0;  // 0: the newer store
    DWORD spec_ = 0;
};

/// Puts a key into the newer store, which signs for TLS 1.3 and knows elliptic curves; an RSA key
/// where that fails into the older one. Deletes there what processes that are gone have left.
/// `pkcs8`: the key; `rsa`: the same in CryptoAPI's form, empty if it is no RSA key. The error is
/// the newer store's status, or the older one's if both were asked.
[[nodiscard]] Result<StoredKey, DWORD> store_key(const std::vector<std::uint8_t>& pkcs8,
                                                 const std::vector<std::uint8_t>& rsa);

/// The process whose key this is, by its name; none if it is no key of ours.
[[nodiscard]] std::optional<DWORD> owner_of(std::wstring_view key_name);

}  // namespace wnbd::nbd::tls
