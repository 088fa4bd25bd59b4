// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/process_host/memory_server.h"

#include <cstring>

#include "tests/process_host/check.h"

namespace wnbd::test {

bool MemoryServer::start(const WNBD_PROPERTIES& properties, unsigned threads) {
    properties_ = properties;
    memory.assign(properties.BlockCount * properties.BlockSize, 0);
    if (!claim(client_.opened(), "the adapter can be opened")) return false;
    const NTSTATUS status = client_.create(properties, info_);
    if (!claim(NT_SUCCESS(status), "CREATE gave %08lx", static_cast<unsigned long>(status)))
        return false;
    started_ = true;
    for (unsigned index = 0; index < threads; ++index) {
        running_.fetch_add(1);
        if (lab::os::start_thread(thread_main, this)) continue;
        running_.fetch_sub(1);
        return claim(false, "no thread");
    }
    return true;
}

void MemoryServer::stop() {
    if (!started_) return;
    started_ = false;
    hold.store(false);
    client_.remove(properties_.InstanceName);
    while (running_.load() != 0)
        lab::os::sleep_ms(1);
}

void MemoryServer::thread_main(void* context) {
    auto& server = *static_cast<MemoryServer*>(context);
    {
        const process::ProcessScope scope(server.client_.process());
        std::vector<std::uint8_t> buffer(WNBD_DEFAULT_MAX_TRANSFER_LENGTH);
        while (server.serve_one(buffer)) {
        }
    }
    server.running_.fetch_sub(1);
}

/// Does the request; gives the bytes of `buffer` that go back with the reply.
std::uint32_t MemoryServer::apply(const WNBD_IO_REQUEST& request,
                                  std::vector<std::uint8_t>& buffer) {
    const std::uint32_t block_size = properties_.BlockSize;
    const auto in_range = [&](std::uint64_t block, std::uint64_t count) {
        return claim((block + count) * block_size <= memory.size(),
                     "a request for block %llu + %llu", static_cast<unsigned long long>(block),
                     static_cast<unsigned long long>(count));
    };
    const std::lock_guard guard(mutex_);
    const std::uint64_t block = request.Cmd.Read.BlockAddress;
    const std::size_t bytes = std::size_t{request.Cmd.Read.BlockCount} * block_size;
    switch (request.RequestType) {
        case WnbdReqTypeRead:
            seen.reads.fetch_add(1);
            if (!in_range(block, request.Cmd.Read.BlockCount)) return 0;
            std::memcpy(buffer.data(), memory.data() + block * block_size, bytes);
            return static_cast<std::uint32_t>(bytes);
        case WnbdReqTypeWrite:
            seen.writes.fetch_add(1);
            if (request.Cmd.Write.ForceUnitAccess) seen.forced.fetch_add(1);
            if (in_range(block, request.Cmd.Write.BlockCount)) {
                std::memcpy(memory.data() + block * block_size, buffer.data(), bytes);
            }
            return 0;
        case WnbdReqTypeFlush: seen.flushes.fetch_add(1); return 0;
        case WnbdReqTypeUnmap:
            seen.unmaps.fetch_add(1);
            for (UINT32 index = 0; index < request.Cmd.Unmap.Count; ++index) {
                WNBD_UNMAP_DESCRIPTOR range;
                std::memcpy(&range, buffer.data() + index * sizeof range, sizeof range);
                if (!in_range(range.BlockAddress, range.BlockCount)) continue;
                std::memset(memory.data() + range.BlockAddress * block_size, 0,
                            std::size_t{range.BlockCount} * block_size);
            }
            return 0;
        default: claim(false, "request type %d", request.RequestType); return 0;
    }
}

bool MemoryServer::serve_one(std::vector<std::uint8_t>& buffer) {
    WNBD_IO_REQUEST request{};
    const NTSTATUS status = client_.fetch(info_.ConnectionId, request, buffer.data(),
                                          static_cast<std::uint32_t>(buffer.size()));
    if (!NT_SUCCESS(status) || request.RequestType == WnbdReqTypeDisconnect) return false;
    if (hold.load()) {
        in_hand.fetch_add(1);
        while (hold.load() && !client_.process().dying.load())
            lab::os::sleep_ms(1);
        in_hand.fetch_sub(1);
    }
    const bool fails = answer.ScsiStatus != 0;
    const std::uint32_t bytes = fails ? 0 : apply(request, buffer);
    client_.respond(info_.ConnectionId, request, answer, bytes == 0 ? nullptr : buffer.data(),
                    bytes);
    return true;
}

}  // namespace wnbd::test
