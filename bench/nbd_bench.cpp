// SPDX-License-Identifier: LGPL-2.1-or-later
// Our NBD client beside libnbd, fio, qemu-img and nbdcopy, in one run, against the same servers.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <regex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "bench/nbd_bench_plan.h"

namespace {

using namespace wnbd::bench;

struct Settings {
    double seconds = 0.2;
    unsigned rounds = 5;
    std::vector<std::string> only{};
    bool everywhere = false;
    bool structured = false;
    bool list = false;
    std::string json_path{};
    std::string null_server{};
};

/// Medians over the rounds, each figure for itself.
struct Figures {
    std::string failure{};  // of the first round that failed; then there are no figures
    double iops = 0;
    double iops_least = 0;
    double iops_most = 0;
    double client_us = 0;  // CPU of a request
    double server_us = 0;
    double seconds = 0;      // of all rounds together
    double cpu_seconds = 0;  // of the client in them
};

Figures figures_of(const std::vector<Measurement>& rounds) {
    Figures figures;
    std::vector<double> iops, client, server;
    for (const auto& round : rounds) {
        if (!round.failure.empty()) return {.failure = round.failure};
        iops.push_back(round.iops());
        client.push_back(round.cpu_us_per_request());
        server.push_back(round.server_cpu_us_per_request());
        figures.seconds += round.seconds;
        figures.cpu_seconds += round.cpu_seconds;
    }
    figures.iops = median(iops);
    figures.iops_least = std::ranges::min(iops);
    figures.iops_most = std::ranges::max(iops);
    figures.client_us = median(client);
    figures.server_us = median(server);
    return figures;
}

using Row = std::map<std::string, Figures>;  // by client; ours is "ours"

Measurement measure(const std::optional<Peer>& client, const NbdLoad& load, double expected_iops) {
    if (!client) return measure_ours(load);
    switch (*client) {
        case Peer::libnbd: return measure_libnbd(load);
        case Peer::fio: return measure_fio(load);
        case Peer::qemu_img: return measure_qemu_img(load, expected_iops);
        case Peer::nbdcopy: return measure_nbdcopy(load);
    }
    return {};
}

/// Every client once a round, each round beginning with another one, so that nobody has the quiet
/// moments for himself.
Row measure(const Line& line, const BenchServer& server, unsigned rounds) {
    std::vector<std::optional<Peer>> clients{std::nullopt};
    clients.insert(clients.end(), line.peers.begin(), line.peers.end());
    std::map<std::string, std::vector<Measurement>> measured;
    const NbdLoad load{server.uri(), disk_size, line.connections, line.cell};
    double expected_iops = 1000;
    for (unsigned round = 0; round < rounds; ++round) {
        for (std::size_t turn = 0; turn < clients.size(); ++turn) {
            // What qemu-img is to do in its time is taken from the others' first round.
            const auto index = round == 0 ? turn : (turn + round) % clients.size();
            const auto& client = clients[index];
            const auto before = cpu_of(server.process());
            auto one = measure(client, load, expected_iops);
            one.server_cpu_seconds = cpu_of(server.process()) - before;
            if (client == Peer::libnbd && one.failure.empty()) expected_iops = one.iops();
            measured[client ? name_of(*client) : "ours"].push_back(std::move(one));
        }
    }
    Row row;
    for (const auto& [client, list] : measured)
        row[client] = figures_of(list);
    return row;
}

constexpr const char* others[] = {"libnbd", "fio", "qemu_img", "nbdcopy"};

void print_head() {
    std::printf("%-30s %27s   %27s   %-23s  %s\n", "", "ours", "libnbd", "ours / libnbd",
                "IOPS of ours / those of");
    std::printf("%-30s %9s %8s %8s   %9s %8s %8s   %7s %7s %7s  %6s %6s %7s\n", "", "kIOPS",
                "us CPU", "server", "kIOPS", "us CPU", "server", "IOPS", "CPU", "", "fio", "qemu",
                "nbdcopy");
}

double iops_ratio(const Row& row, const char* other) {
    const auto found = row.find(other);
    return found == row.end() ? 0 : ratio(row.at("ours").iops, found->second.iops);
}

void print(const Line& line, const Row& row) {
    std::printf("%-30s", line.name().c_str());
    const auto& ours = row.at("ours");
    const auto& libnbd = row.at("libnbd");
    for (const auto* figures : {&ours, &libnbd})
        std::printf(" %9.2f %8.2f %8.2f  ", figures->iops / 1e3, figures->client_us,
                    figures->server_us);
    std::printf(" %7.2f %7.2f %7s ", iops_ratio(row, "libnbd"),
                ratio(ours.client_us, libnbd.client_us), "");
    for (const auto* const other : {"fio", "qemu_img", "nbdcopy"}) {
        const auto value = iops_ratio(row, other);
        std::printf(value != 0 ? " %6.2f" : "      -", value);
    }
    std::printf("\n");
    for (const auto& [client, figures] : row)
        if (!figures.failure.empty())
            std::printf("  %s failed: %s\n", client.c_str(), figures.failure.c_str());
    std::fflush(stdout);
}

nlohmann::json to_json(const Figures& figures) {
    if (!figures.failure.empty()) return {{"failure", figures.failure}};
    return {{"iops", figures.iops},
            {"iops_least", figures.iops_least},
            {"iops_most", figures.iops_most},
            {"client_cpu_us_per_request", figures.client_us},
            {"server_cpu_us_per_request", figures.server_us},
            {"seconds", figures.seconds},
            {"client_cpu_seconds", figures.cpu_seconds}};
}

nlohmann::json to_json(const Line& line, const Row& row, const Settings& settings) {
    nlohmann::json json{{"benchmark", "nbd_client"},
                        {"time", static_cast<std::int64_t>(std::time(nullptr))},
                        {"name", line.name()},
                        {"server", line.place.null ? "null" : "nbdkit memory"},
                        {"transport", line.place.unix_socket ? "unix" : "tcp"},
                        {"tls", line.place.tls},
                        {"structured", settings.structured || !line.place.null},
                        {"connections", line.connections},
                        {"operation", line.cell.write ? "write" : "read"},
                        {"block_bytes", line.cell.block},
                        {"queue_depth", line.cell.depth},
                        {"rounds", settings.rounds}};
    for (const auto& [client, figures] : row)
        json[client] = to_json(figures);
    const auto& ours = row.at("ours");
    for (const std::string other : others) {
        const auto found = row.find(other);
        if (found == row.end() || !found->second.failure.empty() || !ours.failure.empty()) continue;
        json["iops_ours_per_" + other] = ratio(ours.iops, found->second.iops);
        json["cpu_ours_per_" + other] = ratio(ours.client_us, found->second.client_us);
    }
    return json;
}

bool chosen(const Line& line, const Settings& settings) {
    if (settings.only.empty()) return true;
    return std::ranges::any_of(settings.only, [&](const std::string& pattern) {
        return std::regex_search(line.name(), std::regex(pattern));
    });
}

/// Returns how many measurements failed.
unsigned run(const Settings& settings) {
    std::ofstream file;
    if (!settings.json_path.empty()) {
        const auto folder = std::filesystem::path(settings.json_path).parent_path();
        if (!folder.empty()) std::filesystem::create_directories(folder);
        file.open(settings.json_path, std::ios::app);
    }
    std::unique_ptr<BenchServer> server;
    std::string running;
    unsigned failures = 0;
    if (!settings.list) print_head();
    for (const auto& line : plan(settings.seconds, settings.everywhere)) {
        if (!chosen(line, settings)) continue;
        if (settings.list) {
            std::printf("%s\n", line.name().c_str());
            continue;
        }
        if (running != line.place.name()) {
            server.reset();
            server = std::make_unique<BenchServer>(line.place, settings.null_server,
                                                   settings.structured);
            running = line.place.name();
            const auto failure = line.place.null ? std::string() : fill(server->uri(), disk_size);
            if (!failure.empty()) throw std::runtime_error("cannot fill the disk: " + failure);
        }
        const auto row = measure(line, *server, settings.rounds);
        print(line, row);
        for (const auto& [client, figures] : row)
            failures += figures.failure.empty() ? 0 : 1;
        if (file.is_open() && !(file << to_json(line, row, settings).dump() << '\n').flush())
            throw std::runtime_error("cannot write " + settings.json_path);
    }
    return failures;
}

}  // namespace

