// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/process_host/stress_server.h"

#include <vector>

#include "lab/kernel/os.h"
#include "tests/process_host/check.h"

namespace wnbd::test {
namespace {

constexpr std::uint32_t buffer_bytes = 256 * 1024;

bool out_of_resources(NTSTATUS status) {
    // Injected: no MDL, no mapping, no pool; or a page that "cannot be locked".
    return status == STATUS_INSUFFICIENT_RESOURCES || status == STATUS_ACCESS_VIOLATION ||
           status == STATUS_NO_MEMORY;
}

}  // namespace

bool StressServer::start(const std::string& name, unsigned threads) {
    if (!client_.opened()) return claim(false, "the adapter cannot be opened");
    WNBD_PROPERTIES properties =
        disk_properties(name.c_str(), store_.blocks(), store_.block_size());
    NTSTATUS status;
    for (int attempt = 0; attempt < 100; ++attempt) {
        status = client_.create(properties, info_);
        // The removed disk's name is free again only when the last user of it is gone.
        if (!out_of_resources(status) && status != STATUS_OBJECT_NAME_COLLISION) break;
        lab::os::sleep_ms(10);
    }
    if (!claim(NT_SUCCESS(status), "CREATE gave %08lx", static_cast<unsigned long>(status)))
        return false;
    for (unsigned index = 0; index < threads; ++index) {
        running_.fetch_add(1);
        if (lab::os::start_thread(thread_main, this)) continue;
        running_.fetch_sub(1);
        return claim(false, "no thread");
    }
    return true;
}

void StressServer::join() {
    while (!ended())
        lab::os::sleep_ms(1);
}

void StressServer::thread_main(void* context) {
    auto& server = *static_cast<StressServer*>(context);
    {
        const process::ProcessScope scope(server.client_.process());
        server.serve();
    }
    server.running_.fetch_sub(1);
}

void StressServer::serve() {
    std::vector<std::uint8_t> buffer(buffer_bytes);
    while (serve_one(buffer.data(), buffer_bytes)) {
    }
}

bool StressServer::serve_one(std::uint8_t* buffer, std::uint32_t bytes) {
    WNBD_IO_REQUEST request{};
    NTSTATUS status = client_.fetch(info_.ConnectionId, request, buffer, bytes);
    if (out_of_resources(status)) {
        counters_.refused.fetch_add(1, std::memory_order_relaxed);
        return true;
    }
    if (!NT_SUCCESS(status)) {
        // Gone, or this process is being killed.
        const bool expected = status == STATUS_INVALID_HANDLE || status == STATUS_CANCELLED ||
                              status == STATUS_THREAD_IS_TERMINATING;
        if (!claim(expected, "FETCH gave %08lx", static_cast<unsigned long>(status)))
            counters_.odd.fetch_add(1);
        return false;
    }
    if (request.RequestType == WnbdReqTypeDisconnect) return false;

    const auto count = request.Cmd.Read.BlockCount;
    const std::uint64_t block = request.Cmd.Read.BlockAddress;
    const bool transfer =
        request.RequestType == WnbdReqTypeRead || request.RequestType == WnbdReqTypeWrite;
    const std::uint64_t length = transfer ? std::uint64_t{count} * store_.block_size() : 0;
    if (transfer && (block + count > store_.blocks() || length > bytes)) {
        counters_.odd.fetch_add(1);
        claim(false, "a request for block %llu + %u", static_cast<unsigned long long>(block),
              count);
        return false;
    }
    if (request.RequestType == WnbdReqTypeRead) store_.read(block, count, buffer);
    if (request.RequestType == WnbdReqTypeWrite && !store_.write(block, count, buffer))
        counters_.damaged.fetch_add(1);

    const bool with_data = request.RequestType == WnbdReqTypeRead;
    status =
        client_.respond(info_.ConnectionId, request, WNBD_STATUS{}, with_data ? buffer : nullptr,
                        with_data ? static_cast<std::uint32_t>(length) : 0);
    if (NT_SUCCESS(status)) {
        counters_.served.fetch_add(1, std::memory_order_relaxed);
    } else if (status == STATUS_NOT_FOUND) {
        counters_.late.fetch_add(1, std::memory_order_relaxed);
    } else if (out_of_resources(status)) {
        counters_.refused.fetch_add(1, std::memory_order_relaxed);
    } else {
        const bool expected =
            status == STATUS_INVALID_HANDLE || status == STATUS_THREAD_IS_TERMINATING;
        claim(expected, "SEND_RSP gave %08lx", static_cast<unsigned long>(status));
        return false;
    }
    return true;
}

}  // namespace wnbd::test
