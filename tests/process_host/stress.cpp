// SPDX-License-Identifier: LGPL-2.1-or-later
// The driver under load in the one-process host: random reads and writes from several issuing and
// several serving threads, every block's content checked, while requests are aborted, disks reset
// and removed and their owners killed at random moments. Ends with code 0 only if no request was
// lost or completed twice, all content was right, the verifier found nothing and an I/O in the
// steady state allocated no pool.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>

#include "lab/kernel/os.h"
#include "lab/kernel/services.h"
#include "lab/kernel/verifier.h"
#include "tests/process_host/check.h"
#include "tests/process_host/stress_disturber.h"
#include "tests/process_host/stress_issuer.h"

using namespace wnbd::test;
namespace kernel = wnbd::lab::kernel;
namespace os = wnbd::lab::os;

namespace {

struct Options {
    std::string driver;
    std::uint64_t ios = 1'000'000;
    std::uint64_t seed = 1;
    unsigned issuers = 4;
    unsigned servers = 4;
    unsigned depth = 64;
    std::uint32_t block_size = 512;
    double faults = 0;  ///< probability of each pool, MDL and page-lock call of the driver to fail
    unsigned chaos_ms = 20;  ///< mean time between two disturbances; 0: none
    bool verbose = false;
};

constexpr std::uint64_t disk_blocks = 8192;

bool parse(int argc, char** argv, Options& options) {
    for (int index = 1; index < argc; ++index) {
        const std::string name = argv[index];
        if (name == "--verbose") {
            options.verbose = true;
            continue;
        }
        if (name.rfind("--", 0) != 0) {
            if (!options.driver.empty()) return false;
            options.driver = name;
            continue;
        }
        if (++index == argc) return false;
        const char* const value = argv[index];
        if (name == "--ios")
            options.ios = std::strtoull(value, nullptr, 0);
        else if (name == "--seed")
            options.seed = std::strtoull(value, nullptr, 0);
        else if (name == "--issuers")
            options.issuers = static_cast<unsigned>(std::atoi(value));
        else if (name == "--servers")
            options.servers = static_cast<unsigned>(std::atoi(value));
        else if (name == "--depth")
            options.depth = static_cast<unsigned>(std::atoi(value));
        else if (name == "--block-size")
            options.block_size = static_cast<std::uint32_t>(std::atoi(value));
        else if (name == "--faults")
            options.faults = std::atof(value);
        else if (name == "--chaos-ms")
            options.chaos_ms = static_cast<unsigned>(std::atoi(value));
        else
            return false;
    }
    const bool block_size_good = options.block_size == 512 || options.block_size == 4096;
    return !options.driver.empty() && options.issuers != 0 && options.servers != 0 &&
           options.depth >= options.issuers && block_size_good;
}

class Run {
  public:
    explicit Run(const Options& options)
        : options_(options),
          store_(disk_blocks, options.block_size, options.seed),
          ledger_(disk_blocks),
          state_{.lab = lab_, .store = store_, .ledger = ledger_},
          serving_(state_, options.servers),
          random_(options.seed),
          disturber_(state_, serving_, options.seed) {}

    int run();

  private:
    bool steady_state();
    bool under_disturbance();
    void start_issuers();
    /// Waits until the issuers are done; calls `between` now and then. False: no progress for a
    /// minute.
    template <typename Between>
    bool wait_for_issuers(Between&& between);
    void check_everything_at_rest();
    void print_counters(const char* phase, std::uint64_t ios, std::uint64_t started_100ns) const;

