// SPDX-License-Identifier: LGPL-2.1-or-later
// Whole sessions of two hostile initiators with a target over a small disk in memory.
//
// The first byte chooses: bit 0 a backend that holds requests, bit 1 a disk that is read only, bit
// 2 blocks of 4096 bytes, bit 3 bytes that go out as they are; bits 4 to 7 the pieces they go in.
// The rest is what an initiator sends, without digests, as record_iscsi.py has recorded it. Bit 7
// of a PDU's first byte makes it the second initiator's; opcode 3Fh stands for something that
// happens.
//
// So that a change somewhere does not make all that follows it worthless, lengths are made to fit,
// and CmdSN and target transfer tags are made right, unless their first byte is EEh.
#include <algorithm>
#include <array>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <map>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/big_endian.h"
#include "iscsi/connection.h"
#include "iscsi/crc32c.h"
#include "iscsi/target.h"
#include "iscsi/test_backend.h"
#include "iscsi/text.h"

namespace {

using namespace wnbd::iscsi;
using wnbd::load_big_endian;
using wnbd::store_big_endian;
using Bytes = std::span<const std::uint8_t>;

constexpr std::uint64_t disk_size = 16U << 20;
constexpr std::uint8_t as_it_is = 0xEE;

void require(bool condition) {
    if (!condition) std::abort();
}

bool is_printable(std::string_view text) {
    return std::ranges::all_of(text, [](char c) { return c >= 0x20 && c < 0x7F; });
}

class QuietLog final : public Log {
  public:
    void write(Level /*level*/, const std::string& line) noexcept override {
        require(!line.empty() && is_printable(line));
    }
};

/// An initiator with the shell around its connection.
class Peer final : public ConnectionHost {
  public:
    Peer(Target& target, std::size_t piece) : target_(target), piece_(piece) {}

    void wake() noexcept override { woken_ = true; }

    void connect() {
        forget();
        woken_ = false;
        incoming_.clear();
        status_sn_.reset();
        command_sn_ = 0;
        segment_max_ = default_segment_length;
        header_digest_ = data_digest_ = false;
        commands_.clear();
        transfers_.clear();
        connection_ =
            std::make_unique<Connection>(target_, *this, "peer", "127.0.0.1:3260,1", now_);
    }

    /// Sends a PDU, made right where it must be.
    void send(HeaderBytes header, Bytes additional, Bytes data) {
        if (!connection_) connect();
        note(header, data);
        std::vector<std::uint8_t> wire(header.begin(), header.end());
        wire.insert(wire.end(), additional.begin(), additional.end());
        if (header_digest_) add_digest(wire, 0);
        const auto from = wire.size();
        wire.insert(wire.end(), data.begin(), data.end());
        wire.resize(from + padded(static_cast<std::uint32_t>(data.size())));
        if (data_digest_ && !data.empty()) add_digest(wire, from);
        feed(wire);
    }

    /// Sends what nobody knows the meaning of.
    void send_raw(Bytes bytes) {
        connect();
        segment_max_ = largest_segment_length;
        blind_ = true;
        feed(bytes);
    }

    void feed(Bytes bytes) {
        while (connection_ && !detached_ && !bytes.empty()) {
            auto now = bytes.first(std::min(bytes.size(), piece_));
            std::size_t count = 0;
            for (const auto& slice : connection_->receive_room()) {
                const auto part = std::min(slice.size, now.size());
                if (part > 0) std::memcpy(slice.data, now.data(), part);
                now = now.subspan(part);
                count += part;
            }
            if (count == 0) return;  // the connection takes no more for now: what is left is lost
            bytes = bytes.subspan(count);
            connection_->received(count, now_);
            pump();
        }
    }

    /// False: nothing is going on.
    bool pump() {
        bool moved = false;
        if (detached_) drop_if_drained();
        while (connection_ && !detached_) {
            const bool woken = std::exchange(woken_, false);
            if (woken) connection_->process_completions();
            const bool took = take_in();
            if (connection_->finished()) {
                require(is_printable(connection_->reason()));
                hang_up();
                return true;
            }
            if (!woken && !took) break;
            moved = true;
        }
        return moved;
    }

