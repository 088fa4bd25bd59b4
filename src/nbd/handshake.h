// SPDX-License-Identifier: LGPL-2.1-or-later
// The newstyle negotiation as a machine that is fed with the server's bytes and gives ours.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "nbd/export_info.h"
#include "nbd/fault.h"
#include "nbd/protocol.h"

namespace wnbd::nbd {

/// One negotiation: fixed newstyle with NBD_OPT_GO, NBD_OPT_EXPORT_NAME where the server has no GO.
/// Not thread-safe. Feed receive() with what arrives, send what output() has, until done() or
/// failed().
class Handshake {
  public:
    /// A name longer than max_export_name fails at once.
    explicit Handshake(std::string_view export_name);

    /// Takes received bytes and returns how many were used: fewer than given only when the
    /// negotiation is over. What is left then belongs to the transmission phase.
    std::size_t receive(std::span<const std::uint8_t> bytes);

    /// How many bytes the present step still lacks; receiving no more leaves none over.
    [[nodiscard]] std::size_t needed() const noexcept { return input_needed_ - input_length_; }

    /// Bytes for the server that sent() has not yet confirmed. Valid until the next call.
    /// A failed negotiation may still have an NBD_OPT_ABORT to say.
    [[nodiscard]] std::span<const std::uint8_t> output() const noexcept;
    void sent(std::size_t count) noexcept;

    /// The server closed the connection, or the caller's patience ended: names the step.
    [[nodiscard]] Fault hang_up() const;
    [[nodiscard]] const char* step() const noexcept;

    [[nodiscard]] bool done() const noexcept { return state_ == State::done; }
    [[nodiscard]] bool failed() const noexcept { return state_ == State::failed; }
    /// Why it failed; the code is none unless failed().
    [[nodiscard]] const Fault& fault() const noexcept { return fault_; }
    /// Meaningful once done().
    [[nodiscard]] const ExportInfo& info() const noexcept { return info_; }

  private:
    enum class State : std::uint8_t {
        init_magic,
        option_magic,
        server_flags,
        go_reply_header,
        go_reply_payload,
        export_name_reply,
        done,
        failed,
    };

    void step_forward();
    void on_option_magic(std::uint64_t magic);
    void on_server_flags(std::uint16_t flags);
    void on_go_reply_header();
    void on_go_reply(std::span<const std::uint8_t> payload);
    void on_info(std::span<const std::uint8_t> payload);
    void on_refusal(std::span<const std::uint8_t> payload);
    void on_export_name_reply();
    void on_acknowledged();

    void expect(State state, std::size_t bytes) noexcept;
    void fail(Fault fault);
    void put_option(Option option, std::span<const std::uint8_t> data);
    void ask_go();
    void ask_export_name();

    std::string export_name_;
    State state_ = State::init_magic;
    std::array<std::uint8_t, max_option_reply> input_;
    std::size_t input_length_ = 0;
    std::size_t input_needed_ = 8;
    std::vector<std::uint8_t> output_;
    std::size_t output_sent_ = 0;
    std::uint16_t server_flags_ = 0;
    std::uint32_t reply_type_ = 0;
    unsigned replies_ = 0;
    bool have_export_ = false;
    ExportInfo info_;
    Fault fault_;
};

}  // namespace wnbd::nbd
