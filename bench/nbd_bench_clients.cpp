// SPDX-License-Identifier: LGPL-2.1-or-later
#include "bench/nbd_bench_clients.h"

#include <libnbd.h>
#include <poll.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <memory>
#include <thread>
#include <vector>

#include "backend/open_backend.h"

namespace wnbd::bench {
namespace {

using Clock = std::chrono::steady_clock;

/// One of our requests that goes round and round. Each connection completes on a thread of its own,
/// so each looper counts for itself.
struct Looper {
    Offsets offsets;
    struct Load* load;
    backend::Request request{};
    std::vector<std::uint8_t> buffer{};
    std::uint64_t requests = 0;
};

struct Load {
    backend::Backend* disk;
    std::atomic<bool> stop{false};
    std::atomic<unsigned> running{0};
    std::atomic<bool> failed{false};
};

void again(backend::Request& request, backend::Error error) noexcept {
    auto& looper = *static_cast<Looper*>(request.context);
    auto& load = *looper.load;
    if (error != backend::Error::none) load.failed = true;
    ++looper.requests;
    if (load.failed || load.stop.load(std::memory_order_relaxed)) {
        if (--load.running == 0) load.running.notify_all();
        return;
    }
    request.offset = looper.offsets.next();
    load.disk->submit(request);
}

}  // namespace

Measurement measure_ours(const NbdLoad& what) {
    const auto& cell = what.cell;
    const auto joint = what.uri.find('?') == std::string::npos ? "?" : "&";
    auto disk =
        backend::open_backend(what.uri + joint + "connections=" + std::to_string(what.connections));
    if (!disk) return {.failure = disk.error()};
    Load load{.disk = disk.value().get()};
    std::vector<Looper> loopers;
    loopers.reserve(cell.depth);
    std::vector<backend::Request*> requests;
    load.running = cell.depth;
    for (unsigned index = 0; index < cell.depth; ++index) {
        auto& looper = loopers.emplace_back(
            Offsets(what.size, cell.block, cell.block >= streaming_block, index, cell.depth),
            &load);
        looper.buffer.resize(cell.block, 0x5a);
        looper.request = {
            .operation = cell.write ? backend::Operation::write : backend::Operation::read,
            .offset = looper.offsets.next(),
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
    Measurement result{.seconds = since(start),
                       .cpu_seconds = cpu_now() - cpu,
                       .failure = load.failed ? "a request failed " + load.disk->failure() : ""};
    for (const auto& looper : loopers)
        result.requests += looper.requests;
    return result;
}

namespace {

struct LibnbdRequest {
    struct LibnbdLoad* load;
    nbd_handle* connection;
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

using LibnbdHandle = std::unique_ptr<nbd_handle, void (*)(nbd_handle*)>;

/// Null when it fails: nbd_get_error() tells.
LibnbdHandle libnbd_connect(const std::string& uri) {
    LibnbdHandle nbd(nbd_create(), nbd_close);
    if (nbd == nullptr || nbd_set_uri_allow_local_file(nbd.get(), true) != 0 ||
        nbd_connect_uri(nbd.get(), uri.c_str()) != 0)
        return {nullptr, nbd_close};
    nbd_set_pread_initialize(nbd.get(), false);
    return nbd;
}

/// What nbd_poll() does, for several connections.
bool libnbd_poll(const std::vector<LibnbdHandle>& connections) {
    if (connections.size() == 1) return nbd_poll(connections[0].get(), -1) >= 0;
    std::vector<pollfd> polled;
    for (const auto& connection : connections) {
        const auto direction = nbd_aio_get_direction(connection.get());
        const bool reads = (direction & LIBNBD_AIO_DIRECTION_READ) != 0;
        const bool writes = (direction & LIBNBD_AIO_DIRECTION_WRITE) != 0;
        polled.push_back({nbd_aio_get_fd(connection.get()),
                          static_cast<short>((reads ? POLLIN : 0) | (writes ? POLLOUT : 0)), 0});
    }
    if (::poll(polled.data(), polled.size(), -1) < 0) return false;
    for (std::size_t i = 0; i < connections.size(); ++i) {
        auto* const nbd = connections[i].get();
        const auto direction = nbd_aio_get_direction(nbd);
        int result = 0;
        if ((polled[i].revents & (POLLIN | POLLHUP)) != 0 &&
            (direction & LIBNBD_AIO_DIRECTION_READ) != 0)
            result = nbd_aio_notify_read(nbd);
        else if ((polled[i].revents & POLLOUT) != 0 &&
                 (direction & LIBNBD_AIO_DIRECTION_WRITE) != 0)
            result = nbd_aio_notify_write(nbd);
        if (result != 0) return false;
    }
    return true;
}

}  // namespace

std::string fill(const std::string& uri, std::uint64_t size) {
    const auto nbd = libnbd_connect(uri);
    if (nbd == nullptr) return nbd_get_error();
    const std::vector<std::uint8_t> bytes(1U << 20, 0x5a);
    for (std::uint64_t at = 0; at < size; at += bytes.size())
        if (nbd_pwrite(nbd.get(), bytes.data(), bytes.size(), at, 0) != 0) return nbd_get_error();
    return {};
}

Measurement measure_libnbd(const NbdLoad& what) {
    const auto& cell = what.cell;
    std::vector<LibnbdHandle> connections;
    for (unsigned i = 0; i < what.connections; ++i) {
        connections.push_back(libnbd_connect(what.uri));
        if (connections.back() == nullptr) return {.failure = nbd_get_error()};
    }
    Offsets offsets(what.size, cell.block, cell.block >= streaming_block);
    LibnbdLoad load;
    std::vector<LibnbdRequest> requests(cell.depth);
    for (unsigned i = 0; i < cell.depth; ++i) {
        requests[i] = {&load, connections[i % what.connections].get(),
                       std::vector<std::uint8_t>(cell.block, 0x5a)};
        load.free.push_back(&requests[i]);
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
            auto* const nbd = request.connection;
            const auto at = offsets.next();
            const auto cookie = cell.write
                                    ? nbd_aio_pwrite(nbd, buffer.data(), buffer.size(), at, done, 0)
                                    : nbd_aio_pread(nbd, buffer.data(), buffer.size(), at, done, 0);
            if (cookie < 0) return {.failure = nbd_get_error()};
        }
        // Already there, if the server was quick.
        if (load.free.size() == cell.depth) continue;
        if (!libnbd_poll(connections)) return {.failure = nbd_get_error()};
        over = since(start) >= cell.seconds;
    }
    return {.requests = load.requests,
            .seconds = since(start),
            .cpu_seconds = cpu_now() - cpu,
            .failure = load.failed ? "a request failed" : ""};
}

}  // namespace wnbd::bench
