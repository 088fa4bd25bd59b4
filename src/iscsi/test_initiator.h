// SPDX-License-Identifier: LGPL-2.1-or-later
// An initiator for tests of a connection: PDUs made by hand, and what comes back taken apart. No
// socket: it is the connection's shell, too.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <cstdint>
#include <cstring>
#include <deque>
#include <functional>
#include <initializer_list>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/big_endian.h"
#include "iscsi/connection.h"
#include "iscsi/crc32c.h"

namespace wnbd::iscsi::test {

using Bytes = std::vector<std::uint8_t>;

/// Keeps what was said.
class TestLog final : public Log {
  public:
    void write(Level /*level*/, const std::string& line) noexcept override {
        const std::lock_guard lock(lock_);
        lines_.push_back(line);
    }
    [[nodiscard]] bool says(std::string_view words) {
        const std::lock_guard lock(lock_);
        return std::ranges::any_of(
            lines_, [&](const std::string& line) { return line.find(words) != std::string::npos; });
    }

  private:
    std::mutex lock_;
    std::vector<std::string> lines_;
};

/// A PDU on its way to the target. The number fields are filled in by Initiator::send() unless they
/// are given.
struct Request {
    Opcode opcode = Opcode::nop_out;
    bool immediate = false;
    std::uint8_t flags = 0x80;  // byte 1
    std::uint8_t byte2 = 0;
    std::uint8_t byte3 = 0;
    std::uint64_t lun = 0;
    std::uint32_t task_tag = 0;
    std::optional<std::uint32_t> command_sn{};
    Bytes bytes_20{};  // what lies at bytes 20 to 23
    Bytes bytes_32{};  // from byte 32 on
    Bytes additional{};
    Bytes data{};
    bool damage_header = false;
    bool damage_data = false;
};

/// A PDU that came.
struct Reply {
    HeaderBytes header{};
    Bytes data;

    [[nodiscard]] Opcode opcode() const { return static_cast<Opcode>(header[0] & 0x3F); }
    template <typename T>
    [[nodiscard]] T at(std::size_t offset) const {
        return load_big_endian<T>(header.data() + offset);
    }
    [[nodiscard]] std::uint32_t task_tag() const { return at<std::uint32_t>(16); }
    [[nodiscard]] std::uint32_t target_tag() const { return at<std::uint32_t>(20); }
    [[nodiscard]] std::uint32_t status_sn() const { return at<std::uint32_t>(24); }
    [[nodiscard]] std::uint32_t expected_command_sn() const { return at<std::uint32_t>(28); }
    [[nodiscard]] std::uint32_t max_command_sn() const { return at<std::uint32_t>(32); }
    [[nodiscard]] bool final() const { return (header[1] & 0x80) != 0; }
    [[nodiscard]] bool has_status() const {
        return opcode() == Opcode::scsi_response ||
               (opcode() == Opcode::data_in && (header[1] & 0x01) != 0);
    }
    [[nodiscard]] scsi::Status status() const { return static_cast<scsi::Status>(header[3]); }
    [[nodiscard]] Residual residual() const {
        if ((header[1] & 0x04) != 0) return Residual::overflow;
        return (header[1] & 0x02) != 0 ? Residual::underflow : Residual::none;
    }
    [[nodiscard]] std::uint32_t residual_count() const { return at<std::uint32_t>(44); }
    /// Key, ASC and ASCQ, of fixed format.
    [[nodiscard]] std::uint32_t sense() const {
        if (data.size() < 16) return 0;
        return std::uint32_t{data[4] & 0x0FU} << 16 | std::uint32_t{data[14]} << 8 | data[15];
    }
};

/// Everything that came for one command.
struct Outcome {
    bool answered = false;
    scsi::Status status{};
    Bytes data;
    Residual residual{};
    std::uint32_t residual_count = 0;
    std::uint32_t sense = 0;
    unsigned data_pdus = 0;
};

struct Portal {
    std::vector<std::string> keys{};
    bool discovery = false;
    std::uint8_t isid = 1;
    std::uint16_t tsih = 0;
    std::uint16_t connection_id = 1;
    std::string initiator = "iqn.2026-11.org.example:initiator";
};

class Initiator final : public ConnectionHost {
  public:
    explicit Initiator(Target& target, std::uint64_t now_ms = 1000)
        : connection(target, *this, "peer", "127.0.0.1:3260,1", now_ms), now_ms(now_ms) {}
    ~Initiator() {
        connection.detach();
        for (int i = 0; i < 100000 && !connection.drained(); ++i) {
            std::this_thread::yield();
            connection.process_completions();
        }
        EXPECT_TRUE(connection.drained());
    }

