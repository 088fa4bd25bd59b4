// SPDX-License-Identifier: LGPL-2.1-or-later
// wnbd.sys in the one-process host: I/Os a second and what an I/O costs in calls, page locks,
// allocations and copies. The initiator is a closed loop of `depth` requests (each completion
// submits the next), the server four threads that copy from and to memory, one FETCH_REQ and one
// SEND_RSP a request. The verifier is on: the counts are exact, the times are an upper bound of the
// driver's own. Usage: driver_bench WNBD.SYS [--seconds S] [--servers N] [--json FILE]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "base/big_endian.h"
#include "lab/kernel/os.h"
#include "lab/kernel/verifier.h"
#include "tests/process_host/check.h"
#include "tests/process_host/lab.h"

using namespace wnbd::test;
namespace kernel = wnbd::lab::kernel;
namespace os = wnbd::lab::os;

namespace {

constexpr std::uint32_t block_size = 4096;
constexpr std::uint64_t disk_blocks = 16384;
constexpr std::uint32_t buffer_bytes = 64 * 1024;

/// Serves the disk from memory; counts its calls.
class Server {
  public:
    Server(Lab& lab) : client_(4711, lab.device()), memory_(disk_blocks * block_size) {}

    bool start(unsigned threads) {
        if (!client_.opened() ||
            !NT_SUCCESS(client_.create(disk_properties("bench", disk_blocks, block_size), info_))) {
            return claim(false, "the disk cannot be mapped");
        }
        for (unsigned index = 0; index < threads; ++index) {
            running_.fetch_add(1);
            if (!os::start_thread(thread_main, this)) return claim(false, "no thread");
        }
        return true;
    }
    void stop() {
        client_.remove("bench");
        while (running_.load() != 0)
            os::sleep_ms(1);
    }
    [[nodiscard]] wnbd::lab::Address address() const {
        return {0, static_cast<std::uint8_t>(info_.TargetId), 0};
    }
    std::atomic<std::uint64_t> calls{0};

  private:
    static void thread_main(void* context) {
        auto& server = *static_cast<Server*>(context);
        {
            const process::ProcessScope scope(server.client_.process());
            server.serve();
        }
        server.running_.fetch_sub(1);
    }
    void serve() {
        std::vector<std::uint8_t> buffer(buffer_bytes);
        for (;;) {
            WNBD_IO_REQUEST request{};
            calls.fetch_add(1, std::memory_order_relaxed);
            const NTSTATUS status =
                client_.fetch(info_.ConnectionId, request, buffer.data(), buffer_bytes);
            if (!NT_SUCCESS(status) || request.RequestType == WnbdReqTypeDisconnect) return;
            std::uint8_t* const at = memory_.data() + request.Cmd.Read.BlockAddress * block_size;
            const std::uint32_t bytes = request.Cmd.Read.BlockCount * block_size;
            const bool reads = request.RequestType == WnbdReqTypeRead;
            if (request.RequestType == WnbdReqTypeWrite) std::memcpy(at, buffer.data(), bytes);
            calls.fetch_add(1, std::memory_order_relaxed);
            client_.respond(info_.ConnectionId, request, WNBD_STATUS{}, reads ? at : nullptr,
                            reads ? bytes : 0);
        }
    }

