// SPDX-License-Identifier: LGPL-2.1-or-later
#include "bench/nbd_bench_plan.h"

#include <fstream>

namespace wnbd::bench {
namespace {

constexpr std::uint32_t small = 4096;
constexpr std::uint32_t medium = 256U << 10;
constexpr std::uint32_t large = 2U << 20;

unsigned streaming_depth(std::uint32_t block) {
    return block == large ? 4 : 16;
}

std::vector<Peer> peers_of(const Place& place, const Cell& cell, unsigned connections,
                           bool everywhere) {
    std::vector<Peer> peers{Peer::libnbd};
    if (place.tls || connections != 1) return peers;
    const bool streaming = cell.block >= streaming_block;
    const bool ends = cell.depth == 1 || cell.depth == 128;
    const bool some = streaming ? cell.block == large : ends;
    if (everywhere || (some && place.unix_socket)) {
        peers.push_back(Peer::fio);
        peers.push_back(Peer::qemu_img);
    }
    if (streaming && !cell.write && (everywhere || place.unix_socket))
        peers.push_back(Peer::nbdcopy);
    return peers;
}

class Planner {
  public:
    Planner(double seconds, bool everywhere) : seconds_(seconds), everywhere_(everywhere) {}

    void add(const Place& place, bool write, std::uint32_t block, unsigned depth,
             unsigned connections = 1) {
        const Cell cell{write, block, depth, seconds_};
        lines.push_back(
            {place, connections, cell, peers_of(place, cell, connections, everywhere_)});
    }
    void add_small(const Place& place, std::initializer_list<unsigned> depths) {
        for (const bool write : {false, true})
            for (const auto depth : depths)
                add(place, write, small, depth);
    }
    void add_streams(const Place& place) {
        for (const auto block : {medium, large})
            for (const bool write : {false, true})
                add(place, write, block, streaming_depth(block));
    }
    void add_connections(const Place& place) {
        for (const auto connections : {2U, 4U}) {
            add(place, false, small, 16, connections);
            add(place, false, small, 128, connections);
            add(place, true, small, 128, connections);
            add(place, false, large, streaming_depth(large), connections);
        }
    }

    std::vector<Line> lines{};

  private:
    double seconds_;
    bool everywhere_;
};

}  // namespace

std::string Place::name() const {
    return std::string(null ? "null " : "nbdkit ") + (unix_socket ? "unix" : "tcp") +
           (tls ? " tls" : "");
}

const char* name_of(Peer peer) {
    switch (peer) {
        case Peer::libnbd: return "libnbd";
        case Peer::fio: return "fio";
        case Peer::qemu_img: return "qemu_img";
        case Peer::nbdcopy: return "nbdcopy";
    }
    return "";
}

std::string Line::name() const {
    const bool mebi = cell.block >= (1U << 20);
    return place.name() + (cell.write ? " write " : " read ") +
           std::to_string(cell.block >> (mebi ? 20 : 10)) + (mebi ? "M" : "K") + " QD" +
           std::to_string(cell.depth) +
           (connections == 1 ? "" : " x" + std::to_string(connections));
}

std::vector<Line> plan(double seconds, bool programs_everywhere) {
    Planner planner(seconds, programs_everywhere);
    for (const bool null : {false, true})
        for (const bool unix_socket : {true, false}) {
            const Place place{.null = null, .unix_socket = unix_socket};
            planner.add_small(place, {1, 16, 64, 128});
            planner.add_streams(place);
            planner.add_connections(place);
        }
    const Place tls{.tls = true};
    planner.add_small(tls, {1, 16, 64, 128});
    planner.add_streams(tls);
    planner.add_connections(tls);
    return planner.lines;
}

BenchServer::BenchServer(const Place& place, const std::string& null_server, bool structured) {
    const auto socket = place.unix_socket ? directory_.file("nbd.sock") : std::string();
    const auto port = place.unix_socket ? std::uint16_t{0} : test::free_port();
    const auto size = std::to_string(disk_size);
    std::vector<std::string> command;
    if (place.null) {
        command = {null_server, "--size", size};
        if (structured) command.emplace_back("--structured");
        if (place.unix_socket)
            command.insert(command.end(), {"--unix", socket});
        else
            command.insert(command.end(), {"--port", std::to_string(port)});
    } else {
        command = {"nbdkit", "-f", "--exit-with-parent"};
        if (place.unix_socket)
            command.insert(command.end(), {"-U", socket});
        else
            command.insert(command.end(), {"-i", "127.0.0.1", "-p", std::to_string(port)});
    }
    const auto keys = directory_.file("keys");
    if (place.tls) {
        std::ofstream(keys) << "bench:0123456789abcdef0123456789abcdef\n";
        command.insert(command.end(), {"--tls=require", "--tls-psk=" + keys});
    }
    if (!place.null) command.insert(command.end(), {"memory", size});
    server_ = std::make_unique<test::ServerProcess>(command, socket, port);

    const std::string scheme = place.tls ? "nbds" : "nbd";
    const std::string user = place.tls ? "bench@" : "";
    uri_ = place.unix_socket ? scheme + "+unix://" + user + "/?socket=" + socket
                             : scheme + "://" + user + "127.0.0.1:" + std::to_string(port) + "/";
    if (place.tls) uri_ += (place.unix_socket ? "&" : "?") + ("tls-psk-file=" + keys);
}

}  // namespace wnbd::bench