int main(int argument_count, char** arguments) try {
    Settings settings;
    settings.null_server =
        (std::filesystem::canonical("/proc/self/exe").parent_path() / "nbd_null_server").string();
    CLI::App application{
        "Our NBD client beside libnbd, fio's nbd engine, qemu-img bench and nbdcopy"};
    application.add_option("--seconds", settings.seconds, "of load per line, client and round")
        ->check(CLI::Range(0.02, 600.0));
    application.add_option("--rounds", settings.rounds, "of each line: its figures are medians")
        ->check(CLI::Range(1, 1000));
    application.add_option(
        "--only", settings.only,
        "lines whose name has a match of this regular expression, such as 'null.*4K' "
        "(see --list)");
    application.add_flag("--everywhere", settings.everywhere,
                         "fio, qemu-img and nbdcopy on every line");
    application.add_flag("--structured", settings.structured,
                         "the null server offers structured replies");
    application.add_flag("--list", settings.list, "say what would be measured");
    application.add_option("--json", settings.json_path,
                           "append a JSON line per line to this file");
    CLI11_PARSE(application, argument_count, arguments);
    return run(settings) == 0 ? 0 : 1;
} catch (const std::exception& error) {
    std::fprintf(stderr, "nbd_bench: %s\n", error.what());
    return 1;
}
