// SPDX-License-Identifier: LGPL-2.1-or-later
// The server's side of the newstyle negotiation, fed with the client's bytes.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "nbd/export_info.h"
#include "nbd/test_wire.h"
#include "personality.h"

namespace wnbd::nbd::sim {

class ModelNegotiation {
  public:
    ModelNegotiation(World& world, const Personality& personality);

    /// Takes the client's bytes; what is left over when done() belongs to transmission.
    void receive(std::vector<std::uint8_t>& input);
    /// Bytes for the client; empty afterwards.
    [[nodiscard]] std::vector<std::uint8_t> output();

    [[nodiscard]] bool done() const noexcept { return state_ == State::done; }
    /// The client broke the rules, aborted, or the server wants no more of it.
    [[nodiscard]] bool over() const noexcept { return state_ == State::over; }
    /// The client did something that the protocol forbids.
    [[nodiscard]] const std::string& complaint() const noexcept { return complaint_; }
    [[nodiscard]] WireFormat format() const noexcept { return format_; }
    [[nodiscard]] bool allocation_agreed() const noexcept { return allocation_; }

    static constexpr std::uint32_t allocation_id = 17;

  private:
    enum class State : std::uint8_t { client_flags, options, done, over };

    [[nodiscard]] bool take_option(std::vector<std::uint8_t>& input);
    void on_option(Option option, std::span<const std::uint8_t> data);
    void on_go(Option option, std::span<const std::uint8_t> data);
    void on_export_name(std::span<const std::uint8_t> data);
    void on_set_meta_context(std::span<const std::uint8_t> data);
    void reply(Option option, OptionReply type, const test::Wire& payload = {});
    void put(const test::Wire& wire);
    void complain(std::string text);
    [[nodiscard]] bool lie(Option option);

    World& world_;
    Personality personality_;
    State state_ = State::client_flags;
    bool send_zeroes_ = true;
    std::vector<std::uint8_t> output_;
    std::string complaint_;
    WireFormat format_ = WireFormat::simple;
    bool allocation_ = false;
};

}  // namespace wnbd::nbd::sim
