// SPDX-License-Identifier: LGPL-2.1-or-later
// The client's core from the greeting to the last reply, with requests of each kind in flight and
// every promise checked. The fuzzer feeds it, and nbd_record puts a real server at its other end.
#pragma once

#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "nbd/handshake.h"
#include "nbd/reply_parser.h"
#include "nbd/request_table.h"
#include "nbd/send_batch.h"

namespace wnbd::nbd {

inline void require(bool condition) {
    if (!condition) std::abort();
}

/// What an input's first bytes choose.
struct SessionPlan {
    static constexpr std::size_t size = 4;  // bytes

    // Byte 0, from the lowest bit: no negotiation; 2 bits of the goal, or of the form of replies
    // without a negotiation; 2 of the TLS mode; then what is not asked for.
    HandshakeOptions options{.export_name = "disk"};
    bool negotiate = true;
    WireFormat format = WireFormat::simple;
    // Bytes 1 and 2: which jobs are in flight, and whether bytes are fed beyond the present step.
    std::uint16_t jobs = 0;
    bool overfeed = false;
    // Byte 3: how many bytes come at a time.
    std::size_t piece = SIZE_MAX;

    explicit SessionPlan(std::span<const std::uint8_t, size> bytes) {
        negotiate = (bytes[0] & 1) == 0;
        const unsigned choice = bytes[0] >> 1 & 3;
        options.goal = static_cast<Goal>(choice);
        format = static_cast<WireFormat>(choice % 3);
        options.tls = static_cast<TlsMode>((bytes[0] >> 3 & 3) % 3);
        options.structured_replies = (bytes[0] & 0x20) == 0;
        options.extended_headers = (bytes[0] & 0x40) == 0;
        options.block_status = (bytes[0] & 0x80) == 0;
        jobs = static_cast<std::uint16_t>(bytes[1] | (bytes[2] & 0x7f) << 8);
        overfeed = (bytes[2] & 0x80) != 0;
        if (bytes[3] != 0) piece = bytes[3];
    }
};

/// How a session went: the same for the same bytes, however they are cut.
struct SessionResult {
    struct End {
        std::size_t job = 0;
        std::uint32_t error = 0;
        std::size_t content = 0;  // of what was read or told, hashed
        bool operator==(const End&) const = default;
    };
    std::vector<End> ends;
    FaultCode fault = FaultCode::none;
    std::vector<std::uint8_t> said;
    bool operator==(const SessionResult&) const = default;
};

class Session final : private ReplySink {
  public:
    /// `fill`: what buffers hold before they are read into. The result must not show it.
    Session(const SessionPlan& plan, std::uint8_t fill)
        : plan_(plan), fill_(fill), handshake_(plan.options) {
        if (!plan.negotiate)
            begin_transmission({.info = {.size = std::uint64_t{1} << 40, .maximum_payload = 4096},
                                .format = plan.format,
                                .allocation_context = 1});
        collect();
    }

    /// What is to be said now is added to the result's `said`.
    void receive(std::span<const std::uint8_t> bytes) {
        while (!bytes.empty() && !over()) {
            auto now = bytes.first(std::min(bytes.size(), plan_.piece));
            if (table_ == nullptr) {
                if (!plan_.overfeed) now = now.first(std::min(now.size(), handshake_.needed()));
                const auto used = negotiate(now);
                bytes = bytes.subspan(used);
            } else {
                bytes = bytes.subspan(transmit(now));
            }
            collect();
        }
    }

    [[nodiscard]] bool over() const {
        return result_.fault != FaultCode::none || (handshake_.done() && table_ == nullptr);
    }
    [[nodiscard]] bool idle() const { return table_ != nullptr && table_->admitted() == 0; }

