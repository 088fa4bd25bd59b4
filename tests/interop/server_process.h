// SPDX-License-Identifier: LGPL-2.1-or-later
// Real NBD servers as child processes, for tests and benchmarks.
#pragma once

#include <sys/types.h>

#include <cstdint>
#include <string>
#include <vector>

namespace wnbd::test {

/// A directory of its own, removed with everything in it at the end.
class TemporaryDirectory {
  public:
    TemporaryDirectory();
    explicit TemporaryDirectory(const std::string& parent);
    TemporaryDirectory(const TemporaryDirectory&) = delete;
    TemporaryDirectory& operator=(const TemporaryDirectory&) = delete;
    ~TemporaryDirectory();

    [[nodiscard]] std::string file(const std::string& name) const { return path_ + "/" + name; }

  private:
    std::string path_;
};

/// A free TCP port of the loopback interface (free when asked, that is).
[[nodiscard]] std::uint16_t free_port();

/// One running server. It dies with this object, and with this process.
class ServerProcess {
  public:
    /// Starts `command` and waits until it listens on the Unix socket or, if that is empty, on the
    /// TCP port. Throws std::runtime_error when it does not within 20 seconds.
    ServerProcess(const std::vector<std::string>& command, std::string socket_path,
                  std::uint16_t port);
    ServerProcess(const ServerProcess&) = delete;
    ServerProcess& operator=(const ServerProcess&) = delete;
    ~ServerProcess();

    /// The URI of an export of this server. `export_name` is put in as it stands.
    [[nodiscard]] std::string uri(const std::string& export_name = "") const;
    [[nodiscard]] pid_t process() const noexcept { return process_; }
    /// Ends it at once, as a crash would.
    void kill() noexcept;

  private:
    std::string socket_path_;
    std::uint16_t port_;
    pid_t process_ = -1;
};

}  // namespace wnbd::test
