// SPDX-License-Identifier: LGPL-2.1-or-later
#include "lab/iscsidsc/session.h"

#include <ws2tcpip.h>

#include <bcrypt.h>

#include <algorithm>
#include <atomic>
#include <cstdio>
#include <string_view>

#include "base/big_endian.h"

namespace wnbd::lab {
namespace {

constexpr DWORD answer_wait_ms = 30 * 1000;
constexpr std::uint32_t data_max = 1U << 20;  // of a PDU; far more than is asked for
constexpr char initiator_name[] = "iqn.2026-11.org.wnbd:lab-initiator";

constexpr std::uint8_t transit = 0x80;
constexpr std::uint8_t from_security = 0 << 2;
constexpr std::uint8_t from_operational = 1 << 2;
constexpr std::uint8_t to_operational = 1;
constexpr std::uint8_t to_full_feature = 3;

std::atomic<std::uint8_t> next_isid{1};

std::string key(std::string_view name, std::string_view value) {
    return std::string(name) + "=" + std::string(value) + '\0';
}

/// The value of a key in a text segment.
std::optional<std::string> value_of(std::string_view text, std::string_view name) {
    while (!text.empty()) {
        const std::string_view pair = text.substr(0, text.find('\0'));
        text.remove_prefix(std::min(text.size(), pair.size() + 1));
        const std::size_t equals = pair.find('=');
        if (equals != std::string_view::npos && pair.substr(0, equals) == name)
            return std::string(pair.substr(equals + 1));
    }
    return std::nullopt;
}

std::optional<std::vector<std::uint8_t>> from_hex(std::string_view text) {
    if (!text.starts_with("0x") || text.size() % 2 != 0) return std::nullopt;
    std::vector<std::uint8_t> bytes;
    for (std::size_t i = 2; i < text.size(); i += 2) {
        unsigned byte = 0;
        if (std::sscanf(std::string(text.substr(i, 2)).c_str(), "%2x", &byte) != 1)
            return std::nullopt;
        bytes.push_back(static_cast<std::uint8_t>(byte));
    }
    return bytes;
}

std::string to_hex(std::span<const std::uint8_t> bytes) {
    std::string text = "0x";
    for (const std::uint8_t byte : bytes) {
        char digits[3];
        std::snprintf(digits, sizeof(digits), "%02x", byte);
        text += digits;
    }
    return text;
}

std::optional<std::array<std::uint8_t, 16>> md5(std::span<std::uint8_t> bytes) {
    BCRYPT_ALG_HANDLE algorithm = nullptr;
    if (BCryptOpenAlgorithmProvider(&algorithm, BCRYPT_MD5_ALGORITHM, nullptr, 0) != 0)
        return std::nullopt;
    std::array<std::uint8_t, 16> digest{};
    const NTSTATUS status = BCryptHash(algorithm, nullptr, 0, bytes.data(),
                                       static_cast<ULONG>(bytes.size()), digest.data(), 16);
    BCryptCloseAlgorithmProvider(algorithm, 0);
    if (status != 0) return std::nullopt;
    return digest;
}

}  // namespace

Session::~Session() {
    stops_ = true;
    if (thread_.joinable()) thread_.join();
    if (socket_ != INVALID_SOCKET) closesocket(socket_);
}

bool Session::receive_all(std::span<std::uint8_t> to) {
    while (!to.empty()) {
        const int count =
            recv(socket_, reinterpret_cast<char*>(to.data()), static_cast<int>(to.size()), 0);
        if (count <= 0) return false;
        to = to.subspan(static_cast<std::size_t>(count));
    }
    return true;
}

bool Session::send(Pdu& pdu) {
    const std::size_t length = pdu.data.size();
    pdu.header[5] = static_cast<std::uint8_t>(length >> 16);
    pdu.header[6] = static_cast<std::uint8_t>(length >> 8);
    pdu.header[7] = static_cast<std::uint8_t>(length);
    std::vector<std::uint8_t> bytes(pdu.header.begin(), pdu.header.end());
    bytes.insert(bytes.end(), pdu.data.begin(), pdu.data.end());
    bytes.resize((bytes.size() + 3) / 4 * 4);
    std::span<const std::uint8_t> rest(bytes);
    while (!rest.empty()) {
        const int count = ::send(socket_, reinterpret_cast<const char*>(rest.data()),
                                 static_cast<int>(rest.size()), 0);
        if (count <= 0) return false;
        rest = rest.subspan(static_cast<std::size_t>(count));
    }
    return true;
}

bool Session::receive(Pdu& pdu) {
    if (!receive_all(pdu.header)) return false;
    const std::uint32_t length = load_big_endian_24(&pdu.header[5]);
    if (pdu.header[4] != 0 || length > data_max) return false;
    pdu.data.resize((length + 3) / 4 * 4);
    if (!receive_all(pdu.data)) return false;
    pdu.data.resize(length);
    // A Data-In without a status has no number of its own (RFC 7143, 11.7.2).
    const std::uint8_t opcode = pdu.header[0] & 0x3F;
    const bool numbered =
        opcode != 0x31 && (opcode != 0x25 || (pdu.header[1] & 1) != 0) &&
        (opcode != 0x20 || load_big_endian<std::uint32_t>(&pdu.header[16]) != 0xFFFFFFFF);
    if (numbered) expected_status_sn_ = load_big_endian<std::uint32_t>(&pdu.header[24]) + 1;
    return true;
}

void Session::number(Pdu& request, bool immediate) {
    if (immediate) request.header[0] |= 0x40;
    store_big_endian(&request.header[16], task_tag_++);
    store_big_endian(&request.header[24], command_sn_);
    store_big_endian(&request.header[28], expected_status_sn_);
    if (!immediate) ++command_sn_;
}

std::uint32_t Session::exchange(std::uint8_t flags, const std::string& keys, std::string& answer) {
    Pdu request;
    request.header[0] = 0x03;
    request.header[1] = flags;
    request.header[8] = 0x80;  // a random ISID (RFC 7143, 11.12.5)
    request.header[9] = 0x57;
    request.header[13] = isid_tail_;
    store_big_endian(&request.header[14], tsih_);
    number(request, true);
    request.data.assign(keys.begin(), keys.end());
    Pdu response;
    if (!send(request) || !receive(response)) return connection_failed;
    if ((response.header[0] & 0x3F) != 0x23) return login_failed;
    const auto status = load_big_endian<std::uint16_t>(&response.header[36]);
    if (status == 0x0201) return authentication_failure;
    if (status == 0x0203) return target_not_found;
    if (status != 0) return login_failed;
    tsih_ = load_big_endian<std::uint16_t>(&response.header[14]);
    // What is asked for is granted at once, or the lab does not go on.
    if ((flags & transit) != 0 && (response.header[1] & transit) == 0) return login_failed;
    answer.assign(response.data.begin(), response.data.end());
    return 0;
}

std::uint32_t Session::authenticate(const Login& login) {
    std::string keys = key("InitiatorName", initiator_name);
    keys += login.target.empty() ? key("SessionType", "Discovery")
                                 : key("SessionType", "Normal") + key("TargetName", login.target);
    std::string answer;
    std::uint32_t code = exchange(from_security, keys + key("AuthMethod", "CHAP"), answer);
    if (code != 0) return code;
    if (value_of(answer, "AuthMethod") != "CHAP") return authentication_failure;
    code = exchange(from_security, key("CHAP_A", "5"), answer);
    if (code != 0) return code;
    const auto identifier = value_of(answer, "CHAP_I");
    const auto challenge = from_hex(value_of(answer, "CHAP_C").value_or(""));
    if (value_of(answer, "CHAP_A") != "5" || !identifier || !challenge)
        return authentication_failure;
    std::vector<std::uint8_t> hashed{static_cast<std::uint8_t>(std::stoul(*identifier))};
    hashed.insert(hashed.end(), login.secret.begin(), login.secret.end());
    hashed.insert(hashed.end(), challenge->begin(), challenge->end());
    const auto digest = md5(hashed);
    if (!digest) return login_failed;
    return exchange(transit | from_security | to_operational,
                    key("CHAP_N", login.user) + key("CHAP_R", to_hex(*digest)), answer);
}

std::uint32_t Session::log_in(const Login& login) {
    isid_tail_ = next_isid++;
    sockaddr_in address{};
    address.sin_family = AF_INET;
    address.sin_port = htons(login.port);
    if (inet_pton(AF_INET, login.address.c_str(), &address.sin_addr) != 1) return connection_failed;
    socket_ = socket(AF_INET, SOCK_STREAM, IPPROTO_TCP);
    setsockopt(socket_, SOL_SOCKET, SO_RCVTIMEO, reinterpret_cast<const char*>(&answer_wait_ms),
               sizeof(answer_wait_ms));
    if (connect(socket_, reinterpret_cast<const sockaddr*>(&address), sizeof(address)) != 0)
        return connection_failed;
    if (const std::uint32_t code = authenticate(login); code != 0) return code;
    std::string keys = key("HeaderDigest", "None") + key("DataDigest", "None") +
                       key("MaxRecvDataSegmentLength", "65536") + key("DefaultTime2Wait", "0") +
                       key("DefaultTime2Retain", "0");
    if (!login.target.empty()) {
        keys += key("InitialR2T", "No") + key("ImmediateData", "Yes") + key("MaxConnections", "1") +
                key("MaxBurstLength", "262144") + key("FirstBurstLength", "65536") +
                key("MaxOutstandingR2T", "1") + key("ErrorRecoveryLevel", "0");
    }
    std::string answer;
    const std::uint32_t code = exchange(transit | from_operational | to_full_feature, keys, answer);
    alive_ = code == 0;
    return code;
}

bool Session::handle_unasked(const Pdu& pdu) {
    const std::uint8_t opcode = pdu.header[0] & 0x3F;
    if (opcode == 0x32) return true;  // async message: the lab stays until it is cut
    if (opcode != 0x20) return false;
    if (load_big_endian<std::uint32_t>(&pdu.header[20]) == 0xFFFFFFFF) return true;
    Pdu pong;
    pong.header[1] = 0x80;
    std::copy_n(&pdu.header[8], 8, &pong.header[8]);
    number(pong, true);
    store_big_endian(&pong.header[16], std::uint32_t{0xFFFFFFFF});
    std::copy_n(&pdu.header[20], 4, &pong.header[20]);
    if (!send(pong)) alive_ = false;
    return true;
}

std::uint32_t Session::send_targets(std::vector<std::string>& names) {
    Pdu request;
    request.header[0] = 0x04;
    request.header[1] = 0x80;
    number(request, false);
    store_big_endian(&request.header[20], std::uint32_t{0xFFFFFFFF});
    const std::string keys = key("SendTargets", "All");
    request.data.assign(keys.begin(), keys.end());
    Pdu response;
    if (!send(request)) return connection_failed;
    do {
        if (!receive(response)) return connection_failed;
    } while (handle_unasked(response));
    if ((response.header[0] & 0x3F) != 0x24) return target_not_found;
    std::string_view text(reinterpret_cast<const char*>(response.data.data()),
                          response.data.size());
    while (!text.empty()) {
        const std::string_view pair = text.substr(0, text.find('\0'));
        text.remove_prefix(std::min(text.size(), pair.size() + 1));
        if (pair.starts_with("TargetName=")) names.emplace_back(pair.substr(11));
    }
    return 0;
}

std::optional<Session::Reply> Session::command(std::span<const std::uint8_t> cdb,
                                               std::uint32_t length) {
    Pdu request;
    request.header[0] = 0x01;
    request.header[1] = static_cast<std::uint8_t>(0x81 | (length > 0 ? 0x40 : 0));
    number(request, false);
    store_big_endian(&request.header[20], length);
    std::ranges::copy(cdb, &request.header[32]);
    if (!send(request)) return std::nullopt;
    Reply reply;
    for (;;) {
        Pdu pdu;
        if (!receive(pdu)) return std::nullopt;
        if (handle_unasked(pdu)) continue;
        const std::uint8_t opcode = pdu.header[0] & 0x3F;
        if (opcode == 0x25) {
            if (load_big_endian<std::uint32_t>(&pdu.header[40]) != reply.data.size())
                return std::nullopt;
            reply.data.insert(reply.data.end(), pdu.data.begin(), pdu.data.end());
            if ((pdu.header[1] & 1) == 0) continue;
            reply.status = pdu.header[3];
            return reply;
        }
        if (opcode != 0x21 || pdu.header[2] != 0) return std::nullopt;
        reply.status = pdu.header[3];
        return reply;
    }
}

std::uint32_t Session::start_disk() {
    const std::array<std::uint8_t, 6> inquiry{0x12, 0, 0, 0, 96, 0};
    const std::array<std::uint8_t, 6> ready{};
    const std::array<std::uint8_t, 16> capacity{0x9E, 0x10, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 32};
    const std::array<std::uint8_t, 10> first_block{0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0};
    const auto identity = command(inquiry, 96);
    if (!identity || identity->status != 0 || identity->data.size() < 36 ||
        (identity->data[0] & 0x1F) != 0)
        return scsi_request_failed;
    // The first one may be told that the unit is new.
    for (unsigned i = 0;; ++i) {
        const auto answer = command(ready, 0);
        if (!answer || i == 4) return scsi_request_failed;
        if (answer->status == 0) break;
    }
    const auto size = command(capacity, 32);
    if (!size || size->status != 0 || size->data.size() != 32) return scsi_request_failed;
    const auto block = load_big_endian<std::uint32_t>(&size->data[8]);
    const auto read = command(first_block, block);
    if (!read || read->status != 0 || read->data.size() != block) return scsi_request_failed;
    return 0;
}

void Session::keep() {
    thread_ = std::thread([this] { idle(); });
}

void Session::idle() {
    while (!stops_ && alive_) {
        fd_set readable;
        FD_ZERO(&readable);
        FD_SET(socket_, &readable);
        timeval wait{.tv_sec = 0, .tv_usec = 100'000};
        if (select(0, &readable, nullptr, nullptr, &wait) <= 0) continue;
        const std::lock_guard lock(mutex_);
        Pdu pdu;
        if (stops_) return;
        if (!receive(pdu) || !handle_unasked(pdu)) alive_ = false;
    }
}

void Session::log_out() {
    const std::lock_guard lock(mutex_);
    stops_ = true;
    Pdu request;
    request.header[0] = 0x06;
    request.header[1] = 0x80;
    number(request, true);
    Pdu response;
    if (!send(request)) return;
    do {
        if (!receive(response)) return;
    } while ((response.header[0] & 0x3F) != 0x26);
}

}  // namespace wnbd::lab
