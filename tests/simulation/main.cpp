// SPDX-License-Identifier: LGPL-2.1-or-later
// Runs one seed after the other until so many events have happened, or so many seconds are over. A
// seed that fails is printed, and runs again, the same, with --seed.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "simulation.h"

namespace {

using wnbd::nbd::sim::Simulation;

struct Settings {
    std::uint64_t events = 1'000'000;    // of all seeds together
    std::uint64_t seconds = 0;           // instead of events
    std::uint64_t events_each = 10'000;  // of a seed, before its network is healed
    std::uint64_t first_seed = 1;
    bool one_seed = false;
};

/// False: that is no such option.
bool read_settings(int count, char** words, Settings& settings) {
    for (int i = 1; i + 1 < count; i += 2) {
        const auto value = std::strtoull(words[i + 1], nullptr, 0);
        if (std::strcmp(words[i], "--events") == 0) {
            settings.events = value;
        } else if (std::strcmp(words[i], "--seconds") == 0) {
            settings.seconds = value;
        } else if (std::strcmp(words[i], "--events-each") == 0) {
            settings.events_each = value;
        } else if (std::strcmp(words[i], "--first-seed") == 0) {
            settings.first_seed = value;
        } else if (std::strcmp(words[i], "--seed") == 0) {
            settings.first_seed = value;
            settings.one_seed = true;
        } else {
            return false;
        }
    }
    return count % 2 == 1;
}

}  // namespace

int main(int count, char** words) {
    Settings settings;
    if (!read_settings(count, words, settings)) {
        std::fprintf(stderr,
                     "usage: nbd_simulation [--events N | --seconds N] [--events-each N] "
                     "[--first-seed S | --seed S]\n");
        return 2;
    }
    std::uint64_t events = 0;
    std::uint64_t completed = 0;
    std::uint64_t reconnects = 0;
    std::uint64_t seeds = 0;
    const auto end = std::chrono::steady_clock::now() + std::chrono::seconds(settings.seconds);
    const auto enough = [&] {
        return settings.seconds != 0 ? std::chrono::steady_clock::now() >= end
                                     : events >= settings.events;
    };
    for (auto seed = settings.first_seed; !enough(); ++seed) {
        Simulation simulation(seed, settings.events_each);
        const auto failure = simulation.run();
        events += simulation.events();
        completed += simulation.completed();
        reconnects += simulation.reconnects();
        ++seeds;
        if (settings.one_seed)
            std::printf("seed %llu: %s\n", static_cast<unsigned long long>(seed),
                        simulation.description().c_str());
        if (!failure.empty()) {
            std::printf("seed %llu fails at event %llu (%s): %s\n",
                        static_cast<unsigned long long>(seed),
                        static_cast<unsigned long long>(simulation.events()),
                        simulation.description().c_str(), failure.c_str());
            std::printf("again: nbd_simulation --seed %llu --events-each %llu\n",
                        static_cast<unsigned long long>(seed),
                        static_cast<unsigned long long>(settings.events_each));
            return 1;
        }
        if (settings.one_seed) break;
    }
    std::printf("%llu seeds, %llu events, %llu requests, %llu reconnects: everything held\n",
                static_cast<unsigned long long>(seeds), static_cast<unsigned long long>(events),
                static_cast<unsigned long long>(completed),
                static_cast<unsigned long long>(reconnects));
    return 0;
}
