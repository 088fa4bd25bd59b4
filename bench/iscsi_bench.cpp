// SPDX-License-Identifier: LGPL-2.1-or-later
// Our iSCSI target beside tgt, in one run, under the same initiator program.
#include <CLI/CLI.hpp>
#include <algorithm>
#include <cstdio>
#include <ctime>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>
#include <stdexcept>
#include <string>
#include <vector>

#include "bench/iscsi_bench_initiator.h"
#include "bench/iscsi_bench_targets.h"

namespace {

using wnbd::bench::IscsiLoad;
using wnbd::bench::IscsiTarget;
using wnbd::bench::Measurement;
using wnbd::bench::median;
using wnbd::bench::Order;
using wnbd::bench::ratio;
using Targets = std::vector<std::unique_ptr<IscsiTarget>>;  // the first is the one compared with

constexpr std::uint64_t disk_size = 256U << 20;  // bytes

struct Settings {
    double seconds = 0.5;
    unsigned rounds = 5;
    std::string program;
    std::string json_path;
    std::string only;
};

/// Medians over the rounds, each figure for itself.
struct Figures {
    double iops = 0;
    double iops_least = 0;
    double iops_most = 0;
    double client_us = 0;  // CPU of an I/O
    double target_us = 0;
};

Figures figures_of(const std::vector<Measurement>& rounds) {
    std::vector<double> iops, client, target;
    for (const auto& round : rounds) {
        iops.push_back(round.iops());
        client.push_back(round.cpu_us_per_request());
        target.push_back(round.server_cpu_us_per_request());
    }
    return {.iops = median(iops),
            .iops_least = std::ranges::min(iops),
            .iops_most = std::ranges::max(iops),
            .client_us = median(client),
            .target_us = median(target)};
}

struct Row {
    IscsiLoad load;
    std::vector<Figures> figures{};  // one a target
};

std::vector<Row> rows(double seconds) {
    std::vector<Row> list;
    for (const unsigned depth : {1U, 32U, 128U})
        for (const bool write : {false, true})
            list.push_back({{.cell = {write, 4096, depth, seconds}}});
    for (const bool write : {false, true})
        list.push_back({{.cell = {write, 4096, 32, seconds}, .sessions = 2}});
    for (const bool write : {false, true})
        list.push_back({{{write, 256U << 10, 32, seconds}, Order::sequential}});
    return list;
}

std::string name_of(const IscsiLoad& load) {
    return std::string(load.order == Order::random ? "random " : "stream ") +
           (load.cell.write ? "write " : "read ") + std::to_string(load.cell.block / 1024) +
           "K QD" + (load.sessions == 1 ? "" : std::to_string(load.sessions) + "x") +
           std::to_string(load.cell.depth);
}

/// Every target once a round, in a new order each time, so that no one has the quiet moments.
void measure(Row& row, const Targets& targets, unsigned rounds, std::minstd_rand& random) {
    std::vector<std::vector<Measurement>> measured(targets.size());
    std::vector<std::size_t> turns(targets.size());
    for (std::size_t index = 0; index < turns.size(); ++index)
        turns[index] = index;
    for (unsigned round = 0; round < rounds; ++round) {
        std::ranges::shuffle(turns, random);
        for (const auto turn : turns) {
            const auto& target = *targets[turn];
            measured[turn].push_back(
                wnbd::bench::measure_initiator(target.url(), target.process(), row.load));
            const auto& failure = measured[turn].back().failure;
            if (!failure.empty())
                throw std::runtime_error(name_of(row.load) + " on " + target.name() + ": " +
                                         failure);
        }
    }
    for (const auto& one : measured)
        row.figures.push_back(figures_of(one));
}

void print(const Row& row, const Targets& targets) {
    const auto& peer = row.figures.front();
    for (std::size_t index = 0; index < targets.size(); ++index) {
        const auto& one = row.figures[index];
        std::printf("%-24s %-7s %8.1f %8.0f %9.1f %9.1f",
                    index == 0 ? name_of(row.load).c_str() : "", targets[index]->name(),
                    one.iops / 1e3, one.iops * row.load.cell.block / 1e6, one.client_us,
                    one.target_us);
        if (index != 0)
            std::printf("   %6.2f %8.2f %8.2f", ratio(one.iops, peer.iops),
                        ratio(one.client_us, peer.client_us), ratio(one.target_us, peer.target_us));
        std::printf("\n");
    }
    std::fflush(stdout);
}

nlohmann::json to_json(const Row& row, const Targets& targets, const Settings& settings) {
    nlohmann::json line{{"benchmark", "iscsi_target"},
                        {"time", static_cast<std::int64_t>(std::time(nullptr))},
                        {"operation", row.load.cell.write ? "write" : "read"},
                        {"order", row.load.order == Order::random ? "random" : "sequential"},
                        {"block_bytes", row.load.cell.block},
                        {"queue_depth", row.load.cell.depth},
                        {"sessions", row.load.sessions},
                        {"rounds", settings.rounds},
                        {"seconds_per_round", settings.seconds}};
    const auto& peer = row.figures.front();
    for (std::size_t index = 0; index < targets.size(); ++index) {
        const auto& one = row.figures[index];
        auto& entry = line["targets"][targets[index]->name()];
        entry = {{"iops", one.iops},
                 {"iops_least", one.iops_least},
                 {"iops_most", one.iops_most},
                 {"bytes_per_second", one.iops * row.load.cell.block},
                 {"client_cpu_us_per_io", one.client_us},
                 {"target_cpu_us_per_io", one.target_us}};
        if (index == 0) continue;
        entry["iops_per_tgt"] = ratio(one.iops, peer.iops);
        entry["client_cpu_per_tgt"] = ratio(one.client_us, peer.client_us);
        entry["target_cpu_per_tgt"] = ratio(one.target_us, peer.target_us);
    }
    return line;
}

Targets start(const Settings& settings) {
    Targets targets;
    targets.push_back(wnbd::bench::start_tgt(disk_size));
    if (!settings.program.empty()) {
        targets.push_back(wnbd::bench::start_ours_on_memory(settings.program, disk_size));
        targets.push_back(wnbd::bench::start_ours_on_file(settings.program, disk_size));
    }
    for (const auto& target : targets) {
        const auto failure = wnbd::bench::fill_disk(target->url());
        if (!failure.empty()) throw std::runtime_error(target->name() + (": " + failure));
    }
    return targets;
}

void run(const Settings& settings) {
    std::ofstream file;
    if (!settings.json_path.empty()) {
        const auto folder = std::filesystem::path(settings.json_path).parent_path();
        if (!folder.empty()) std::filesystem::create_directories(folder);
        file.open(settings.json_path, std::ios::app);
        if (!file) throw std::runtime_error("cannot write " + settings.json_path);
    }
    const auto targets = start(settings);
    std::minstd_rand random(1);
    std::printf("%-32s %8s %8s %9s %9s   %s\n", "", "", "", "client", "target", "x tgt");
    std::printf("%-32s %8s %8s %9s %9s   %6s %8s %8s\n", "", "kIOPS", "MB/s", "us/IO", "us/IO",
                "IOPS", "client", "target");
    for (auto& row : rows(settings.seconds)) {
        if (name_of(row.load).find(settings.only) == std::string::npos) continue;
        measure(row, targets, settings.rounds, random);
        print(row, targets);
        if (file.is_open()) file << to_json(row, targets, settings).dump() << '\n';
    }
    if (file.is_open() && !file) throw std::runtime_error("cannot write " + settings.json_path);
}

}  // namespace

int main(int argument_count, char** arguments) try {
    Settings settings;
    CLI::App application{"Our iSCSI target beside tgt, under libiscsi"};
    application
        .add_option("program", settings.program, "the native wnbd-client; without it tgt alone")
        ->check(CLI::ExistingFile);
    application.add_option("--seconds", settings.seconds, "of load per cell, target and round")
        ->check(CLI::Range(0.1, 600.0));
    application.add_option("--rounds", settings.rounds, "of which the median is taken")
        ->check(CLI::Range(1, 1000));
    application.add_option("--json", settings.json_path, "append one JSON line per cell");
    application.add_option("--only", settings.only, "only the rows whose name contains this");
    CLI11_PARSE(application, argument_count, arguments);
    run(settings);
    return 0;
} catch (const std::exception& error) {
    std::fprintf(stderr, "iscsi_bench: %s\n", error.what());
    return 1;
}