    const Options options_;
    Lab lab_;
    StampedStore store_;
    BlockLedger ledger_;
    StressState state_;
    Serving serving_;
    std::mt19937_64 random_;
    std::vector<std::unique_ptr<StressIssuer>> issuers_;
    Disturber disturber_;
};

void Run::start_issuers() {
    issuers_.clear();
    for (unsigned index = 0; index < options_.issuers; ++index) {
        const unsigned depth =
            options_.depth / options_.issuers + (index < options_.depth % options_.issuers ? 1 : 0);
        issuers_.push_back(std::make_unique<StressIssuer>(state_, depth, random_()));
        claim(issuers_.back()->start(), "no issuing thread");
    }
}

template <typename Between>
bool Run::wait_for_issuers(Between&& between) {
    constexpr std::uint64_t stuck_100ns = 60ULL * 10'000'000;
    std::uint64_t last_completed = 0;
    std::uint64_t last_change = os::now_100ns();
    for (;;) {
        bool all = true;
        for (const auto& issuer : issuers_)
            all = all && issuer->ended();
        if (all) return true;
        const std::uint64_t now = os::now_100ns();
        if (state_.completed.load() != last_completed) {
            last_completed = state_.completed.load();
            last_change = now;
        } else if (now - last_change > stuck_100ns) {
            const wnbd::lab::PortCounters port = wnbd::lab::counters(lab_.adapter());
            claim(false, "no request came back for a minute: %llu of %llu, %u out in the port",
                  static_cast<unsigned long long>(last_completed),
                  static_cast<unsigned long long>(state_.submitted.load()), port.outstanding);
            return false;
        }
        if (!between()) state_.stop.store(true);
    }
}

void Run::print_counters(const char* phase, std::uint64_t ios, std::uint64_t started_100ns) const {
    const double seconds = static_cast<double>(os::now_100ns() - started_100ns) / 1e7;
    const kernel::Counters& counters = kernel::counters();
    const auto per_io = [ios](const std::atomic<std::uint64_t>& counter) {
        return static_cast<double>(counter.load()) / static_cast<double>(ios == 0 ? 1 : ios);
    };
    std::printf(
        "%s: %llu I/Os in %.1f s, %.0f a second; per I/O: %.4f pool allocations, %.2f MDLs, %.2f "
        "page locks, "
        "%.2f copies, %.2f spin locks, %.2f waits\n",
        phase, static_cast<unsigned long long>(ios), seconds, static_cast<double>(ios) / seconds,
        per_io(counters.allocations), per_io(counters.mdl_allocations), per_io(counters.page_locks),
        per_io(counters.copies), per_io(counters.spin_locks), per_io(counters.waits));
    std::fflush(stdout);
}

bool Run::steady_state() {
    // A part of the I/Os without any disturbance: from the second thousand on nothing may be
    // allocated.
    const auto round = [this](std::uint64_t ios) {
        state_.wanted.store(state_.succeeded.load() + ios);
        start_issuers();
        return wait_for_issuers([] {
            os::sleep_ms(5);
            return true;
        });
    };
    if (!round(1000)) return false;
    // The disk's arrival is PnP's business, and it may allocate.
    claim(process::wait_for_scans(30'000), "the scan for the new disk does not end");
    kernel::reset_counters();
    const std::uint64_t started = os::now_100ns();
    const std::uint64_t before = state_.succeeded.load();
    if (!round(options_.ios / 10)) return false;
    const std::uint64_t ios = state_.succeeded.load() - before;
    print_counters("steady state", ios, started);
    claim(kernel::counters().allocations.load() == 0, "%llu pool allocations in %llu I/Os",
          static_cast<unsigned long long>(kernel::counters().allocations.load()),
          static_cast<unsigned long long>(ios));
    claim(state_.given_up.load() == 0 && state_.absent.load() == 0, "undisturbed, %llu I/Os failed",
          static_cast<unsigned long long>(state_.given_up.load() + state_.absent.load()));
    return true;
}

bool Run::under_disturbance() {
    kernel::set_fault_plan({.seed = options_.seed,
                            .pool_probability = options_.faults,
                            .mdl_probability = options_.faults,
                            .lock_probability = options_.faults});
    state_.wanted.store(options_.ios);
    kernel::reset_counters();
    const std::uint64_t started = os::now_100ns();
    const std::uint64_t before = state_.succeeded.load();
    start_issuers();
    const bool finished = wait_for_issuers([&] {
        if (options_.chaos_ms == 0) {
            os::sleep_ms(5);
            return true;
        }
        os::sleep_ms(static_cast<std::uint32_t>(random_() % (2ULL * options_.chaos_ms)));
        return disturber_.disturb();
    });
    kernel::set_fault_plan({});
    print_counters("disturbed", state_.succeeded.load() - before, started);
    return finished;
}

void Run::check_everything_at_rest() {
    std::vector<std::uint8_t> block(options_.block_size);
    for (std::uint64_t index = 0; index < store_.blocks(); ++index) {
        store_.read(index, 1, block.data());
        const std::int64_t version = store_.version_of(index, block.data());
        claim(ledger_.may_show(index, version), "at rest, block %llu holds version %lld",
              static_cast<unsigned long long>(index), static_cast<long long>(version));
    }
}

int Run::run() {
    if (!lab_.start(options_.driver)) {
        std::printf("cannot start: %s\n", lab_.error().c_str());
        return 2;
    }
    const bool ran = serving_.next() && steady_state() && under_disturbance();
    if (!ran && state_.submitted.load() != state_.completed.load()) {
        // Requests are lost: threads are inside the driver, and it cannot be unloaded.
        report("stress");
        os::exit_process(1);
    }
    {
        Client admin(1, lab_.device());
        const NTSTATUS removed = admin.remove(Serving::disk_name);
        claim(NT_SUCCESS(removed), "the last REMOVE gave %08lx",
              static_cast<unsigned long>(removed));
        serving_.end();
    }
    check_everything_at_rest();
    claim(state_.submitted.load() == state_.completed.load(), "%llu submitted, %llu completed",
          static_cast<unsigned long long>(state_.submitted.load()),
          static_cast<unsigned long long>(state_.completed.load()));
    claim(serving_.counters().damaged.load() == 0, "write payloads were damaged");
    const wnbd::lab::PortCounters port = wnbd::lab::counters(lab_.adapter());
    claim(port.issued == port.completed && port.outstanding == 0,
          "the port issued %llu SRBs, %llu came back", static_cast<unsigned long long>(port.issued),
          static_cast<unsigned long long>(port.completed));
    std::printf(
        "succeeded %llu, given up %llu, no disk %llu, late replies %llu, stale writes fenced %llu, "
        "calls refused for want of resources %llu\n",
        static_cast<unsigned long long>(state_.succeeded.load()),
        static_cast<unsigned long long>(state_.given_up.load()),
        static_cast<unsigned long long>(state_.absent.load()),
        static_cast<unsigned long long>(serving_.counters().late.load()),
        static_cast<unsigned long long>(store_.stale_writes()),
        static_cast<unsigned long long>(serving_.counters().refused.load()));
    disturber_.print_counts();
    claim(lab_.stop(), "the adapter cannot be removed: %s", lab_.error().c_str());
    return process::exit_code(report("stress"));
}

}  // namespace

int main(int argc, char** argv) {
    Options options;
    if (!parse(argc, argv, options)) {
        std::puts(
            "usage: stress WNBD.SYS [--ios N] [--seed N] [--issuers N] [--servers N] [--depth N]\n"
            "              [--block-size 512|4096] [--faults PROBABILITY] [--chaos-ms N] "
            "[--verbose]");
        return 2;
    }
    if (options.verbose) kernel::set_debug_sink([](const char* text) { os::print(text); });
    std::printf("stress: seed %llu, %llu I/Os, depth %u, %u issuing and %u serving threads\n",
                static_cast<unsigned long long>(options.seed),
                static_cast<unsigned long long>(options.ios), options.depth, options.issuers,
                options.servers);
    std::fflush(stdout);
    const auto run = std::make_unique<Run>(options);
    const int code = run->run();
    if (code != 0)
        std::printf("stress: FAILED with seed %llu\n",
                    static_cast<unsigned long long>(options.seed));
    return code;
}