    /// Takes back what is still in flight and checks that it is all there.
    SessionResult finish() {
        std::uint64_t last = 0;
        if (table_ != nullptr)
            table_->take_back([&](const Command& command) {
                auto& job = *static_cast<Job*>(command.cookie);
                require(job.in_flight && job.admission > last);
                require(same(command, job.command));
                last = job.admission;
                job.in_flight = false;
            });
        for (const auto& job : jobs_)
            require(!job.in_flight);
        require(table_ == nullptr || (table_->admitted() == 0 && !table_->anything_to_send()));
        return result_;
    }
    SessionResult& result() { return result_; }

  private:
    static constexpr std::uint64_t mebibyte = 1U << 20;
    struct Kind {
        CommandType type;
        std::uint16_t flags;
        std::uint64_t offset;
        std::uint64_t length;
    };
    static constexpr std::array<Kind, 13> kinds{{
        {CommandType::read, 0, 0, 512},
        {CommandType::read, command_flag_df, 4096, 1536},
        {CommandType::write, command_flag_fua, 8192, 512},
        {CommandType::read, 0, 65536 - 2048, 6144},  // some of it a hole; in pieces if need be
        {CommandType::flush, 0, 0, 0},
        {CommandType::trim, 0, 4 * mebibyte, 3072 * mebibyte},
        {CommandType::block_status, 0, 0, mebibyte},
        {CommandType::write_zeroes, command_flag_no_hole, 2 * mebibyte, 65536},
        {CommandType::cache, 0, 4096, 65536},
        {CommandType::read, 0, 32768, 33792},  // large: received in place
        {CommandType::block_status, command_flag_req_one, 65536, 5120 * mebibyte},
        {CommandType::read, 0, std::uint64_t{1} << 41, 512},  // beyond the end
        {CommandType::write, 0, 16384, 9216},
    }};
    struct Job {
        Command command{};
        std::vector<std::uint8_t> buffer;
        std::array<Extent, 5> room{};
        ExtentList extents{};
        std::uint64_t admission = 0;
        unsigned rounds = 0;
        bool in_flight = false;
    };

    static bool same(const Command& one, const Command& other) {
        return one.type == other.type && one.flags == other.flags && one.offset == other.offset &&
               one.length == other.length && one.data == other.data && one.cookie == other.cookie &&
               one.extents == other.extents;
    }

    std::size_t negotiate(std::span<const std::uint8_t> bytes) {
        const auto used = handshake_.receive(bytes);
        require(used == bytes.size() || handshake_.done() || handshake_.failed());
        collect();
        if (handshake_.wants_tls()) {
            require(handshake_.needed() == 0 && plan_.options.tls != TlsMode::off);
            handshake_.tls_started({});
        }
        if (handshake_.failed()) {
            require(!describe(handshake_.fault()).empty());
            result_.fault = handshake_.fault().code;
        }
        if (handshake_.done() && plan_.options.goal == Goal::transmission) agree();
        return used;
    }

    void agree() {
        const auto& agreement = handshake_.agreement();
        require(check_export(agreement.info).code == FaultCode::none);
        require(agreement.tls || plan_.options.tls != TlsMode::require);
        require(agreement.format != WireFormat::extended || plan_.options.extended_headers);
        require(agreement.format != WireFormat::structured || plan_.options.structured_replies);
        require(!agreement.allocation_context ||
                (plan_.options.block_status && agreement.format != WireFormat::simple));
        begin_transmission(agreement);
    }

    void begin_transmission(const Agreement& agreement) {
        table_ = std::make_unique<RequestTable>(static_cast<std::uint32_t>(kinds.size()),
                                                WireTerms::of(agreement));
        parser_ = std::make_unique<ReplyParser>(*table_, static_cast<ReplySink&>(*this));
        can_tell_ = agreement.allocation_context.has_value();
        for (std::size_t i = 0; i < kinds.size(); ++i)
            if ((plan_.jobs >> i & 1) != 0) admit(i);
        send();
    }