    void pass_time(std::uint64_t ms) {
        now_ += ms;
        if (connection_ && !detached_) connection_->tick(now_);
    }
    void ask_for_logout() {
        if (connection_ && !detached_) connection_->ask_for_logout(10);
    }
    void hang_up() {
        if (connection_ && !detached_) connection_->detach();
        detached_ = connection_ != nullptr;
        drop_if_drained();
    }

    /// A connection that was detached stays until its tasks have ended.
    void drop_if_drained() {
        if (!connection_) return;
        if (std::exchange(woken_, false)) connection_->process_completions();
        if (!connection_->drained()) return;
        connection_.reset();
        detached_ = false;
    }
    /// Nothing of the connection's is under way in the backend.
    void forget() {
        hang_up();
        require(!connection_);
    }

  private:
    /// What an R2T asked for.
    struct Transfer {
        std::uint32_t task_tag;
        std::uint32_t target_tag;
        std::uint32_t offset;
        std::uint32_t length;
    };

    static void add_digest(std::vector<std::uint8_t>& wire, std::size_t from) {
        Crc32c digest;
        digest.feed(std::span(wire).subspan(from));
        for (unsigned i = 0; i < 4; ++i)
            wire.push_back(static_cast<std::uint8_t>(digest.value() >> (8 * i)));
    }
    static bool digest_is_right(Bytes bytes) {
        Crc32c digest;
        digest.feed(bytes.first(bytes.size() - 4));
        const auto* const at = bytes.data() + bytes.size() - 4;
        const auto sent = std::uint32_t{at[0]} | std::uint32_t{at[1]} << 8 |
                          std::uint32_t{at[2]} << 16 | std::uint32_t{at[3]} << 24;
        return sent == digest.value();
    }

