// SPDX-License-Identifier: LGPL-2.1-or-later
// What is measured: servers, and the loads that each of them gets.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "bench/nbd_bench_clients.h"
#include "tests/interop/server_process.h"

namespace wnbd::bench {

inline constexpr std::uint64_t disk_size = 256U << 20;  // bytes

/// One server and the way to it.
struct Place {
    bool null = false;         // our null server, else nbdkit's memory
    bool unix_socket = false;  // else TCP over the loopback
    bool tls = false;
    [[nodiscard]] std::string name() const;  // "nbdkit unix tls"
};

enum class Peer : std::uint8_t { libnbd, fio, qemu_img, nbdcopy };
[[nodiscard]] const char* name_of(Peer peer);

struct Line {
    Place place{};
    unsigned connections = 1;
    Cell cell{};
    std::vector<Peer> peers{};               // beside ours
    [[nodiscard]] std::string name() const;  // "nbdkit unix read 4K QD128"
};

/// All lines, those of one place side by side. `programs_everywhere`: the peers that are programs
/// run wherever they can, else on a few lines that stand for the others.
[[nodiscard]] std::vector<Line> plan(double seconds, bool programs_everywhere);

/// A running server. Throws when it cannot be started.
class BenchServer {
  public:
    /// `null_server`: the program's path.
    BenchServer(const Place& place, const std::string& null_server, bool structured);
    [[nodiscard]] const std::string& uri() const noexcept { return uri_; }
    [[nodiscard]] int process() const noexcept { return server_->process(); }

  private:
    test::TemporaryDirectory directory_;
    std::unique_ptr<test::ServerProcess> server_;
    std::string uri_;
};

}  // namespace wnbd::bench
