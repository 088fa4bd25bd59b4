// SPDX-License-Identifier: LGPL-2.1-or-later
// The initiator of the engine's tests: SRBs that remember how they ended, a Port that checks the
// rules of each call, and the CDBs.
#pragma once

#include <array>
#include <atomic>
#include <cstdio>
#include <cstdlib>

#include "base/big_endian.h"
#include "engine/native/control.h"
#include "engine/port.h"

namespace wnbd::engine::model {

constexpr std::uint32_t block_size = 512;

/// Called before a broken rule ends the program: a model tells how it came there.
inline thread_local void (*explain)() = nullptr;

/// Says what is wrong and ends the program: for checks on paths where nothing can be returned.
[[noreturn]] inline void broken(const char* rule) noexcept {
    std::fprintf(stderr, "broken rule: %s\n", rule);
    if (explain != nullptr) explain();
    std::abort();
}

inline void require(bool holds, const char* rule) noexcept {
    if (!holds) broken(rule);
}

using Cdb = std::array<std::uint8_t, 16>;

[[nodiscard]] inline Cdb cdb_16(std::uint8_t opcode, std::uint64_t lba, std::uint32_t blocks,
                                std::uint8_t flags = 0) noexcept {
    Cdb cdb{opcode, flags};
    store_big_endian<std::uint64_t>(&cdb[2], lba);
    store_big_endian<std::uint32_t>(&cdb[10], blocks);
    return cdb;
}

constexpr std::uint8_t fua_flag = 0x08;
constexpr std::uint8_t byte_check_flag = 0x02;

[[nodiscard]] inline Cdb read_cdb(std::uint64_t lba, std::uint32_t blocks) noexcept {
    return cdb_16(0x88, lba, blocks);
}
[[nodiscard]] inline Cdb write_cdb(std::uint64_t lba, std::uint32_t blocks,
                                   bool force_unit_access = false) noexcept {
    return cdb_16(0x8A, lba, blocks, force_unit_access ? fua_flag : 0);
}
[[nodiscard]] inline Cdb verify_cdb(std::uint64_t lba, std::uint32_t blocks) noexcept {
    return cdb_16(0x8F, lba, blocks, byte_check_flag);
}
[[nodiscard]] inline Cdb synchronize_cache_cdb() noexcept {
    return cdb_16(0x91, 0, 0);
}
/// The buffer holds the blocks to compare and then those to write.
[[nodiscard]] inline Cdb compare_and_write_cdb(std::uint64_t lba, std::uint8_t blocks) noexcept {
    Cdb cdb = cdb_16(0x89, lba, 0);
    cdb[13] = blocks;
    return cdb;
}
[[nodiscard]] inline Cdb test_unit_ready_cdb() noexcept {
    return Cdb{};
}
[[nodiscard]] inline Cdb inquiry_cdb() noexcept {
    return Cdb{0x12, 0, 0, 0, 36, 0};
}

/// A command of the initiator's. Trivially copyable, so that a model can put it back as it was.
struct Srb {
    Cdb cdb{};
    std::uint8_t cdb_length = 16;
    std::uint8_t* buffer = nullptr;
    std::size_t buffer_length = 0;

    bool pending = false;  // the disk has it
    std::uint32_t completions = 0;
    Cause cause = Cause::answered;
    scsi::Status status = scsi::Status::good;
    scsi::SenseKey key = scsi::SenseKey::no_sense;
    std::uint16_t additional = 0;
    std::uint64_t information = 0;
    std::size_t transferred = 0;

    [[nodiscard]] scsi::Command command() noexcept {
        return {{cdb.data(), cdb_length}, {buffer, buffer_length}, buffer_length};
    }
    void keep(const scsi::Answer& answer) noexcept {
        status = answer.status;
        key = answer.sense.key;
        additional = static_cast<std::uint16_t>(answer.sense.asc << 8 | answer.sense.ascq);
        information = answer.sense.information;
        transferred = answer.transferred;
    }
    [[nodiscard]] bool succeeded() const noexcept {
        return cause == Cause::answered && status == scsi::Status::good;
    }
};

/// A port for SRBs of the type above, whose calls come from one thread at a time for one SRB.
class TestPort : public Port {
  public:
    void complete(void* srb, Cause cause, const scsi::Answer& answer) noexcept override {
        require(platform::native::spin_locks_held() == 0, "no lock is held over complete()");
        auto& command = *static_cast<Srb*>(srb);
        require(command.completions == 0, "an SRB completes once");
        ++command.completions;
        command.cause = cause;
        command.keep(answer);
        on_complete(command);
    }

    std::span<std::uint8_t> data(void* srb) noexcept override {
        require(platform::native::spin_locks_held() == 0, "no lock is held over data()");
        const auto& command = *static_cast<Srb*>(srb);
        require(command.completions == 0, "the buffer of a completed SRB is not touched");
        return {command.buffer, command.buffer_length};
    }

    void reset_done(void* reset_srb) noexcept override {
        require(platform::native::spin_locks_held() == 0, "no lock is held over reset_done()");
        on_reset_done(reset_srb);
    }

    void disks_changed() noexcept override { changes_.fetch_add(1); }

    void schedule_removal(std::uint64_t connection_id) noexcept override {
        removal_asked_.store(connection_id);
    }

    [[nodiscard]] unsigned changes() const noexcept { return changes_.load(); }
    [[nodiscard]] std::uint64_t removal_asked() const noexcept { return removal_asked_.load(); }

  protected:
    ~TestPort() = default;
    virtual void on_complete(Srb& /*srb*/) noexcept {}
    virtual void on_reset_done(void* /*reset_srb*/) noexcept {}

  private:
    std::atomic<unsigned> changes_{0};
    std::atomic<std::uint64_t> removal_asked_{0};
};

}  // namespace wnbd::engine::model