    void note(HeaderBytes& header, Bytes data) {
        const auto opcode = static_cast<Opcode>(opcode_of(header));
        const auto tag = initiator_task_tag(header);
        if (opcode == Opcode::login_request || opcode == Opcode::text_request) {
            TextReader reader({reinterpret_cast<const char*>(data.data()), data.size()});
            while (const auto pair = reader.next()) {
                const auto length = parse_number(pair->value);
                if (pair->key == "MaxRecvDataSegmentLength" && length && *length <= 0xFF'FFFF)
                    segment_max_ = std::max(segment_max_, static_cast<std::uint32_t>(*length));
            }
        }
        if (opcode == Opcode::scsi_command) ++commands_[tag];
        if (opcode == Opcode::data_out) {
            const auto offset = load_big_endian<std::uint32_t>(&header[40]);
            const auto found = std::ranges::find_if(transfers_, [&](const Transfer& transfer) {
                return transfer.task_tag == tag && offset - transfer.offset < transfer.length;
            });
            if (load_big_endian<std::uint32_t>(&header[20]) != no_tag && header[20] != as_it_is &&
                found != transfers_.end())
                store_big_endian(&header[20], found->target_tag);
        } else if (opcode == Opcode::login_request) {
            command_sn_ = load_big_endian<std::uint32_t>(&header[24]);
        } else if (header[24] == as_it_is) {
            store_big_endian(&header[24], command_sn_ + header[27] - 128U);
        } else {
            store_big_endian(&header[24], command_sn_);
            if (!is_immediate(header)) ++command_sn_;
        }
    }

    bool take_in() {
        bool moved = false;
        while (true) {
            std::size_t count = 0;
            std::size_t left = piece_;
            for (const auto& slice : connection_->to_send()) {
                const auto part = std::min(slice.size, left);
                incoming_.insert(incoming_.end(), slice.data, slice.data + part);
                count += part;
                left -= part;
            }
            if (count == 0) break;
            connection_->sent(count);
            moved = true;
        }
        Bytes rest = incoming_;
        while (take_pdu(rest)) {
        }
        incoming_.erase(incoming_.begin(),
                        incoming_.end() - static_cast<std::ptrdiff_t>(rest.size()));
        return moved;
    }

    bool take_pdu(Bytes& rest) {
        if (rest.size() < header_length) return false;
        const HeaderView header(rest.data(), header_length);
        require(additional_length(header) == 0);
        const auto length = data_length(header);
        require(length <= segment_max_);
        const std::size_t whole_header = header_length + (header_digest_ ? digest_length : 0);
        const std::size_t whole_data =
            length == 0 ? 0 : padded(length) + (data_digest_ ? digest_length : 0);
        if (rest.size() < whole_header + whole_data) return false;
        if (header_digest_) require(digest_is_right(rest.first(whole_header)));
        if (data_digest_ && length > 0)
            require(digest_is_right(rest.subspan(whole_header, whole_data)));
        check(header, rest.subspan(whole_header, length));
        rest = rest.subspan(whole_header + whole_data);
        return true;
    }

    void check(HeaderView header, Bytes data) {
        const auto opcode = static_cast<Opcode>(opcode_of(header));
        const auto tag = initiator_task_tag(header);
        bool counts = true;  // in StatSN
        switch (opcode) {
            case Opcode::scsi_response: end_command(tag); break;
            case Opcode::data_in:
                require(blind_ || commands_[tag] > 0);
                counts = (header[1] & 1) != 0;
                if (counts) end_command(tag);
                break;
            case Opcode::ready_to_transfer:
                require(blind_ || commands_[tag] > 0);
                transfers_.push_back({tag, load_big_endian<std::uint32_t>(&header[20]),
                                      load_big_endian<std::uint32_t>(&header[40]),
                                      load_big_endian<std::uint32_t>(&header[44])});
                counts = false;
                break;
            case Opcode::nop_in: counts = tag != no_tag; break;
            case Opcode::login_response: take_login(header, data); break;
            case Opcode::reject: require(data.size() == header_length); break;
            case Opcode::task_management_response:
            case Opcode::text_response:
            case Opcode::logout_response:
            case Opcode::async_message: break;
            default: require(false);
        }
        if (counts) {
            const auto number = load_big_endian<std::uint32_t>(&header[24]);
            require(!status_sn_ || number == *status_sn_);
            status_sn_ = number + 1;
        }
        const auto window = load_big_endian<std::uint32_t>(&header[32]) -
                            load_big_endian<std::uint32_t>(&header[28]) + 1;
        require(window <= target_.settings().command_window);
    }

    void end_command(std::uint32_t tag) {
        if (blind_) return;
        require(commands_[tag] > 0);
        --commands_[tag];
        std::erase_if(transfers_, [&](const Transfer& one) { return one.task_tag == tag; });
    }

    void take_login(HeaderView header, Bytes data) {
        TextReader reader({reinterpret_cast<const char*>(data.data()), data.size()});
        while (const auto pair = reader.next()) {
            if (pair->key == "HeaderDigest") header_digest_next_ = pair->value == "CRC32C";
            if (pair->key == "DataDigest") data_digest_next_ = pair->value == "CRC32C";
        }
        require(reader.fault().empty());
        if ((header[1] & 0x83) != 0x83) return;  // not yet the full feature phase
        header_digest_ = std::exchange(header_digest_next_, false);
        data_digest_ = std::exchange(data_digest_next_, false);
    }

    Target& target_;
    const std::size_t piece_;
    std::unique_ptr<Connection> connection_;
    std::uint64_t now_ = 1000;
    bool woken_ = false;
    bool detached_ = false;
    bool blind_ = false;  // what was sent is not known to this side
    std::vector<std::uint8_t> incoming_;
    std::optional<std::uint32_t> status_sn_;
    std::uint32_t command_sn_ = 0;
    std::uint32_t segment_max_ = default_segment_length;
    bool header_digest_ = false;
    bool data_digest_ = false;
    bool header_digest_next_ = false;
    bool data_digest_next_ = false;
    std::map<std::uint32_t, unsigned> commands_;  // tag to how many are under way
    std::vector<Transfer> transfers_;
};

TargetSettings settings() {
    TargetSettings settings;
    settings.name = "iqn.2026-11.org.example:disk";
    settings.max_receive_segment = 64U << 10;
    settings.command_window = 8;
    settings.max_burst = 64U << 10;
    settings.first_burst = 16U << 10;
    settings.buffer_bytes_max = 8U << 20;
    return settings;
}

class Scene {
  public:
    explicit Scene(std::uint8_t kind)
        : target_(settings(), log_), peers_{{{target_, piece(kind)}, {target_, piece(kind)}}} {
        auto backend = std::make_unique<test::TestBackend>(disk_size);
        backend_ = backend.get();
        backend_->hold = (kind & 1) != 0;
        UnitSettings unit_settings;
        unit_settings.serial = "1";
        unit_settings.read_only = (kind & 2) != 0;
        unit_settings.block_size = (kind & 4) != 0 ? 4096 : 512;
        auto unit = LogicalUnit::create(std::move(backend), unit_settings, target_.names());
        require(unit.ok());
        target_.add(std::move(unit.value()));
    }
    ~Scene() {
        for (auto& peer : peers_)
            peer.hang_up();
        backend_->hold = false;
        backend_->fail = wnbd::backend::Error::none;
        release_all();
        pump();
        for (auto& peer : peers_)
            peer.forget();
        require(target_.buffers().in_use() == 0);
        target_.units().front()->close();
    }
    Scene(const Scene&) = delete;
    Scene& operator=(const Scene&) = delete;

