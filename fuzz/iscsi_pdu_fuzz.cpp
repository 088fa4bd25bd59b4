// SPDX-License-Identifier: LGPL-2.1-or-later
// An initiator's stream of PDUs, cut into pieces: each is told of once, whole and unchanged.
//
// The first byte chooses: bits 0 and 1 the digests, bit 2 whether the stream is mended (lengths
// that fit, right digests), bits 3 to 7 the pieces. The second byte: which PDU's data digest is
// wrong.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <deque>
#include <span>
#include <vector>

#include "base/big_endian.h"
#include "iscsi/crc32c.h"
#include "iscsi/pdu.h"
#include "iscsi/pdu_reader.h"

namespace {

using namespace wnbd::iscsi;
using Bytes = std::span<const std::uint8_t>;

constexpr std::uint32_t segment_max = 65536;

void require(bool condition) {
    if (!condition) std::abort();
}

/// A PDU that was sent.
struct Sent {
    HeaderBytes header{};
    std::vector<std::uint8_t> additional;
    std::vector<std::uint8_t> data;
    bool intact = true;
};

void put_digest(std::vector<std::uint8_t>& stream, std::size_t from, bool wrong) {
    Crc32c digest;
    digest.feed(std::span(stream).subspan(from));
    for (unsigned i = 0; i < 4; ++i)
        stream.push_back(static_cast<std::uint8_t>((digest.value() >> (8 * i)) ^ (wrong ? 1 : 0)));
}

/// Takes the input for PDUs without digests, makes the last one's lengths fit, and writes them as
/// they go over the wire.
std::vector<std::uint8_t> mend(Bytes input, bool header_digest, bool data_digest, unsigned wrong,
                               std::deque<Sent>& sent) {
    std::vector<std::uint8_t> stream;
    while (input.size() >= header_length) {
        Sent pdu;
        std::copy_n(input.data(), header_length, pdu.header.data());
        input = input.subspan(header_length);
        pdu.header[4] =
            static_cast<std::uint8_t>(std::min<std::size_t>(pdu.header[4], input.size() / 4));
        const auto additional = input.first(std::size_t{pdu.header[4]} * 4);
        pdu.additional.assign(additional.begin(), additional.end());
        input = input.subspan(additional.size());
        const auto length = static_cast<std::uint32_t>(
            std::min<std::size_t>({data_length(pdu.header), input.size(), segment_max}));
        wnbd::store_big_endian(pdu.header.data() + 4, pdu.header[4] << 24 | length);
        pdu.data.assign(input.begin(), input.begin() + length);
        input = input.subspan(length);

        auto from = stream.size();
        stream.insert(stream.end(), pdu.header.begin(), pdu.header.end());
        stream.insert(stream.end(), pdu.additional.begin(), pdu.additional.end());
        if (header_digest) put_digest(stream, from, false);
        from = stream.size();
        stream.insert(stream.end(), pdu.data.begin(), pdu.data.end());
        stream.resize(stream.size() + padded(length) - length);
        pdu.intact = !data_digest || length == 0 || sent.size() != wrong;
        if (data_digest && length > 0) put_digest(stream, from, !pdu.intact);
        sent.push_back(std::move(pdu));
    }
    return stream;
}

void decode(HeaderView header, Bytes additional) {
    require(additional.size() == additional_length(header));
    const auto segments = read_additional(additional);
    require(segments.valid || (segments.cdb_rest.empty() && !segments.read_length));
    require(segments.cdb_rest.empty() || (segments.cdb_rest.data() > additional.data() &&
                                          segments.cdb_rest.data() + segments.cdb_rest.size() <=
                                              additional.data() + additional.size()));
    require(read_scsi_command(header).sequence.task_tag == initiator_task_tag(header));
    require(read_task_management(header).function < 0x80);
    require(read_data_out(header).task_tag == read_nop_out(header).sequence.task_tag);
    require(read_text(header).final == is_final(header));
    require(read_login(header).current_stage < 4 && read_login(header).next_stage < 4);
    require(read_logout(header).reason < 0x80);
}

class Sink final : public PduSink {
  public:
    explicit Sink(std::deque<Sent>* expected) : expected_(expected) {}

    Placement begin(HeaderView header, Bytes additional) noexcept override {
        require(!under_way_);
        under_way_ = true;
        decode(header, additional);
        if (expected_ != nullptr) {
            require(!expected_->empty());
            const auto& pdu = expected_->front();
            require(std::ranges::equal(header, pdu.header));
            require(std::ranges::equal(additional, pdu.additional));
        }
        // Some in the buffer, some in a place of their own, which may be too small.
        placed_ = (header[2] & 1) != 0;
        if (!placed_) return {};
        room_.assign(std::size_t{header[3]} * 97, 0xA5);
        return {.placed = true, .room = room_};
    }

    void finish(HeaderView header, Bytes data, bool intact) noexcept override {
        require(under_way_);
        under_way_ = false;
        require(placed_ ? data.empty() : data.size() == data_length(header));
        if (reader != nullptr && (header[2] & 2) != 0) reader->hold();
        if (expected_ == nullptr) return;
        const auto& pdu = expected_->front();
        require(intact == pdu.intact);
        if (placed_) {
            const auto kept = std::min(room_.size(), pdu.data.size());
            require(std::equal(pdu.data.begin(), pdu.data.begin() + static_cast<long>(kept),
                               room_.begin()));
            require(std::all_of(room_.begin() + static_cast<long>(kept), room_.end(),
                                [](std::uint8_t byte) { return byte == 0xA5; }));
        } else {
            require(std::ranges::equal(data, pdu.data));
        }
        expected_->pop_front();
    }

    PduReader* reader = nullptr;

  private:
    std::deque<Sent>* const expected_;
    std::vector<std::uint8_t> room_;
    bool under_way_ = false;
    bool placed_ = false;
};

/// False: the stream is at fault.
bool feed(PduReader& reader, Bytes stream, std::size_t piece) {
    while (!stream.empty()) {
        auto now = stream.first(std::min(stream.size(), piece));
        std::size_t count = 0;
        for (const auto& slice : reader.room()) {
            const auto part = std::min(slice.size, now.size());
            if (part > 0) std::memcpy(slice.data, now.data(), part);
            now = now.subspan(part);
            count += part;
        }
        require(count > 0);
        stream = stream.subspan(count);
        reader.received(count);
        do {
            reader.release();
            if (reader.run() != PduReader::Fault::none) return false;
        } while (reader.held());
    }
    return true;
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size < 2) return 0;
    const bool header_digest = (data[0] & 1) != 0;
    const bool data_digest = (data[0] & 2) != 0;
    const bool mended = (data[0] & 4) != 0;
    const std::size_t piece = (data[0] >> 3) == 0 ? SIZE_MAX : std::size_t{7} * (data[0] >> 3);
    const Bytes input(data + 2, size - 2);
    std::deque<Sent> sent;
    std::vector<std::uint8_t> stream(input.begin(), input.end());
    if (mended) stream = mend(input, header_digest, data_digest, data[1], sent);

    Sink sink(mended ? &sent : nullptr);
    PduReader reader(sink, segment_max);
    sink.reader = &reader;
    reader.use_digests(header_digest, data_digest);
    const bool whole = feed(reader, stream, piece);
    if (mended) require(whole && sent.empty());
    return 0;
}