    Client client_;
    WNBD_CONNECTION_INFO info_{};
    std::vector<std::uint8_t> memory_;
    std::atomic<std::uint32_t> running_{0};
};

/// A closed loop of requests.
class Load {
  public:
    Load(Lab& lab, wnbd::lab::Address address, bool writes, unsigned depth)
        : lab_(lab), address_(address), writes_(writes) {
        for (unsigned index = 0; index < depth; ++index) {
            slots_.push_back(std::make_unique<Slot>());
            slots_.back()->load = this;
            slots_.back()->random.seed(index + 1);
            slots_.back()->data.resize(block_size);
        }
    }
    void start() {
        out_.store(static_cast<std::uint32_t>(slots_.size()));
        for (const auto& slot : slots_)
            submit(*slot);
    }
    /// Lets the loop run out; false if something does not come back.
    bool stop() {
        stop_.store(true);
        for (int waited = 0; out_.load() != 0 && waited < 10'000; ++waited)
            os::sleep_ms(1);
        return out_.load() == 0;
    }
    std::atomic<std::uint64_t> done{0};
    std::atomic<std::uint64_t> failed{0};

  private:
    struct Slot {
        wnbd::lab::Request request;
        Load* load = nullptr;
        std::minstd_rand random;
        std::vector<std::uint8_t> data;
    };
    void submit(Slot& slot) {
        wnbd::lab::Request& request = slot.request;
        request = wnbd::lab::Request{};
        request.address = address_;
        request.cdb[0] = writes_ ? 0x8A : 0x88;
        wnbd::store_big_endian<std::uint64_t>(request.cdb + 2, slot.random() % disk_blocks);
        wnbd::store_big_endian<std::uint32_t>(request.cdb + 10, 1);
        request.cdb_length = 16;
        request.direction = writes_ ? wnbd::lab::Direction::Out : wnbd::lab::Direction::In;
        request.data = slot.data.data();
        request.data_length = block_size;
        request.context = &slot;
        request.complete = [](wnbd::lab::Request& finished) {
            auto& self = *static_cast<Slot*>(finished.context);
            Load& load = *self.load;
            load.done.fetch_add(1, std::memory_order_relaxed);
            if (finished.srb_status != 1) load.failed.fetch_add(1);
            if (load.stop_.load(std::memory_order_relaxed)) {
                load.out_.fetch_sub(1);
            } else {
                load.submit(self);
            }
        };
        wnbd::lab::submit(lab_.adapter(), request);
    }

    Lab& lab_;
    const wnbd::lab::Address address_;
    const bool writes_;
    std::vector<std::unique_ptr<Slot>> slots_;
    std::atomic<bool> stop_{false};
    std::atomic<std::uint32_t> out_{0};
};

struct Settings {
    double seconds = 2;
    unsigned servers = 4;
    const char* json = nullptr;
};

void measure(Lab& lab, Server& server, bool writes, unsigned depth, const Settings& settings,
             FILE* json) {
    Load load(lab, server.address(), writes, depth);
    load.start();
    os::sleep_ms(200);
    kernel::reset_counters();
    const std::uint64_t calls_before = server.calls.load();
    const std::uint64_t done_before = load.done.load();
    const std::uint64_t started = os::now_100ns();
    os::sleep_ms(static_cast<std::uint32_t>(settings.seconds * 1000));
    const double seconds = static_cast<double>(os::now_100ns() - started) / 1e7;
    const auto ios = static_cast<double>(load.done.load() - done_before);
    const double calls = static_cast<double>(server.calls.load() - calls_before) / ios;
    const kernel::Counters& counters = kernel::counters();
    const auto per_io = [ios](const std::atomic<std::uint64_t>& counter) {
        return static_cast<double>(counter.load()) / ios;
    };
    const double locks = per_io(counters.page_locks), pages = per_io(counters.pages_locked),
                 mdls = per_io(counters.mdl_allocations), pool = per_io(counters.allocations),
                 copies = per_io(counters.copies), bytes = per_io(counters.bytes_copied),
                 spins = per_io(counters.spin_locks), waits = per_io(counters.waits);
    if (!claim(load.stop(), "requests do not come back")) os::exit_process(1);
    claim(load.failed.load() == 0, "%llu requests failed",
          static_cast<unsigned long long>(load.failed.load()));
    const char* const name = writes ? "randwrite" : "randread";
    std::printf("%-10s %5u %9.0f %7.2f %7.2f %7.2f %7.2f %7.4f %7.2f %8.0f %7.2f %7.2f\n", name,
                depth, ios / seconds, calls, locks, pages, mdls, pool, copies, bytes, spins, waits);
    std::fflush(stdout);
    if (json == nullptr) return;
    std::fprintf(
        json,
        "{\"bench\":\"driver\",\"host\":\"process\",\"protocol\":1,\"workload\":\"%s\",\"bytes\":%"
        "u,\"depth\":%u,"
        "\"servers\":%u,\"seconds\":%.3f,\"iops\":%.0f,\"calls_per_io\":%.4f,\"page_locks_per_io\":"
        "%.4f,"
        "\"pages_locked_per_io\":%.4f,\"mdls_per_io\":%.4f,\"pool_allocations_per_io\":%.6f,"
        "\"copies_per_io\":%.4f,\"bytes_copied_per_io\":%.1f,\"spin_locks_per_io\":%.4f,\"waits_"
        "per_io\":%.4f}\n",
        name, block_size, depth, settings.servers, seconds, ios / seconds, calls, locks, pages,
        mdls, pool, copies, bytes, spins, waits);
}

}  // namespace

int main(int argc, char** argv) {
    Settings settings;
    for (int index = 2; index + 1 < argc; index += 2) {
        if (std::strcmp(argv[index], "--seconds") == 0)
            settings.seconds = std::atof(argv[index + 1]);
        else if (std::strcmp(argv[index], "--servers") == 0)
            settings.servers = static_cast<unsigned>(std::atoi(argv[index + 1]));
        else if (std::strcmp(argv[index], "--json") == 0)
            settings.json = argv[index + 1];
        else
            argc = 0;
    }
    if (argc < 2 || argc % 2 != 0 || settings.seconds <= 0 || settings.servers == 0) {
        std::puts("usage: driver_bench WNBD.SYS [--seconds S] [--servers N] [--json FILE]");
        return 2;
    }
    FILE* const json = settings.json == nullptr ? nullptr : std::fopen(settings.json, "w");
    if (settings.json != nullptr && json == nullptr) {
        std::printf("cannot write %s\n", settings.json);
        return 2;
    }
    Lab lab;
    wnbd::lab::PortOptions options;
    options.shadow_data = false;
    options.inline_completion = true;
    if (!lab.start(argv[1], options)) {
        std::printf("cannot start: %s\n", lab.error().c_str());
        return 2;
    }
    {
        Server server(lab);
        if (server.start(settings.servers)) {
            claim(process::wait_for_scans(30'000), "scans end");
            std::puts("                             per I/O");
            std::puts(
                "workload   depth      IOPS   calls   locks   pages    MDLs    pool  copies    "
                "bytes   spins   waits");
            for (const bool writes : {false, true}) {
                for (const unsigned depth : {1U, 32U, 128U})
                    measure(lab, server, writes, depth, settings, json);
            }
            server.stop();
        }
    }
    if (json != nullptr) std::fclose(json);
    claim(lab.stop(), "the adapter cannot be removed: %s", lab.error().c_str());
    return process::exit_code(report("driver_bench"));
}