    void wake() noexcept override { woken = true; }

    // --- Bytes.

    /// Feeds bytes, `chunk()` at a time, as far as the connection takes them.
    void feed(std::span<const std::uint8_t> bytes) {
        backlog_.insert(backlog_.end(), bytes.begin(), bytes.end());
        pump();
    }

    /// Gives what there is, takes what comes, until neither goes on.
    void pump() {
        bool moved = true;
        while (moved) {
            moved = false;
            if (woken.exchange(false)) {
                connection.process_completions();
                moved = true;
            }
            moved = take_in() || moved;
            moved = give() || moved;
        }
    }

    bool give() {
        if (backlog_.empty() || connection.finished()) return false;
        const auto room = connection.receive_room();
        std::size_t left = std::min(chunk(), backlog_.size());
        std::size_t count = 0;
        for (const ReceiveSlice& slice : room) {
            const std::size_t part = std::min(slice.size, left);
            std::copy_n(backlog_.begin() + static_cast<std::ptrdiff_t>(count), part, slice.data);
            if (&slice == &room.front() && room.size() == 2) straight += part;
            count += part;
            left -= part;
        }
        if (count == 0) return false;
        backlog_.erase(backlog_.begin(), backlog_.begin() + static_cast<std::ptrdiff_t>(count));
        connection.received(count, now_ms);
        return true;
    }

    bool take_in() {
        bool moved = false;
        while (true) {
            const auto slices = connection.to_send();
            std::size_t left = chunk();
            std::size_t count = 0;
            for (const SendSlice& slice : slices) {
                const std::size_t part = std::min(slice.size, left);
                incoming_.insert(incoming_.end(), slice.data, slice.data + part);
                count += part;
                left -= part;
            }
            if (count == 0) break;
            connection.sent(count);
            moved = true;
        }
        while (parse()) {
        }
        return moved;
    }

    // --- PDUs.

    Bytes encode(const Request& request) {
        Bytes wire(header_length);
        wire[0] = static_cast<std::uint8_t>(static_cast<std::uint8_t>(request.opcode) |
                                            (request.immediate ? 0x40 : 0));
        wire[1] = request.flags;
        wire[2] = request.byte2;
        wire[3] = request.byte3;
        store_big_endian(&wire[4], static_cast<std::uint32_t>(request.data.size()));
        wire[4] = static_cast<std::uint8_t>(request.additional.size() / 4);
        store_big_endian(&wire[8], request.lun);
        store_big_endian(&wire[16], request.task_tag);
        std::copy(request.bytes_20.begin(), request.bytes_20.end(), &wire[20]);
        const bool numbered = request.opcode != Opcode::data_out;
        if (numbered) {
            store_big_endian(&wire[24], request.command_sn.value_or(command_sn));
            if (!request.immediate && !request.command_sn) ++command_sn;
        }
        store_big_endian(&wire[28], next_status_sn.value_or(0));
        std::copy(request.bytes_32.begin(), request.bytes_32.end(), &wire[32]);
        wire.insert(wire.end(), request.additional.begin(), request.additional.end());
        if (header_digest) add_digest(wire, 0, request.damage_header);
        if (!request.data.empty()) {
            const std::size_t start = wire.size();
            wire.insert(wire.end(), request.data.begin(), request.data.end());
            wire.resize(start + padded(static_cast<std::uint32_t>(request.data.size())));
            if (data_digest) add_digest(wire, start, request.damage_data);
        }
        return wire;
    }
    void send(const Request& request) { feed(encode(request)); }