    void run(Bytes input) {
        while (input.size() >= 2) {
            auto& peer = peers_[input[0] >> 7];
            if ((input[0] & 0x3F) == 0x3F) {
                happen(peer, input[1]);
                input = input.subspan(2);
            } else {
                if (input.size() < header_length) return;
                send(peer, input);
            }
            pump();
        }
    }
    void run_raw(Bytes input) {
        peers_[0].send_raw(input);
        pump();
    }

  private:
    static std::size_t piece(std::uint8_t kind) {
        return (kind >> 4) == 0 ? SIZE_MAX : std::size_t{13} * (kind >> 4);
    }

    static void send(Peer& peer, Bytes& input) {
        HeaderBytes header;
        std::copy_n(input.data(), header_length, header.data());
        input = input.subspan(header_length);
        header[0] &= 0x7F;
        header[4] = static_cast<std::uint8_t>(std::min<std::size_t>(header[4], input.size() / 4));
        const auto additional = input.first(std::size_t{header[4]} * 4);
        input = input.subspan(additional.size());
        const auto length =
            static_cast<std::uint32_t>(std::min<std::size_t>(data_length(header), input.size()));
        store_big_endian(header.data() + 4, std::uint32_t{header[4]} << 24 | length);
        const auto data = input.first(length);
        input = input.subspan(std::min<std::size_t>(padded(length), input.size()));
        peer.send(header, additional, data);
    }

    void happen(Peer& peer, std::uint8_t what) {
        switch (what & 7) {
            case 0: peer.pass_time(std::uint64_t{1000} * (what >> 3)); break;
            case 1: peer.ask_for_logout(); break;
            case 2: peer.hang_up(); break;
            case 3:
                if (!backend_->held.empty()) backend_->release_one();
                break;
            case 4: release_all(); break;
            case 5: backend_->hold = !backend_->hold; break;
            case 6: backend_->fail = static_cast<wnbd::backend::Error>(what >> 3 & 3); break;
            default:
                peer.hang_up();
                release_all();
                peer.connect();
                break;
        }
    }

    void release_all() { backend_->release_all(); }

    void pump() {
        bool moved = true;
        while (moved) {
            moved = false;
            for (auto& peer : peers_)
                moved = peer.pump() || moved;
        }
    }

    QuietLog log_;
    Target target_;
    test::TestBackend* backend_ = nullptr;
    std::array<Peer, 2> peers_;
};

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    if (size == 0) return 0;
    Scene scene(data[0]);
    const Bytes input(data + 1, size - 1);
    if ((data[0] & 8) != 0)
        scene.run_raw(input);
    else
        scene.run(input);
    return 0;
}
