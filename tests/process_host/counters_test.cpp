// SPDX-License-Identifier: LGPL-2.1-or-later
// The driver's counters are looked at as fast as it goes while requests come, are answered, reset
// and refused: they add up in every single snapshot.
#include <atomic>
#include <cstdio>
#include <thread>
#include <vector>

#include "tests/process_host/check.h"
#include "tests/process_host/lab.h"
#include "tests/process_host/memory_server.h"

using namespace wnbd::test;
namespace os = wnbd::lab::os;

namespace {

constexpr std::uint64_t samples_wanted = 2'000;
constexpr std::uint64_t commands_wanted = 500;
constexpr std::uint64_t longest_100ns = 600'000'000;
constexpr std::uint32_t block_size = 512;

class Load {
  public:
    Load(Lab& lab, MemoryServer& server) : lab_(lab), server_(server) {
        for (std::uint8_t block = 0; block < 2; ++block)
            threads_.emplace_back([this, block] { issue(block); });
        threads_.emplace_back([this] { reset(); });
        fetcher_ = std::thread([this] { fetch_into_too_little(); });
    }
    /// The disk must be gone: the serving thread waits for a request otherwise.
    ~Load() { fetcher_.join(); }
    Load(const Load&) = delete;
    Load& operator=(const Load&) = delete;

    void stop() {
        stop_.store(true);
        for (std::thread& thread : threads_)
            thread.join();
        threads_.clear();
    }

    std::atomic<std::uint64_t> commands{0}, resets{0}, refused{0};

  private:
    void issue(std::uint8_t block) {
        std::vector<std::uint8_t> data(block_size);
        for (bool writes = false; !stop_.load(); writes = !writes) {
            const std::uint8_t operation = writes ? 0x2A : 0x28;
            const auto direction = writes ? wnbd::lab::Direction::Out : wnbd::lab::Direction::In;
            (void)scsi(lab_.adapter(), server_.address(),
                       {operation, 0, 0, 0, 0, block, 0, 0, 1, 0}, direction, data.data(),
                       block_size);
            ++commands;
        }
    }
    void reset() {
        while (!stop_.load()) {
            (void)wnbd::lab::reset_logical_unit(lab_.adapter(), server_.address());
            ++resets;
            os::sleep_ms(2);
        }
    }
    /// A serving thread whose buffer holds no block: what it takes can't be handed out.
    void fetch_into_too_little() {
        std::uint8_t buffer[16];
        while (!stop_.load()) {
            // Requests without data would be answered to this thread, and hang.
            WNBD_IO_REQUEST request{};
            const NTSTATUS status =
                server_.client().fetch(server_.id(), request, buffer, sizeof buffer);
            if (status == STATUS_BUFFER_TOO_SMALL) {
                ++refused;
            } else if (NT_SUCCESS(status) && request.RequestType != WnbdReqTypeDisconnect) {
                WNBD_STATUS failed{};
                failed.ScsiStatus = 2;
                failed.SenseKey = 4;
                (void)server_.client().respond(server_.id(), request, failed, nullptr, 0);
            }
            os::sleep_ms(1);
        }
    }

    Lab& lab_;
    MemoryServer& server_;
    std::atomic<bool> stop_{false};
    std::vector<std::thread> threads_;
    std::thread fetcher_;
};

bool adds_up(const WNBD_DRV_STATS& stats) {
    return stats.TotalReceivedIORequests == stats.TotalSubmittedIORequests +
                                                stats.UnsubmittedIORequests +
                                                stats.AbortedUnsubmittedIORequests &&
           stats.TotalSubmittedIORequests == stats.TotalReceivedIOReplies +
                                                 stats.PendingSubmittedIORequests +
                                                 stats.AbortedSubmittedIORequests &&
           stats.OutstandingIOCount ==
               stats.UnsubmittedIORequests + stats.PendingSubmittedIORequests &&
           stats.CompletedAbortedIORequests <= stats.AbortedSubmittedIORequests &&
           stats.UnsubmittedIORequests >= 0 && stats.PendingSubmittedIORequests >= 0;
}

void sample(Lab& lab, MemoryServer& server) {
    Client observer(530, lab.device());
    WNBD_DRV_STATS stats{};
    claim(NT_SUCCESS(observer.stats("counted", stats)), "STATS");
    claim(stats.LastReplyTimestamp == 0 || stats.TotalReceivedIOReplies > 0,
          "no reply has no time");
    Load load(lab, server);
    std::int64_t received = 0;
    std::uint64_t samples = 0;
    std::uint64_t busy = 0;
    const std::uint64_t end = os::now_100ns() + longest_100ns;
    const auto enough = [&] {
        return samples >= samples_wanted && load.commands.load() >= commands_wanted && busy > 0 &&
               load.refused.load() > 0 && load.resets.load() > 0;
    };
    while (!enough() && os::now_100ns() < end) {
        if (!claim(NT_SUCCESS(observer.stats("counted", stats)), "STATS")) break;
        ++samples;
        if (stats.OutstandingIOCount > 0) ++busy;
        claim(adds_up(stats) && stats.TotalReceivedIORequests >= received,
              "received %lld = submitted %lld + unsubmitted %lld + aborted %lld; replies %lld, "
              "pending %lld, aborted %lld, late %lld",
              stats.TotalReceivedIORequests, stats.TotalSubmittedIORequests,
              stats.UnsubmittedIORequests, stats.AbortedUnsubmittedIORequests,
              stats.TotalReceivedIOReplies, stats.PendingSubmittedIORequests,
              stats.AbortedSubmittedIORequests, stats.CompletedAbortedIORequests);
        received = stats.TotalReceivedIORequests;
        os::yield();  // the others are to get on
    }
    load.stop();
    claim(NT_SUCCESS(observer.stats("counted", stats)) && adds_up(stats) &&
              stats.OutstandingIOCount == 0,
          "at rest nothing is outstanding");
    claim(samples > 0 && busy > 0 && load.refused.load() > 0 && load.resets.load() > 0,
          "%llu snapshots, %llu of them under load, %llu commands, %llu resets, %llu refused",
          samples, busy, load.commands.load(), load.resets.load(), load.refused.load());
    claim(stats.AbortedUnsubmittedIORequests >= static_cast<std::int64_t>(load.refused.load()),
          "what could not be handed out is counted");
    std::printf("%llu snapshots, %llu of them under load, %llu commands, %llu resets\n", samples,
                busy, load.commands.load(), load.resets.load());
    server.stop();
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::puts("usage: counters_test WNBD.SYS");
        return 2;
    }
    Lab lab;
    if (!lab.start(argv[1])) {
        std::printf("cannot start: %s\n", lab.error().c_str());
        return 2;
    }
    {
        MemoryServer server(lab, 500);
        if (claim(server.start(disk_properties("counted", 1000, block_size), 2), "it is mapped")) {
            claim(process::wait_for_scans(60'000), "scans end");
            sample(lab, server);
        }
    }
    claim(lab.stop(), "the driver unloads: %s", lab.error().c_str());
    return process::exit_code(report("counters_test"));
}