    /// The oldest reply that nobody has taken yet.
    std::optional<Reply> next() {
        pump();
        if (replies.empty()) return {};
        Reply reply = std::move(replies.front());
        replies.pop_front();
        return reply;
    }
    /// One that must have come.
    Reply expect_next() {
        auto reply = next();
        EXPECT_TRUE(reply.has_value());
        return std::move(reply).value_or(Reply{});
    }

    // --- Login.

    static Bytes text(const std::vector<std::string>& pairs) {
        Bytes bytes;
        for (const std::string& pair : pairs) {
            bytes.insert(bytes.end(), pair.begin(), pair.end());
            bytes.push_back(0);
        }
        return bytes;
    }

    Request login_request(const Portal& portal) {
        std::vector<std::string> keys = {"InitiatorName=" + portal.initiator};
        if (portal.discovery) {
            keys.emplace_back("SessionType=Discovery");
        } else {
            keys.emplace_back("SessionType=Normal");
            keys.emplace_back("TargetName=iqn.2026-11.org.example:disk");
        }
        keys.insert(keys.end(), portal.keys.begin(), portal.keys.end());
        const std::uint64_t isid = std::uint64_t{0x8000'0000'0000} | portal.isid;
        Request request{.opcode = Opcode::login_request,
                        .immediate = true,
                        .flags = 0x87,  // T, from operational to full feature
                        .lun = isid << 16 | portal.tsih,
                        .task_tag = 0x1000'0000};
        request.bytes_20 = {static_cast<std::uint8_t>(portal.connection_id >> 8),
                            static_cast<std::uint8_t>(portal.connection_id), 0, 0};
        request.data = text(keys);
        return request;
    }
    /// One request. The status, or nothing when there was no answer.
    std::optional<LoginStatus> login(const Portal& portal = {}) {
        send(login_request(portal));
        return login_answer();
    }
    std::optional<LoginStatus> login_answer() {
        const auto reply = next();
        if (!reply || reply->opcode() != Opcode::login_response) return {};
        tsih = reply->at<std::uint16_t>(14);
        const std::string_view keys(reinterpret_cast<const char*>(reply->data.data()),
                                    reply->data.size());
        login_keys = keys;
        if (reply->at<std::uint16_t>(36) == 0) {
            header_digest = keys.find("HeaderDigest=CRC32C") != std::string_view::npos;
            data_digest = keys.find("DataDigest=CRC32C") != std::string_view::npos;
        }
        return static_cast<LoginStatus>(reply->at<std::uint16_t>(36));
    }

    // --- Commands.

    static Bytes cdb10(std::uint8_t opcode, std::uint32_t lba, std::uint16_t blocks) {
        Bytes cdb(16);
        cdb[0] = opcode;
        store_big_endian(&cdb[2], lba);
        store_big_endian(&cdb[7], blocks);
        return cdb;
    }
    static Bytes read10(std::uint32_t lba, std::uint16_t blocks) {
        return cdb10(0x28, lba, blocks);
    }
    static Bytes write10(std::uint32_t lba, std::uint16_t blocks) {
        return cdb10(0x2A, lba, blocks);
    }

    enum Direction : std::uint8_t { none = 0, writes = 0x20, reads = 0x40, both = 0x60 };

    Request command(const Bytes& cdb, Direction direction, std::uint32_t expected_length,
                    Bytes immediate_data = {}, bool final = true) {
        Request request{.opcode = Opcode::scsi_command,
                        .flags = static_cast<std::uint8_t>((final ? 0x80 : 0) | direction | 1),
                        .task_tag = next_tag++};
        request.bytes_20.resize(4);
        store_big_endian(request.bytes_20.data(), expected_length);
        request.bytes_32 = cdb;
        request.bytes_32.resize(16);
        request.data = std::move(immediate_data);
        return request;
    }

    Request data_out(std::uint32_t task_tag, std::uint32_t target_tag, std::uint32_t data_sn,
                     std::uint32_t offset, Bytes data, bool final) {
        Request request{.opcode = Opcode::data_out,
                        .flags = static_cast<std::uint8_t>(final ? 0x80 : 0),
                        .task_tag = task_tag};
        request.bytes_20.resize(4);
        store_big_endian(request.bytes_20.data(), target_tag);
        request.bytes_32.resize(16);
        store_big_endian(&request.bytes_32[4], data_sn);
        store_big_endian(&request.bytes_32[8], offset);
        request.data = std::move(data);
        return request;
    }

    Request task_management(TaskFunction function, std::uint32_t referenced_tag = no_tag,
                            std::uint32_t referenced_sn = 0) {
        Request request{.opcode = Opcode::task_management_request,
                        .immediate = true,
                        .flags = static_cast<std::uint8_t>(0x80 | static_cast<int>(function)),
                        .task_tag = next_tag++};
        request.bytes_20.resize(4);
        store_big_endian(request.bytes_20.data(), referenced_tag);
        request.bytes_32.resize(4);
        store_big_endian(request.bytes_32.data(), referenced_sn);
        return request;
    }

    /// Sends a command, answers its R2Ts from `out`, and gathers what comes for it.
    Outcome run(const Request& request, const Bytes& out = {}, std::uint32_t segment = 8192) {
        send(request);
        return gather(request.task_tag, out, segment);
    }
    Outcome gather(std::uint32_t task_tag, const Bytes& out = {}, std::uint32_t segment = 8192) {
        Outcome outcome;
        while (!outcome.answered) {
            pump();
            const auto found = std::ranges::find_if(
                replies, [&](const Reply& reply) { return reply.task_tag() == task_tag; });
            if (found == replies.end()) break;
            const Reply reply = std::move(*found);
            replies.erase(found);
            if (reply.opcode() == Opcode::ready_to_transfer)
                answer_r2t(reply, out, segment);
            else
                take(reply, outcome);
        }
        return outcome;
    }
    Outcome read(std::uint32_t lba, std::uint16_t blocks, std::uint32_t block_size = 512) {
        return run(command(read10(lba, blocks), reads, blocks * block_size));
    }
    Outcome write(std::uint32_t lba, const Bytes& data, std::uint32_t block_size = 512) {
        return run(command(write10(lba, static_cast<std::uint16_t>(data.size() / block_size)),
                           writes, static_cast<std::uint32_t>(data.size())),
                   data);
    }
    /// The power-on unit attention.
    void clear_attention() {
        const Outcome outcome = run(command(Bytes(16), none, 0));
        EXPECT_EQ(outcome.status, scsi::Status::check_condition);
        EXPECT_EQ(outcome.sense, 0x062900U);
    }

    void answer_r2t(const Reply& r2t, const Bytes& out, std::uint32_t segment) {
        std::uint32_t offset = r2t.at<std::uint32_t>(40);
        const std::uint32_t end = offset + r2t.at<std::uint32_t>(44);
        for (std::uint32_t data_sn = 0; offset < end; ++data_sn) {
            const std::uint32_t length = std::min(segment, end - offset);
            ASSERT_LE(offset + length, out.size());
            Bytes part(out.begin() + offset, out.begin() + offset + length);
            send(data_out(r2t.task_tag(), r2t.target_tag(), data_sn, offset, std::move(part),
                          offset + length == end));
            offset += length;
        }
    }

    static void take(const Reply& reply, Outcome& outcome) {
        if (reply.opcode() == Opcode::data_in) {
            EXPECT_EQ(reply.at<std::uint32_t>(36), outcome.data_pdus);  // DataSN
            EXPECT_EQ(reply.at<std::uint32_t>(40), outcome.data.size());
            ++outcome.data_pdus;
            outcome.data.insert(outcome.data.end(), reply.data.begin(), reply.data.end());
        }
        if (!reply.has_status()) return;
        outcome.answered = true;
        outcome.status = reply.status();
        outcome.residual = reply.residual();
        outcome.residual_count = reply.residual_count();
        if (reply.opcode() == Opcode::scsi_response) outcome.sense = reply.sense();
    }

    Connection connection;
    std::uint64_t now_ms;
    std::atomic<bool> woken{false};
    /// How many bytes go at once, either way.
    std::function<std::size_t()> chunk = [] { return std::size_t{1} << 30; };
    std::uint32_t command_sn = 100;
    std::uint32_t next_tag = 1;
    std::uint16_t tsih = 0;
    std::string login_keys;
    bool header_digest = false;
    bool data_digest = false;
    std::deque<Reply> replies;
    std::optional<std::uint32_t> next_status_sn;
    std::size_t straight = 0;  // bytes that went to the first of two slices
    [[nodiscard]] std::size_t backlog() const { return backlog_.size(); }

  private:
    static void add_digest(Bytes& wire, std::size_t from, bool damage) {
        Crc32c digest;
        digest.feed(std::span(wire).subspan(from));
        const std::uint32_t value = digest.value() ^ (damage ? 1U : 0U);
        for (unsigned i = 0; i < 4; ++i)
            wire.push_back(static_cast<std::uint8_t>(value >> (8 * i)));
    }
    static void expect_digest(std::span<const std::uint8_t> bytes, const std::uint8_t* wire) {
        Crc32c digest;
        digest.feed(bytes);
        for (unsigned i = 0; i < 4; ++i)
            EXPECT_EQ(wire[i], static_cast<std::uint8_t>(digest.value() >> (8 * i)));
    }

    bool parse() {
        if (incoming_.size() < header_length) return false;
        const HeaderView header(incoming_.data(), header_length);
        EXPECT_EQ(additional_length(header), 0U);
        const std::uint32_t length = data_length(header);
        const std::size_t head = header_length + (header_digest ? digest_length : 0);
        const std::size_t total =
            head + padded(length) + (data_digest && length > 0 ? digest_length : 0);
        if (incoming_.size() < total) return false;
        if (header_digest) expect_digest(header, incoming_.data() + header_length);
        if (data_digest && length > 0)
            expect_digest(std::span(incoming_).subspan(head, padded(length)),
                          incoming_.data() + head + padded(length));
        Reply reply;
        std::copy(header.begin(), header.end(), reply.header.begin());
        reply.data.assign(incoming_.begin() + static_cast<std::ptrdiff_t>(head),
                          incoming_.begin() + static_cast<std::ptrdiff_t>(head + length));
        incoming_.erase(incoming_.begin(), incoming_.begin() + static_cast<std::ptrdiff_t>(total));
        check_status_sn(reply);
        replies.push_back(std::move(reply));
        return true;
    }

    /// StatSN counts what is to be acknowledged, one by one (RFC 7143, 4.2.2.2).
    void check_status_sn(const Reply& reply) {
        if (reply.opcode() == Opcode::data_in && !reply.has_status()) return;
        const bool counts = reply.opcode() != Opcode::ready_to_transfer &&
                            (reply.opcode() != Opcode::nop_in || reply.task_tag() != no_tag);
        if (next_status_sn) {
            EXPECT_EQ(reply.status_sn(), *next_status_sn);
        }
        next_status_sn = reply.status_sn() + (counts ? 1 : 0);
    }

    Bytes backlog_;
    Bytes incoming_;
};

}  // namespace wnbd::iscsi::test
