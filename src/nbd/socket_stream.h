// SPDX-License-Identifier: LGPL-2.1-or-later
// The stream over a socket of the system: epoll on Linux, an I/O completion port on Windows.
#pragma once

#include <memory>

#include "base/result.h"
#include "nbd/fault.h"
#include "nbd/socket.h"
#include "nbd/stream.h"

namespace wnbd::nbd {

/// A connected socket as a stream; closes it at its end. All it needs is made by create(): no other
/// call allocates.
class SocketStream final : public Stream {
  public:
    [[nodiscard]] static Result<std::unique_ptr<SocketStream>, Fault> create(Socket socket);
    ~SocketStream() override;

    [[nodiscard]] IoResult send(std::span<const IoSlice> slices) noexcept override;
    [[nodiscard]] IoResult receive(std::span<const IoSlice> slices) noexcept override;
    [[nodiscard]] Ready wait(const WaitFor& what) noexcept override;
    void wake() noexcept override;
    void shut_down() noexcept override;
    void shut_down_send() noexcept override;
    [[nodiscard]] FaultText explain(int error) const noexcept override {
        return explain_system_error(error);
    }

  private:
    struct System;  // what the operating system needs for it
    explicit SocketStream(std::unique_ptr<System> system) noexcept;

    std::unique_ptr<System> system_;
};

}  // namespace wnbd::nbd
