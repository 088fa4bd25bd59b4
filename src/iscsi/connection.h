// SPDX-License-Identifier: LGPL-2.1-or-later
// One connection of an initiator, without I/O: bytes in, bytes out. The shell reads from its socket
// into receive_room(), tells how much came, and sends what to_send() holds. All calls come from one
// thread at a time (the shell's), but for Task completions, which the shell carries over.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "iscsi/target.h"

namespace wnbd::iscsi {

struct ReceiveSlice {
    std::uint8_t* data = nullptr;
    std::size_t size = 0;
};
struct SendSlice {
    const std::uint8_t* data = nullptr;
    std::size_t size = 0;
};

/// The shell around a connection.
class ConnectionHost {
  public:
    /// From any thread: have Connection::process_completions() called soon on the connection's own
    /// thread. Many calls before that may become one.
    virtual void wake() noexcept = 0;

  protected:
    ~ConnectionHost() = default;
};

class Connection {
  public:
    /// `peer` is the initiator's address, `portal` ours, as text: for the log and SendTargets.
    /// Allocates everything the connection will use. Throws std::bad_alloc.
    Connection(Target& target, ConnectionHost& host, std::string peer, std::string portal,
               std::uint64_t now_ms);
    ~Connection();  // after detach()

    /// Where the next bytes belong: one or two slices (the rest of a write's data, then the buffer
    /// for what follows). Empty: read nothing until something was sent or completed.
    [[nodiscard]] std::span<const ReceiveSlice> receive_room() noexcept;
    /// `count` bytes were put there. Runs every whole PDU among them.
    void received(std::size_t count, std::uint64_t now_ms) noexcept;

    /// What is to be sent, in order; stays valid until sent().
    [[nodiscard]] std::span<const SendSlice> to_send() noexcept;
    void sent(std::size_t count) noexcept;

    /// Takes in the tasks that other threads have completed since.
    void process_completions() noexcept;

    /// Time goes by: login time-out, NOP-In. To be called about once a second.
    void tick(std::uint64_t now_ms) noexcept;

    /// Asks the initiator to log out (async message), because the target is about to stop.
    void ask_for_logout(std::uint16_t within_seconds) noexcept;

    /// True when nothing is left to send and the socket is to be closed.
    [[nodiscard]] bool finished() const noexcept;
    /// Why, for the log; empty after an orderly logout.
    [[nodiscard]] const std::string& reason() const noexcept;

    /// The socket is gone. Ends the connection's tasks and session; true when none is under way any
    /// more, so that the connection may be destroyed; otherwise wake() and process_completions() go
    /// on, and drained() tells.
    void detach() noexcept;
    [[nodiscard]] bool drained() const noexcept;
};

}  // namespace wnbd::iscsi
