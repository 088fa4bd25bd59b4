// SPDX-License-Identifier: LGPL-2.1-or-later
// Cuts a stream of bytes into PDUs (RFC 7143, 11.2): header, additional segments, data, digests.
// Data that belongs to a command goes straight to where its sink says; all else is looked at where
// it lies in the receive buffer.
#pragma once

#include <array>
#include <cstdint>
#include <memory>
#include <span>

#include "iscsi/crc32c.h"
#include "iscsi/pdu.h"

namespace wnbd::iscsi {

struct ReceiveSlice {
    std::uint8_t* data = nullptr;
    std::size_t size = 0;
};

/// Who is told of PDUs.
class PduSink {
  public:
    struct Placement {
        /// False: finish() gets the data segment. True: it goes to `room`, what does not fit is
        /// dropped.
        bool placed = false;
        std::span<std::uint8_t> room{};
    };
    /// A header, whose digest was right, and its additional segments. Where is the data to go?
    virtual Placement begin(HeaderView header,
                            std::span<const std::uint8_t> additional) noexcept = 0;
    /// The PDU that begin() was told of is whole. `data` is empty if it was placed, and not to be
    /// believed unless `intact`: the data digest.
    virtual void finish(HeaderView header, std::span<const std::uint8_t> data,
                        bool intact) noexcept = 0;

  protected:
    ~PduSink() = default;
};

/// No more than one call at a time.
class PduReader {
  public:
    /// Takes data segments of up to `segment_max` bytes. Throws std::bad_alloc.
    PduReader(PduSink& sink, std::uint32_t segment_max);

    /// What was negotiated; from the next PDU on.
    void use_digests(bool header, bool data) noexcept {
        header_digest_ = header;
        data_digest_ = data;
    }

    /// Where the next bytes belong: at most two slices. Valid until received().
    [[nodiscard]] std::span<const ReceiveSlice> room() noexcept;
    /// Bytes have been put into room(). run() follows.
    void received(std::size_t count) noexcept;

    enum class Fault : std::uint8_t { none, header_digest, segment_too_long };
    /// Takes in PDUs while there are whole ones and hold() was not called.
    [[nodiscard]] Fault run() noexcept;
    /// From the sink: after this PDU none is taken in before release().
    void hold() noexcept { held_ = true; }
    void release() noexcept { held_ = false; }
    [[nodiscard]] bool held() const noexcept { return held_; }
    /// All that has come is taken in, and nothing of a PDU is missing.
    [[nodiscard]] bool between_pdus() const noexcept {
        return at_ == At::header && available() == 0;
    }

  private:
    enum class At : std::uint8_t { header, data, trailer };

    [[nodiscard]] std::size_t available() const noexcept { return end_ - begin_; }
    [[nodiscard]] std::uint8_t* here() const noexcept { return buffer_.get() + begin_; }
    /// Each says whether it got on; false: more bytes are needed.
    bool take_header(Fault& fault) noexcept;
    bool take_placed_data() noexcept;
    bool take_buffered_data() noexcept;
    bool take_trailer() noexcept;
    void advance(std::size_t count) noexcept;
    void end_pdu(std::span<const std::uint8_t> data, bool intact) noexcept;
    [[nodiscard]] bool digest_matches(const Crc32c& digest, const std::uint8_t* wire) noexcept;

    PduSink& sink_;
    const std::uint32_t segment_max_;
    const std::size_t capacity_;
    const std::unique_ptr<std::uint8_t[]> buffer_;
    std::size_t begin_ = 0;  // of what was received and not taken in
    std::size_t end_ = 0;
    std::size_t wanted_ = 0;  // bytes from begin_ on that the next step needs
    bool header_digest_ = false;
    bool data_digest_ = false;
    bool held_ = false;
    bool large_data_ = false;  // the last data segment was: see room()

    // The PDU under way.
    At at_ = At::header;
    HeaderBytes header_{};
    std::uint32_t length_ = 0;  // of its data segment
    std::uint32_t taken_ = 0;   // bytes of it
    bool placed_ = false;
    std::span<std::uint8_t> destination_;
    Crc32c digest_;
    std::array<ReceiveSlice, 2> slices_{};
};

}  // namespace wnbd::iscsi
