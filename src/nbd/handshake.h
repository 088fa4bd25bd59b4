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
#include "nbd/tls.h"

namespace wnbd::nbd {

/// What a negotiation is for. All but `transmission` end with NBD_OPT_ABORT.
enum class Goal : std::uint8_t {
    transmission,   // GO, or EXPORT_NAME where the server has no GO
    info,           // INFO of the export: some servers' sizes and flags are wrong here, GO's never
    list,           // the server's exports
    list_contexts,  // the metadata contexts of the export
};

/// What to negotiate, and which of the protocol's extensions to ask for. What the server lacks of
/// them is done without, but for TLS, which goes by its mode.
struct HandshakeOptions {
    std::string export_name{};  // UTF-8, at most max_export_name bytes
    Goal goal = Goal::transmission;
    TlsMode tls = TlsMode::off;
    bool structured_replies = true;
    bool extended_headers = true;
    bool block_status = true;  // base:allocation; needs one of the two above
};

/// What a server lists.
struct ListedExport {
    std::string name{};         // UTF-8, as received: unprinted
    std::string description{};  // the same; often empty
};

/// One negotiation: STARTTLS, EXTENDED_HEADERS, STRUCTURED_REPLY, SET_META_CONTEXT, then the goal.
/// Not thread-safe. Feed receive() with what arrives, send what output() has, until done() or
/// failed(); and when wants_tls(), start TLS and say tls_started().
class Handshake {
  public:
    /// A name longer than max_export_name fails at once.
    explicit Handshake(HandshakeOptions options);

    /// Takes received bytes and returns how many were used: fewer than given only when the
    /// negotiation is over. What is left then belongs to the transmission phase.
    /// A server that says anything between its consent to TLS and tls_started() fails: it would be
    /// in plain text, and anybody's.
    std::size_t receive(std::span<const std::uint8_t> bytes);

    /// How many bytes the present step still lacks; receiving no more leaves none over. 0 when
    /// wants_tls(): nothing may be received then but by TLS.
    [[nodiscard]] std::size_t needed() const noexcept { return input_needed_ - input_length_; }

    /// Bytes for the server that sent() has not yet confirmed. Valid until the next call. Send them
    /// before TLS starts. A negotiation that is over may still have an NBD_OPT_ABORT to say.
    [[nodiscard]] std::span<const std::uint8_t> output() const noexcept;
    void sent(std::size_t count) noexcept;

    /// The server agreed to TLS: its handshake comes now, on the same stream.
    [[nodiscard]] bool wants_tls() const noexcept { return state_ == State::tls; }
    /// TLS is established and the server is who it should be. The negotiation goes on inside.
    /// `session`: the agreement's.
    void tls_started(std::string session);

    /// The server closed the connection, or the caller's patience ended: names the step.
    [[nodiscard]] Fault hang_up() const;
    [[nodiscard]] const char* step() const noexcept;

    [[nodiscard]] bool done() const noexcept { return state_ == State::done; }
    [[nodiscard]] bool failed() const noexcept { return state_ == State::failed; }
    /// Why it failed; the code is none unless failed().
    [[nodiscard]] const Fault& fault() const noexcept { return fault_; }

    // Meaningful once done().
    /// Goal transmission: checked by check_export(). Goal info: as the server says it, with a size
    /// of 0 where it says none.
    [[nodiscard]] const Agreement& agreement() const noexcept { return agreement_; }
    /// Goal list, in the server's order.
    [[nodiscard]] const std::vector<ListedExport>& exports() const noexcept { return exports_; }
    /// Goal list_contexts: their names, unprinted. Empty also when the server has no metadata.
    [[nodiscard]] const std::vector<std::string>& contexts() const noexcept { return contexts_; }

  private:
    enum class State : std::uint8_t {
        init_magic,
        option_magic,
        server_flags,
        reply_header,
        reply_payload,
        export_name_reply,
        tls,
        done,
        failed,
    };
    using Payload = std::span<const std::uint8_t>;

    void step_forward();
    void on_init_magic(std::uint64_t magic);
    void on_option_magic(std::uint64_t magic);
    void on_server_flags(std::uint16_t flags);
    void on_reply_header();
    void on_reply(Payload payload);
    void on_acknowledged(Payload payload);
    void on_error(Payload payload);
    void on_export_info(Payload payload);
    void on_server(Payload payload);
    void on_context(Payload payload);
    void on_export_name_reply();
    void on_export_agreed();

    /// From one option to the next that the goal and the agreement so far ask for.
    void begin_options();
    void after_tls();
    void after_extended_headers();
    void after_replies_agreed();
    void pursue_goal();
    void finish();

    void expect(State state, std::size_t bytes) noexcept;
    void fail(Fault fault);
    void refuse(Payload payload);
    void malformed(std::size_t length, std::size_t needed);
    void send_option(Option option, Payload data);
    void ask(Option option, Payload data = {});
    void ask_for_export(Option option);
    void ask_for_contexts(Option option);
    void ask_export_name();
    [[nodiscard]] unsigned replies_max() const noexcept;

    const HandshakeOptions options_;
    State state_ = State::init_magic;
    Option option_ = Option::abort;  // the last one asked for
    std::array<std::uint8_t, max_option_reply> input_;
    std::size_t input_length_ = 0;
    std::size_t input_needed_ = 8;
    std::vector<std::uint8_t> output_;
    std::size_t output_sent_ = 0;
    std::uint16_t server_flags_ = 0;
    std::uint32_t reply_type_ = 0;
    unsigned replies_ = 0;  // to the present option
    bool have_export_ = false;
    Agreement agreement_{};
    std::vector<ListedExport> exports_;
    std::vector<std::string> contexts_;
    Fault fault_;
};

}  // namespace wnbd::nbd
