// SPDX-License-Identifier: LGPL-2.1-or-later
#include "bench/nbd_bench_clients.h"

#include <libnbd.h>

#include <algorithm>
#include <array>
#include <atomic>
#include <chrono>
#include <cstdio>
#include <memory>
#include <nlohmann/json.hpp>
#include <thread>
#include <vector>

#include "backend/open_backend.h"

namespace wnbd::bench {
namespace {

using Clock = std::chrono::steady_clock;

/// One of our requests that goes round and round.
struct Looper {
    backend::Request request;
    std::vector<std::uint8_t> buffer;
    struct Load* load = nullptr;
};

struct Load {
    backend::Backend* disk;
    Offsets offsets;  // the backend's one completing thread's, once started
    std::uint64_t requests = 0;
    std::atomic<bool> stop{false};
    std::atomic<unsigned> running{0};
    std::atomic<bool> failed{false};
};

void again(backend::Request& request, backend::Error error) noexcept {
    auto& load = *static_cast<Looper*>(request.context)->load;
    if (error != backend::Error::none) load.failed = true;
    ++load.requests;
    if (load.failed || load.stop.load(std::memory_order_relaxed)) {
        if (--load.running == 0) load.running.notify_all();
        return;
    }
    request.offset = load.offsets.next();
    load.disk->submit(request);
}

}  // namespace

Measurement measure_ours(const std::string& uri, std::uint64_t size, const Cell& cell) {
    auto disk = backend::open_backend(uri);
    if (!disk) return {.failure = disk.error()};
    Load load{.disk = disk.value().get(), .offsets = {size, cell.block}};
    std::vector<Looper> loopers(cell.depth);
    std::vector<backend::Request*> requests;
    load.running = cell.depth;
    for (auto& looper : loopers) {
        looper.buffer.resize(cell.block, 0x5a);
        looper.load = &load;
        looper.request = {
            .operation = cell.write ? backend::Operation::write : backend::Operation::read,
            .offset = load.offsets.next(),
            .length = cell.block,
            .buffer = looper.buffer,
            .done = again,
            .context = &looper};
        requests.push_back(&looper.request);
    }
    const auto cpu = cpu_now();
    const auto start = Clock::now();
    load.disk->submit_many(requests);
    std::this_thread::sleep_for(std::chrono::duration<double>(cell.seconds));
    load.stop = true;
    for (unsigned left = load.running; left != 0; left = load.running)
        load.running.wait(left);
    return {.requests = load.requests,
            .seconds = since(start),
            .cpu_seconds = cpu_now() - cpu,
            .failure = load.failed ? "a request failed " + load.disk->failure() : ""};
}

namespace {

struct LibnbdRequest {
    struct LibnbdLoad* load;
    std::vector<std::uint8_t> buffer;
};
struct LibnbdLoad {
    std::uint64_t requests = 0;
    bool failed = false;
    std::vector<LibnbdRequest*> free{};
};

int libnbd_done(void* user_data, int* error) {
    auto& request = *static_cast<LibnbdRequest*>(user_data);
    auto& load = *request.load;
    if (*error != 0) load.failed = true;
    ++load.requests;
    load.free.push_back(&request);
    return 1;  // retire it
}

}  // namespace

Measurement measure_libnbd(const std::string& uri, std::uint64_t size, const Cell& cell) {
    const std::unique_ptr<nbd_handle, void (*)(nbd_handle*)> owner(nbd_create(), nbd_close);
    nbd_handle* const nbd = owner.get();
    if (nbd == nullptr || nbd_connect_uri(nbd, uri.c_str()) != 0)
        return {.failure = nbd_get_error()};
    nbd_set_pread_initialize(nbd, false);
    Offsets offsets(size, cell.block);
    LibnbdLoad load;
    std::vector<LibnbdRequest> requests(cell.depth);
    for (auto& request : requests) {
        request = {&load, std::vector<std::uint8_t>(cell.block, 0x5a)};
        load.free.push_back(&request);
    }
    const auto cpu = cpu_now();
    const auto start = Clock::now();
    bool over = false;
    while (!load.failed && (!over || load.free.size() < cell.depth)) {
        while (!over && !load.free.empty()) {
            auto& request = *load.free.back();
            load.free.pop_back();
            const nbd_completion_callback done{libnbd_done, &request, nullptr};
            auto& buffer = request.buffer;
            const auto at = offsets.next();
            const auto cookie = cell.write
                                    ? nbd_aio_pwrite(nbd, buffer.data(), buffer.size(), at, done, 0)
                                    : nbd_aio_pread(nbd, buffer.data(), buffer.size(), at, done, 0);
            if (cookie < 0) return {.failure = nbd_get_error()};
        }
        if (nbd_poll(nbd, -1) < 0) return {.failure = nbd_get_error()};
        over = since(start) >= cell.seconds;
    }
    return {.requests = load.requests,
            .seconds = since(start),
            .cpu_seconds = cpu_now() - cpu,
            .failure = load.failed ? "a request failed" : ""};
}

Measurement measure_fio(const std::string& uri, std::uint64_t size, const Cell& cell) {
    // The URI comes from our own server's temporary directory: no quote can be in it.
    const auto command = "fio --name=nbd --ioengine=nbd --uri='" + uri +
                         "' --rw=" + (cell.write ? "randwrite" : "randread") +
                         " --bs=" + std::to_string(cell.block) +
                         " --iodepth=" + std::to_string(cell.depth) +
                         " --size=" + std::to_string(size) +
                         " --time_based --runtime=" + std::to_string(int(cell.seconds * 1000)) +
                         "ms --norandommap --randrepeat=0 --output-format=json 2>/dev/null";
    const std::unique_ptr<FILE, int (*)(FILE*)> pipe(::popen(command.c_str(), "r"), ::pclose);
    if (pipe == nullptr) return {.failure = "fio cannot be started"};
    std::string output;
    std::array<char, 4096> part;
    for (std::size_t got = 0; (got = std::fread(part.data(), 1, part.size(), pipe.get())) > 0;)
        output.append(part.data(), got);
    // Its nbd engine puts a line of its own before the JSON.
    output.erase(0, std::min(output.find('{'), output.size()));
    const auto json = nlohmann::json::parse(output, nullptr, false);
    if (json.is_discarded() || !json.contains("jobs") || json["jobs"].empty())
        return {.failure = "fio gave no result"};
    const auto& job = json["jobs"][0];
    const auto& side = job[cell.write ? "write" : "read"];
    const double seconds = side["runtime"].get<double>() / 1000;
    const double busy = job["usr_cpu"].get<double>() + job["sys_cpu"].get<double>();
    return {.requests = side["total_ios"].get<std::uint64_t>(),
            .seconds = seconds,
            .cpu_seconds = busy / 100 * seconds,
            .failure = job["error"].get<int>() != 0 ? "fio reports an error" : ""};
}

}  // namespace wnbd::bench
