// SPDX-License-Identifier: LGPL-2.1-or-later
// A hostile server's bytes, from its greeting to its replies.
//
// The first byte chooses: bit 0 skips the negotiation; the others cut the bytes into pieces. The
// second byte says how many requests are in flight.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <span>
#include <string>
#include <vector>

#include "nbd/handshake.h"
#include "nbd/reply_parser.h"
#include "nbd/request_table.h"
#include "nbd/send_batch.h"

namespace {

using namespace wnbd::nbd;
using Bytes = std::span<const std::uint8_t>;

void require(bool condition) {
    if (!condition) std::abort();
}

/// Transmission with a caller that keeps its eight requests in flight and counts their ends.
class Transmission final : public ReplySink {
  public:
    Transmission(std::uint32_t payload_max, unsigned count)
        : table_(8, {.payload_max = payload_max}), parser_(table_, *this) {
        for (unsigned i = 0; i < count; ++i)
            admit(i % jobs_.size());
        send();
    }

    void replied(Slot& slot, std::uint32_t error) noexcept override {
        require(slot.admitted);
        if (error == 0 && table_.continue_command(slot)) return;
        auto& job = *static_cast<Job*>(slot.command.cookie);
        require(job.in_flight);
        job.in_flight = false;
        table_.retire(slot);
        ended_.push_back(static_cast<std::size_t>(&job - jobs_.data()));
    }

    void receive(Bytes bytes, std::size_t piece) {
        while (!bytes.empty()) {
            auto now = bytes.first(std::min(bytes.size(), piece));
            const auto plan = parser_.plan();
            std::size_t count = 0;
            for (std::size_t i = 0; i < plan.count; ++i) {
                const auto part = std::min(plan.slices[i].size, now.size());
                if (part > 0) std::memcpy(plan.slices[i].data, now.data(), part);
                now = now.subspan(part);
                count += part;
            }
            require(count > 0);
            bytes = bytes.subspan(count);
            const auto& fault = parser_.received(count);
            if (fault.code != FaultCode::none) {
                require(!describe(fault).empty());
                return;
            }
            for (const auto index : ended_)
                admit(index);
            ended_.clear();
            send();
        }
    }

  private:
    struct Job {
        std::vector<std::uint8_t> buffer;
        bool in_flight = false;
    };

    void admit(std::size_t index) {
        static constexpr CommandType types[] = {
            CommandType::read,  CommandType::read, CommandType::write, CommandType::read,
            CommandType::flush, CommandType::trim, CommandType::read,  CommandType::write_zeroes};
        auto& job = jobs_[index];
        if (job.in_flight) return;
        job.in_flight = true;
        job.buffer.assign(index * index * 100 + 1, 0);
        const auto type = types[index];
        const bool payload = type == CommandType::read || type == CommandType::write;
        require(table_.admit({.type = type,
                              .length = payload ? job.buffer.size() : index << 30,
                              .data = payload ? job.buffer.data() : nullptr,
                              .cookie = &job}));
    }

    void send() {
        batch_.fill(table_);
        while (!batch_.empty()) {
            const auto slices = batch_.slices();
            batch_.advance(slices[0].size, [](Slot& slot) {
                require(slot.command.type == CommandType::write);
                slot.payload.store(Slot::Payload::sent);
            });
        }
    }

    RequestTable table_;
    ReplyParser parser_;
    SendBatch batch_;
    std::array<Job, 8> jobs_;
    std::vector<std::size_t> ended_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    Bytes bytes(data + 2, size - 2);
    const std::size_t piece = (data[0] >> 1) == 0 ? SIZE_MAX : data[0] >> 1;
    ExportInfo info{.size = 1U << 20};
    if ((data[0] & 1) == 0) {
        Handshake handshake(
            {.export_name = "disk", .structured_replies = false, .extended_headers = false});
        while (!bytes.empty() && !handshake.done() && !handshake.failed()) {
            const auto used = handshake.receive(bytes.first(std::min(bytes.size(), piece)));
            bytes = bytes.subspan(used);
            handshake.sent(handshake.output().size());
        }
        if (handshake.failed()) require(!describe(handshake.fault()).empty());
        if (!handshake.done()) return 0;
        info = handshake.agreement().info;
        require(check_export(info).code == FaultCode::none);
    }
    Transmission(std::min(info.maximum_payload, default_maximum_payload), data[1] % 9)
        .receive(bytes, piece);
    return 0;
}
