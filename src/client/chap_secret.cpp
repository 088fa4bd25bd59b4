// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/chap_secret.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>

#include "client/text.h"

namespace wnbd::client {
namespace {

constexpr std::size_t shortest = 12;  // 96 bits, RFC 7143, 9.2.1
constexpr std::size_t longest = 255;
constexpr std::size_t longest_of_microsoft = 16;

using Secret = Result<std::string, std::string>;

Secret first_line(const std::string& path) {
    const Failure<std::string> unreadable{"Could not read the secret file " + in_quotes(path) +
                                          ". Check its path and whether you may read it."};
    const std::u8string utf8(path.begin(), path.end());
    std::error_code error;
    // Opening a directory succeeds on some systems.
    if (!std::filesystem::is_regular_file(std::filesystem::path(utf8), error)) return unreadable;
    std::ifstream file(std::filesystem::path(utf8), std::ios::binary);
    std::string bytes(longest + 3, '\0');
    file.read(bytes.data(), static_cast<std::streamsize>(bytes.size()));
    if (!file.is_open() || file.bad()) return unreadable;
    bytes.resize(static_cast<std::size_t>(file.gcount()));
    bytes.resize(std::min(bytes.find('\n'), bytes.size()));
    if (bytes.ends_with('\r')) bytes.pop_back();
    return bytes;
}

Result<iscsi::Credentials, std::string> find(const ChapSource& source, const char* variable,
                                             const char* option) {
    std::string secret;
    std::string where;
    if (!source.secret_file.empty()) {
        auto read = first_line(source.secret_file);
        if (!read) return Failure{read.error()};
        secret = std::move(read.value());
        where = "the first line of " + in_quotes(source.secret_file);
    } else {
        const char* const value = std::getenv(variable);
        if (value == nullptr) {
            return Failure{std::string("There is no secret for ") + in_quotes(source.user) +
                           ": give --" + option + ", or set " + variable + "."};
        }
        secret = value;
        where = variable;
    }
    const bool plain = std::ranges::none_of(
        secret, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
    if (secret.size() < shortest || secret.size() > longest || !plain) {
        return Failure{"The secret in " + where +
                       " must have 12 to 255 bytes, none of them a control character."};
    }
    return iscsi::Credentials{.name = source.user, .secret = std::move(secret)};
}

}  // namespace

Result<ChapCredentials, std::string> read_credentials(const ServePlan& plan) {
    ChapCredentials credentials;
    if (plan.initiator) {
        auto found = find(*plan.initiator, "WNBD_CHAP_SECRET", "chap-secret-file");
        if (!found) return Failure{found.error()};
        credentials.initiator = std::move(found.value());
    }
    if (plan.self) {
        auto found = find(*plan.self, "WNBD_MUTUAL_SECRET", "mutual-secret-file");
        if (!found) return Failure{found.error()};
        credentials.self = std::move(found.value());
    }
    // An initiator could have its own challenge answered by the target (RFC 7143, 9.2.1).
    if (credentials.self && credentials.initiator &&
        credentials.self->secret == credentials.initiator->secret)
        return Failure{std::string("The two secrets must differ.")};
    return credentials;
}

std::string remark_on(const ChapCredentials& credentials) {
    const auto is_long = [](const std::optional<iscsi::Credentials>& side) {
        return side && side->secret.size() > longest_of_microsoft;
    };
    if (!is_long(credentials.initiator) && !is_long(credentials.self)) return {};
    return "Note: Windows's initiator takes secrets of 12 to 16 bytes only.";
}

}  // namespace wnbd::client
