// SPDX-License-Identifier: LGPL-2.1-or-later
// Clients that are programs: run as processes, their CPU time as the system accounts it.
#include <fcntl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <chrono>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "bench/nbd_bench_clients.h"

namespace wnbd::bench {
namespace {

struct Run {
    std::string output{};  // standard output and error
    double seconds = 0;
    double cpu_seconds = 0;
    int status = -1;
};

/// Runs a program to its end.
Run run_program(std::vector<std::string> command) {
    std::vector<char*> arguments;
    arguments.reserve(command.size() + 1);
    for (auto& word : command)
        arguments.push_back(word.data());
    arguments.push_back(nullptr);
    std::array<int, 2> pipe{};
    if (::pipe2(pipe.data(), O_CLOEXEC) != 0) return {};
    const auto start = std::chrono::steady_clock::now();
    const auto child = ::fork();
    if (child == 0) {
        ::dup2(pipe[1], STDOUT_FILENO);
        ::dup2(pipe[1], STDERR_FILENO);
        ::execvp(arguments[0], arguments.data());
        ::_exit(127);
    }
    ::close(pipe[1]);
    Run run;
    std::array<char, 4096> part;
    for (ssize_t got = 0; (got = ::read(pipe[0], part.data(), part.size())) > 0;)
        run.output.append(part.data(), static_cast<std::size_t>(got));
    ::close(pipe[0]);
    rusage usage{};
    if (child < 0 || ::wait4(child, &run.status, 0, &usage) != child) return {};
    run.seconds = since(start);
    const auto seconds = [](const timeval& time) {
        return double(time.tv_sec) + double(time.tv_usec) * 1e-6;
    };
    run.cpu_seconds = seconds(usage.ru_utime) + seconds(usage.ru_stime);
    return run;
}

Measurement failed(const char* program, const Run& run) {
    return {.failure = std::string(program) + ": " + run.output.substr(0, 200)};
}

}  // namespace

Measurement measure_fio(const NbdLoad& load) {
    const auto& cell = load.cell;
    const bool streaming = cell.block >= streaming_block;
    const auto run = run_program(
        {"fio", "--name=nbd", "--ioengine=nbd", "--uri=" + load.uri,
         std::string("--rw=") + (streaming ? "" : "rand") + (cell.write ? "write" : "read"),
         "--bs=" + std::to_string(cell.block), "--iodepth=" + std::to_string(cell.depth),
         "--size=" + std::to_string(load.size), "--time_based",
         "--runtime=" + std::to_string(int(cell.seconds * 1000)) + "ms", "--norandommap",
         "--randrepeat=0", "--output-format=json"});
    // Its nbd engine puts a line of its own before the JSON.
    const auto begin = std::min(run.output.find('{'), run.output.size());
    const auto end = run.output.rfind('}');
    if (run.status != 0 || end == std::string::npos || end < begin) return failed("fio", run);
    const auto json =
        nlohmann::json::parse(run.output.substr(begin, end + 1 - begin), nullptr, false);
    if (json.is_discarded() || !json.contains("jobs") || json["jobs"].empty())
        return failed("fio", run);
    const auto& job = json["jobs"][0];
    const auto& side = job[cell.write ? "write" : "read"];
    const double seconds = side["runtime"].get<double>() / 1000;
    const double busy = job["usr_cpu"].get<double>() + job["sys_cpu"].get<double>();
    return {.requests = side["total_ios"].get<std::uint64_t>(),
            .seconds = seconds,
            .cpu_seconds = busy / 100 * seconds,
            .failure = job["error"].get<int>() != 0 ? "fio reports an error" : ""};
}

Measurement measure_qemu_img(const NbdLoad& load, double expected_iops) {
    const auto& cell = load.cell;
    const auto count = std::max<std::uint64_t>(
        static_cast<std::uint64_t>(expected_iops * cell.seconds), std::uint64_t{cell.depth} * 4);
    std::vector<std::string> command{"qemu-img", "bench",
                                     "-f",       "raw",
                                     "-c",       std::to_string(count),
                                     "-d",       std::to_string(cell.depth),
                                     "-s",       std::to_string(cell.block)};
    if (cell.write) command.emplace_back("-w");
    command.push_back(load.uri);
    const auto run = run_program(command);
    // "Run completed in 0.123 seconds."
    const std::string before = "completed in ";
    const auto at = run.output.find(before);
    if (run.status != 0 || at == std::string::npos) return failed("qemu-img", run);
    return {.requests = count,
            .seconds = std::stod(run.output.substr(at + before.size())),
            .cpu_seconds = run.cpu_seconds};
}

Measurement measure_nbdcopy(const NbdLoad& load) {
    const auto& cell = load.cell;
    std::vector<std::string> command{"nbdcopy",
                                     "--no-extents",
                                     "--connections=" + std::to_string(load.connections),
                                     "--threads=" + std::to_string(load.connections),
                                     "--requests=" + std::to_string(cell.depth / load.connections),
                                     "--request-size=" + std::to_string(cell.block)};
    if (cell.write)
        command.insert(command.end(), {"--", "/dev/zero", load.uri});
    else
        command.insert(command.end(), {"--", load.uri, "null:"});
    const auto run = run_program(command);
    if (run.status != 0) return failed("nbdcopy", run);
    return {
        .requests = load.size / cell.block, .seconds = run.seconds, .cpu_seconds = run.cpu_seconds};
}

}  // namespace wnbd::bench
