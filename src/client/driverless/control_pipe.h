// SPDX-License-Identifier: LGPL-2.1-or-later
// The way to a disk that another process serves: a named pipe of that process, and a list of those
// pipes in the registry, which administrators alone can write and which no restart survives.
#pragma once

#include <windows.h>

#include <functional>
#include <string>
#include <thread>
#include <vector>

#include "base/result.h"
#include "client/driverless/control_protocol.h"

namespace wnbd::client {

/// Closes on destruction; may be empty.
class OwnedHandle {
  public:
    OwnedHandle() = default;
    explicit OwnedHandle(HANDLE handle) noexcept
        : handle_(handle == INVALID_HANDLE_VALUE ? nullptr : handle) {}
    ~OwnedHandle() {
        if (handle_ != nullptr) CloseHandle(handle_);
    }
    OwnedHandle(OwnedHandle&& other) noexcept : handle_(other.handle_) { other.handle_ = nullptr; }
    OwnedHandle& operator=(OwnedHandle&&) = delete;
    OwnedHandle(const OwnedHandle&) = delete;
    OwnedHandle& operator=(const OwnedHandle&) = delete;

    [[nodiscard]] bool valid() const noexcept { return handle_ != nullptr; }
    [[nodiscard]] HANDLE get() const noexcept { return handle_; }

  private:
    HANDLE handle_ = nullptr;
};

/// Answers on a pipe of its own, which Administrators, SYSTEM and the user of this process may use,
/// from this machine alone.
class ControlServer {
  public:
    /// Called on several threads at a time; must not throw.
    using Handler = std::function<ControlAnswer(ControlRequest)>;

    explicit ControlServer(Handler handler);
    /// Lets answers that are on their way arrive, for two seconds at most.
    ~ControlServer();
    ControlServer(const ControlServer&) = delete;
    ControlServer& operator=(const ControlServer&) = delete;

    /// Opens the pipe and puts it on the list. Returns a Win32 error.
    [[nodiscard]] DWORD start();
    /// Takes it off the list; those that have found it are answered still. Idempotent.
    void withdraw() noexcept;

  private:
    void serve(HANDLE pipe);
    void converse(HANDLE pipe);

    Handler handler_;
    std::wstring name_;
    OwnedHandle stop_;
    std::vector<OwnedHandle> pipes_;
    std::vector<std::thread> threads_;
};

/// A pipe on the list.
struct ControlPeer {
    DWORD pid = 0;
    std::wstring name;  // as in the registry
};

/// Those on the list. An empty list where it cannot be read.
[[nodiscard]] std::vector<ControlPeer> control_peers();

/// Asks and waits for the answer. The error is a Win32 error: ERROR_FILE_NOT_FOUND when the process
/// is gone, whose entry is then taken off the list; WAIT_TIMEOUT; ERROR_INVALID_DATA for what is no
/// answer, or comes from a process that is not the one on the list.
[[nodiscard]] Result<ControlAnswer, DWORD> ask(const ControlPeer& peer, ControlRequest request,
                                               DWORD timeout_ms);

}  // namespace wnbd::client