    void admit(std::size_t index) {
        const auto& kind = kinds[index];
        if (kind.type == CommandType::block_status && !can_tell_) return;
        auto& job = jobs_[index];
        const bool payload = kind.type == CommandType::read || kind.type == CommandType::write;
        // As many bytes as the command has: whatever goes beyond them is seen.
        job.buffer.assign(payload ? kind.length : 0, kind.type == CommandType::write ? 7 : fill_);
        job.extents = {job.room.data(), static_cast<std::uint32_t>(job.room.size()), 99};
        job.command = {.type = kind.type,
                       .flags = kind.flags,
                       .offset = kind.offset,
                       .length = kind.length,
                       .data = payload ? job.buffer.data() : nullptr,
                       .cookie = &job,
                       .extents = kind.type == CommandType::block_status ? &job.extents : nullptr};
        job.in_flight = true;
        job.admission = ++admissions_;
        ++job.rounds;
        require(table_->admit(job.command));
    }

    void send() {
        batch_.fill(*table_);
        while (!batch_.empty()) {
            const auto slice = batch_.slices()[0];
            result_.said.insert(result_.said.end(), slice.data, slice.data + slice.size);
            batch_.advance(slice.size, [](Slot& slot) {
                require(slot.command.type == CommandType::write);
                slot.payload.store(Slot::Payload::sent);
            });
        }
    }

    std::size_t transmit(std::span<const std::uint8_t> now) {
        const auto plan = parser_->plan();
        std::size_t count = 0;
        for (std::size_t i = 0; i < plan.count; ++i) {
            const auto part = std::min(plan.slices[i].size, now.size());
            if (part > 0) std::memcpy(plan.slices[i].data, now.data(), part);
            now = now.subspan(part);
            count += part;
        }
        require(count > 0);
        const auto& fault = parser_->received(count);
        if (fault.code != FaultCode::none) {
            require(!describe(fault).empty());
            result_.fault = fault.code;
        }
        return count;
    }

    void replied(Slot& slot, std::uint32_t error) noexcept override {
        require(slot.admitted);
        if (error == 0 && table_->continue_command(slot)) return send();
        auto& job = *static_cast<Job*>(slot.command.cookie);
        require(job.in_flight && same(slot.command, job.command));
        job.in_flight = false;
        table_->retire(slot);
        const auto index = static_cast<std::size_t>(&job - jobs_.data());
        if (job.command.type == CommandType::write)
            for (const auto byte : job.buffer)
                require(byte == 7);
        result_.ends.push_back({index, error, error == 0 ? content_of(job) : 0});
        // Once more, so that a handle's place is used again.
        if (job.rounds == 1) {
            admit(index);
            send();
        }
    }

    static std::size_t hash(const void* bytes, std::size_t size) {
        return std::hash<std::string_view>()({static_cast<const char*>(bytes), size});
    }

    static std::size_t content_of(Job& job) {
        if (job.command.type == CommandType::read)
            return hash(job.buffer.data(), job.buffer.size());
        if (job.command.type != CommandType::block_status) return 0;
        const auto extents = std::span(job.room).first(job.extents.count);
        require(!extents.empty());
        std::uint64_t told = 0;
        for (std::size_t i = 0; i < extents.size(); ++i) {
            require(extents[i].length > 0 && extents[i].length <= job.command.length - told);
            told += extents[i].length;
            require(i == 0 || extents[i].flags != extents[i - 1].flags);
        }
        std::array<std::uint64_t, 10> values{};
        for (std::size_t i = 0; i < extents.size(); ++i) {
            values[2 * i] = extents[i].length;
            values[2 * i + 1] = extents[i].flags;
        }
        return hash(values.data(), sizeof values);
    }

    void collect() {
        const auto output = handshake_.output();
        result_.said.insert(result_.said.end(), output.begin(), output.end());
        handshake_.sent(output.size());
    }

    const SessionPlan plan_;
    const std::uint8_t fill_;
    Handshake handshake_;
    std::unique_ptr<RequestTable> table_;
    std::unique_ptr<ReplyParser> parser_;
    SendBatch batch_;
    std::array<Job, kinds.size()> jobs_;
    std::uint64_t admissions_ = 0;
    bool can_tell_ = false;
    SessionResult result_;
};

}  // namespace wnbd::nbd
