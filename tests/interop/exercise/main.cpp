// SPDX-License-Identifier: LGPL-2.1-or-later
// nbd_exercise: works on a disk through the backend interface, for the interop tests. It prints
// JSON, one object a line. Exit codes: 0 all was right, 1 something was not, 2 wrong arguments, 3
// the disk does not open.
#include <CLI/CLI.hpp>
#include <cstdio>
#include <exception>
#include <nlohmann/json.hpp>

#include "backend/open_backend.h"
#include "tests/interop/exercise/exercise.h"
#include "tests/interop/exercise/print.h"

namespace wnbd::test {

void Findings::add(std::string text) {
    const std::lock_guard lock(lock_);
    ++count_;
    if (first_.size() < 10) first_.push_back(std::move(text));
}

std::uint64_t Findings::count() const {
    const std::lock_guard lock(lock_);
    return count_;
}

std::vector<std::string> Findings::first() const {
    const std::lock_guard lock(lock_);
    return first_;
}

const char* name(backend::Error error) noexcept {
    using backend::Error;
    switch (error) {
        case Error::none: return "none";
        case Error::not_permitted: return "not_permitted";
        case Error::io: return "io";
        case Error::no_memory: return "no_memory";
        case Error::invalid: return "invalid";
        case Error::no_space: return "no_space";
        case Error::overflow: return "overflow";
        case Error::not_supported: return "not_supported";
        case Error::shutting_down: return "shutting_down";
        case Error::disconnected: return "disconnected";
    }
    return "unknown";
}

std::uint32_t block_of(const ExerciseOptions& options, const backend::Backend& disk) noexcept {
    return std::max(options.block, disk.properties().minimum_block);
}

namespace {

using Mode = bool (*)(const ExerciseOptions&, backend::Backend&);

void add_options(CLI::App& mode, ExerciseOptions& options) {
    mode.add_option("disk", options.disk, "as open_backend() takes it")->required();
    mode.add_option("--seed", options.seed);
    mode.add_option("--ios", options.ios);
    mode.add_option("--depth", options.depth)->check(CLI::Range(1, 4096));
    mode.add_option("--threads", options.threads)->check(CLI::Range(1, 64));
    mode.add_option("--region", options.region, "bytes");
    mode.add_option("--block", options.block, "bytes")->check(CLI::Range(64, 1 << 20));
    mode.add_option("--request-max", options.request_max, "bytes");
    mode.add_flag("--errors-allowed", options.errors_allowed);
    mode.add_option("--seconds", options.seconds);
    mode.add_flag("--cache-may-be-lost", options.cache_may_be_lost);
    mode.add_option("--state", options.state);
}

/// Prints what happens to the disk while it is in use.
class Listener final : public backend::Observer {
  public:
    // NOLINTNEXTLINE(bugprone-exception-escape): nothing goes on without memory
    void told(Weight /*weight*/, const std::string& line) noexcept override {
        print_line({{"told", line}});
    }
    // NOLINTNEXTLINE(bugprone-exception-escape): as above
    void resized(std::uint64_t size) noexcept override { print_line({{"resized", size}}); }
};

int run(Mode mode, const ExerciseOptions& options) {
    auto opened = backend::open_backend(options.disk);
    if (!opened.ok()) {
        print_line({{"open_error", opened.error()}});
        return 3;
    }
    const auto disk = std::move(opened.value());
    Listener listener;
    disk->observe(&listener);
    const bool good = mode(options, *disk);
    disk->close();
    disk->observe(nullptr);
    return good ? 0 : 1;
}

int main(int count, char** words) {
    CLI::App program("works on a disk and checks it");
    program.require_subcommand(1);
    ExerciseOptions options;
    Mode chosen = nullptr;
    const auto add = [&](const char* mode_name, const char* about, Mode mode) {
        auto* const its = program.add_subcommand(mode_name, about);
        add_options(*its, options);
        its->callback([&chosen, mode] { chosen = mode; });
        return its;
    };
    add("mixed", "every kind of request at random, all content checked", run_mixed);
    add("writer", "writes until told to stop; no promise may be broken", run_writer);
    add("check", "whether a disk holds what a writer was promised", run_check);
    add("ops", "the requests that are named", run_operations)
        ->add_option("operations", options.operations);
    try {
        program.parse(count, words);
    } catch (const CLI::ParseError& wrong) {
        return program.exit(wrong) == 0 ? 0 : 2;
    }
    return run(chosen, options);
}

}  // namespace
}  // namespace wnbd::test

int main(int count, char** words) {
    try {
        return wnbd::test::main(count, words);
    } catch (const std::exception& wrong) {
        std::fprintf(stderr, "nbd_exercise: %s\n", wrong.what());
        return 4;
    }
}
