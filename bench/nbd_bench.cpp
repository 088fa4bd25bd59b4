// SPDX-License-Identifier: LGPL-2.1-or-later
// Our NBD client beside libnbd and fio, in one run, against the same nbdkit.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bench/nbd_bench_clients.h"
#include "tests/interop/server_process.h"

namespace {

using wnbd::bench::Cell;
using wnbd::bench::Measurement;
using wnbd::bench::ratio;

constexpr std::uint64_t disk_size = 256U << 20;  // bytes

struct Row {
    std::string transport;
    Cell cell;
    Measurement ours{};
    Measurement libnbd{};
    Measurement fio{};
};

std::string name_of(const Row& row) {
    return row.transport + " " + (row.cell.write ? "write " : "read ") +
           std::to_string(row.cell.block / 1024) + "K QD" + std::to_string(row.cell.depth);
}

void print(const Row& row) {
    std::printf("%-20s %8.1f %8.1f %8.1f   %5.2f %5.2f   %7.2f %7.2f %7.2f   %5.2f %5.2f\n",
                name_of(row).c_str(), row.ours.iops() / 1e3, row.libnbd.iops() / 1e3,
                row.fio.iops() / 1e3, ratio(row.ours.iops(), row.libnbd.iops()),
                ratio(row.ours.iops(), row.fio.iops()), row.ours.cpu_us_per_request(),
                row.libnbd.cpu_us_per_request(), row.fio.cpu_us_per_request(),
                ratio(row.ours.cpu_us_per_request(), row.libnbd.cpu_us_per_request()),
                ratio(row.ours.cpu_us_per_request(), row.fio.cpu_us_per_request()));
    std::fflush(stdout);
}

nlohmann::json to_json(const Measurement& measurement) {
    return {{"iops", measurement.iops()},
            {"requests", measurement.requests},
            {"seconds", measurement.seconds},
            {"client_cpu_seconds", measurement.cpu_seconds},
            {"client_cpu_us_per_request", measurement.cpu_us_per_request()}};
}

nlohmann::json to_json(const Row& row, std::int64_t time) {
    return {{"benchmark", "nbd_client"},
            {"time", time},
            {"server", "nbdkit memory"},
            {"transport", row.transport},
            {"operation", row.cell.write ? "write" : "read"},
            {"block_bytes", row.cell.block},
            {"queue_depth", row.cell.depth},
            {"ours", to_json(row.ours)},
            {"libnbd", to_json(row.libnbd)},
            {"fio", to_json(row.fio)},
            {"iops_ours_per_libnbd", ratio(row.ours.iops(), row.libnbd.iops())},
            {"iops_ours_per_fio", ratio(row.ours.iops(), row.fio.iops())},
            {"cpu_ours_per_libnbd",
             ratio(row.ours.cpu_us_per_request(), row.libnbd.cpu_us_per_request())}};
}

Measurement checked(Measurement measurement, const char* client) {
    if (!measurement.failure.empty())
        throw std::runtime_error(std::string(client) + ": " + measurement.failure);
    return measurement;
}

std::vector<Cell> cells(double seconds) {
    std::vector<Cell> list;
    for (const unsigned depth : {1U, 32U, 128U})
        for (const bool write : {false, true})
            list.push_back({write, 4096, depth, seconds});
    for (const bool write : {false, true})
        list.push_back({write, 256U << 10, 32, seconds});
    return list;
}

/// Fills the disk once: reads of a sparse server are not the same work.
void fill(const std::string& uri) {
    (void)checked(wnbd::bench::measure_ours(uri, disk_size, {true, 1U << 20, 16, 0.5}), "fill");
}

void run(const std::string& transport, double seconds, std::vector<Row>& rows) {
    const wnbd::test::TemporaryDirectory directory;
    const bool unix_socket = transport == "unix";
    const auto socket = unix_socket ? directory.file("nbd.sock") : std::string();
    const auto port = unix_socket ? std::uint16_t{0} : wnbd::test::free_port();
    std::vector<std::string> command{"nbdkit", "-f", "--exit-with-parent"};
    if (unix_socket)
        command.insert(command.end(), {"-U", socket});
    else
        command.insert(command.end(), {"-i", "127.0.0.1", "-p", std::to_string(port)});
    command.insert(command.end(), {"memory", std::to_string(disk_size)});
    const wnbd::test::ServerProcess server(command, socket, port);
    const auto uri = server.uri();
    fill(uri);
    for (const auto& cell : cells(seconds)) {
        Row row{transport, cell};
        row.libnbd = checked(wnbd::bench::measure_libnbd(uri, disk_size, cell), "libnbd");
        row.ours = checked(wnbd::bench::measure_ours(uri, disk_size, cell), "ours");
        row.fio = checked(wnbd::bench::measure_fio(uri, disk_size, cell), "fio");
        print(row);
        rows.push_back(std::move(row));
    }
}

}  // namespace

int main(int argument_count, char** arguments) try {
    double seconds = 0.8;
    std::string json_path;
    CLI::App application{"Our NBD client beside libnbd and fio's nbd engine"};
    application.add_option("--seconds", seconds, "of load per cell and client")
        ->check(CLI::Range(0.1, 600.0));
    application.add_option("--json", json_path, "append one JSON line per cell to this file");
    CLI11_PARSE(application, argument_count, arguments);

    std::printf("%-20s %-26s   %-11s   %-23s   %s\n", "", "kIOPS", "ours /",
                "client CPU us/request", "ours /");
    std::printf("%-20s %8s %8s %8s   %5s %5s   %7s %7s %7s   %5s %5s\n", "nbdkit memory", "ours",
                "libnbd", "fio", "lnbd", "fio", "ours", "libnbd", "fio", "lnbd", "fio");
    std::vector<Row> rows;
    for (const char* const transport : {"unix", "tcp"})
        run(transport, seconds, rows);

    if (!json_path.empty()) {
        const auto folder = std::filesystem::path(json_path).parent_path();
        if (!folder.empty()) std::filesystem::create_directories(folder);
        std::ofstream file(json_path, std::ios::app);
        const auto time = static_cast<std::int64_t>(std::time(nullptr));
        for (const auto& row : rows)
            file << to_json(row, time).dump() << '\n';
        if (!file.flush()) throw std::runtime_error("cannot write " + json_path);
    }
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "nbd_bench: %s\n", error.what());
    return 1;
}
