// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/process_host/stress_disturber.h"

#include <cstdio>

#include "lab/kernel/os.h"
#include "tests/process_host/check.h"

namespace wnbd::test {
namespace {

namespace os = lab::os;

constexpr unsigned aborts_at_once_max = 8;
/// I/Os that have to succeed between two departures of the disk.
constexpr std::uint64_t successes_between_departures = 100;
/// After so long the disk departs although nothing succeeds.
constexpr std::uint64_t departure_bound_100ns = 20ULL * 10'000'000;

}  // namespace

bool Serving::next() {
    if (server_ != nullptr) server_->join();
    server_ = std::make_unique<StressServer>(state_.lab, state_.store, counters_, ++process_id_);
    if (!server_->start(disk_name, threads_)) return false;
    state_.target.store(server_->target());
    return true;
}

/// Storport aborts the requests that timed out one after the other.
void Disturber::abort_some() {
    const std::uint64_t wanted = 1 + random_() % aborts_at_once_max;
    for (std::uint64_t done = 0; done < wanted; ++done) {
        const auto status = lab::abort_one(state_.lab.adapter(), state_.address(), random_());
        if (!status) return;
        ++aborts_;
    }
}

/// Where disks depart faster than the machine gets an I/O through, none would ever succeed.
bool Disturber::departure_is_due() const {
    return state_.succeeded.load() - succeeded_at_departure_ >= successes_between_departures ||
           os::now_100ns() - departed_100ns_ > departure_bound_100ns;
}

bool Disturber::replace_disk(bool by_death) {
    if (!departure_is_due()) {
        ++put_off_;
        return true;
    }
    if (by_death) {
        ++deaths_;
        if (!claim(serving_.kill(), "the serving process cannot be killed")) return false;
    } else {
        ++removals_;
        Client admin(1, state_.lab.device());
        const NTSTATUS status = admin.remove(Serving::disk_name);
        if (!claim(NT_SUCCESS(status), "REMOVE gave %08lx", static_cast<unsigned long>(status)))
            return false;
    }
    succeeded_at_departure_ = state_.succeeded.load();
    departed_100ns_ = os::now_100ns();
    return serving_.next();
}

bool Disturber::disturb() {
    // Of 24: eight aborts, six, three and three resets, two removals, two deaths.
    const std::uint64_t chosen = random_() % 24;
    lab::Adapter& adapter = state_.lab.adapter();
    if (chosen < 8) {
        abort_some();
    } else if (chosen < 14) {
        ++unit_resets_;
        lab::reset_logical_unit(adapter, state_.address());
    } else if (chosen < 17) {
        ++target_resets_;
        lab::reset_target(adapter, state_.address());
    } else if (chosen < 20) {
        ++bus_resets_;
        lab::reset_bus(adapter, 0);
    } else {
        return replace_disk(chosen >= 22);
    }
    return true;
}

void Disturber::print_counts() const {
    const auto number = [](std::uint64_t value) { return static_cast<unsigned long long>(value); };
    std::printf(
        "aborts %llu, LUN resets %llu, target resets %llu, bus resets %llu, removals %llu, "
        "owners killed %llu; put off %llu\n",
        number(aborts_), number(unit_resets_), number(target_resets_), number(bus_resets_),
        number(removals_), number(deaths_), number(put_off_));
}

}  // namespace wnbd::test
