// SPDX-License-Identifier: LGPL-2.1-or-later
// A program that serves disks through the public API where the driver is installed, and is the
// disks' user, too. Prints what is wrong; exits 0 when nothing is.
#include <algorithm>
#include <atomic>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "wnbd.h"

// After <windows.h>, which wnbd.h brings.
#include <winioctl.h>

namespace {

constexpr UINT32 block_size = 512;
constexpr UINT64 block_count = 8192;

int failures = 0;

void expect(int line, const char* what, unsigned long long got, unsigned long long wanted) {
    if (got == wanted) return;
    std::printf("line %d: %s: %llu instead of %llu\n", line, what, got, wanted);
    std::fflush(stdout);
    ++failures;
}
#define EXPECT(call, wanted) expect(__LINE__, #call, (call), (wanted))

/// What serves the disks: memory, and a way to answer badly.
struct Store {
    std::vector<UINT8> bytes = std::vector<UINT8>(block_size * block_count * 2);
    bool fail_writes = false;
    // What the callbacks have seen, for the counters to agree with.
    std::atomic<UINT64> reads{0}, blocks_read{0}, writes{0}, blocks_written{0}, failed{0};
    std::atomic<UINT64> flushes{0}, forced_reads{0}, forced_writes{0};
    std::vector<WNBD_UNMAP_DESCRIPTOR> unmapped;
    std::atomic<DWORD> wait_in_callback{0};
};

Store& store_of(PWNBD_DISK disk) {
    PVOID context = nullptr;
    WnbdGetUserContext(disk, &context);
    return *static_cast<Store*>(context);
}

VOID serve_read(PWNBD_DISK disk, UINT64 handle, PVOID, UINT64 address, UINT32 count,
                BOOLEAN forced) {
    WNBD_IO_RESPONSE response{};
    response.RequestHandle = handle;
    response.RequestType = WnbdReqTypeRead;
    Store& store = store_of(disk);
    ++store.reads;
    if (forced) ++store.forced_reads;
    store.blocks_read += count;
    store.wait_in_callback = WnbdWaitDispatcher(disk);
    WnbdSendResponse(disk, &response, store.bytes.data() + address * block_size,
                     count * block_size);
}

VOID serve_write(PWNBD_DISK disk, UINT64 handle, PVOID data, UINT64 address, UINT32 count,
                 BOOLEAN forced) {
    WNBD_IO_RESPONSE response{};
    response.RequestHandle = handle;
    response.RequestType = WnbdReqTypeWrite;
    Store& store = store_of(disk);
    ++store.writes;
    if (forced) ++store.forced_writes;
    store.blocks_written += count;
    if (store.fail_writes) {
        ++store.failed;
        WnbdSetSenseEx(&response.Status, 0x03, 0x0C, address);
    } else {
        std::memcpy(store.bytes.data() + address * block_size, data, count * block_size);
    }
    WnbdSendResponse(disk, &response, nullptr, 0);
}

VOID serve_flush(PWNBD_DISK disk, UINT64 handle, UINT64, UINT32) {
    WNBD_IO_RESPONSE response{};
    response.RequestHandle = handle;
    response.RequestType = WnbdReqTypeFlush;
    ++store_of(disk).flushes;
    WnbdSendResponse(disk, &response, nullptr, 0);
}

VOID serve_unmap(PWNBD_DISK disk, UINT64 handle, PWNBD_UNMAP_DESCRIPTOR ranges, UINT32 count) {
    WNBD_IO_RESPONSE response{};
    response.RequestHandle = handle;
    response.RequestType = WnbdReqTypeUnmap;
    Store& store = store_of(disk);
    store.unmapped.insert(store.unmapped.end(), ranges, ranges + count);
    WnbdSendResponse(disk, &response, nullptr, 0);
}

VOID fail_flush(PWNBD_DISK disk, UINT64 handle, UINT64, UINT32) {
    WNBD_IO_RESPONSE response{};
    response.RequestHandle = handle;
    response.RequestType = WnbdReqTypeFlush;
    WnbdSetSense(&response.Status, 0x03, 0x0C);
    ++store_of(disk).flushes;
    WnbdSendResponse(disk, &response, nullptr, 0);
}

const WNBD_INTERFACE served_by = {serve_read, serve_write, nullptr, nullptr, nullptr, nullptr, {}};

WNBD_PROPERTIES properties_of(const char* name) {
    WNBD_PROPERTIES properties{};
    std::strcpy(properties.InstanceName, name);
    properties.BlockCount = block_count;
    properties.BlockSize = block_size;
    return properties;
}

PWNBD_DISK create(const char* name, Store& store) {
    WNBD_PROPERTIES properties = properties_of(name);
    PWNBD_DISK disk = nullptr;
    EXPECT(WnbdCreate(&properties, const_cast<PWNBD_INTERFACE>(&served_by), &store, &disk),
           ERROR_SUCCESS);
    if (disk == nullptr) ExitProcess(1);
    return disk;
}

WNBD_REMOVE_OPTIONS hard() {
    WNBD_REMOVE_OPTIONS options{};
    options.Flags.HardRemove = 1;
    return options;
}

DWORD wait_for_number(const char* name) {
    DWORD number = 0;
    EXPECT(WnbdPollDiskNumber(name, TRUE, TRUE, 20000, 100, &number), ERROR_SUCCESS);
    return number;
}

/// Reads or writes at a position; returns the error.
DWORD transfer(DWORD number, bool write, UINT64 position, std::vector<UINT8>& data,
               DWORD flags = 0) {
    const std::string path = "\\\\.\\PhysicalDrive" + std::to_string(number);
    const HANDLE drive = CreateFileA(
        path.c_str(), GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, nullptr,
        OPEN_EXISTING, FILE_FLAG_OVERLAPPED | FILE_FLAG_NO_BUFFERING | flags, nullptr);
    if (drive == INVALID_HANDLE_VALUE) return GetLastError();
    OVERLAPPED where{};
    where.Offset = static_cast<DWORD>(position);
    where.OffsetHigh = static_cast<DWORD>(position >> 32);
    where.hEvent = CreateEventW(nullptr, TRUE, FALSE, nullptr);
    const auto size = static_cast<DWORD>(data.size());
    BOOL done = write ? WriteFile(drive, data.data(), size, nullptr, &where)
                      : ReadFile(drive, data.data(), size, nullptr, &where);
    DWORD moved = 0;
    if (!done && GetLastError() == ERROR_IO_PENDING)
        done = GetOverlappedResult(drive, &where, &moved, TRUE);
    else if (done)
        done = GetOverlappedResult(drive, &where, &moved, FALSE);
    const DWORD error = done ? (moved == size ? ERROR_SUCCESS : ERROR_HANDLE_EOF) : GetLastError();
    CloseHandle(where.hEvent);
    CloseHandle(drive);
    return error;
}

void serves_reads_and_writes_with_many_threads() {
    Store store;
    const PWNBD_DISK disk = create("api-io", store);
    EXPECT(WnbdWaitDispatcher(disk), ERROR_PIPE_NOT_CONNECTED);
    EXPECT(WnbdStartDispatcher(disk, 0), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdStartDispatcher(disk, 256), ERROR_INVALID_PARAMETER);
    // More than WaitForMultipleObjects takes.
    EXPECT(WnbdStartDispatcher(disk, 70), ERROR_SUCCESS);
    EXPECT(WnbdStartDispatcher(disk, 1), ERROR_ALREADY_EXISTS);
    const DWORD number = wait_for_number("api-io");

    std::vector<UINT8> out(64 * block_size);
    for (std::size_t i = 0; i < out.size(); ++i)
        out[i] = static_cast<UINT8>(i * 7 + i / 512);
    EXPECT(transfer(number, true, 5 * block_size, out), ERROR_SUCCESS);
    EXPECT(std::memcmp(store.bytes.data() + 5 * block_size, out.data(), out.size()) == 0, 1);
    std::vector<UINT8> in(out.size());
    EXPECT(transfer(number, false, 5 * block_size, in), ERROR_SUCCESS);
    EXPECT(in == out, 1);
    store.fail_writes = true;
    EXPECT(transfer(number, true, 0, out) != ERROR_SUCCESS, 1);

    WNBD_USR_STATS stats{};
    EXPECT(WnbdGetUserspaceStats(disk, &stats), ERROR_SUCCESS);
    EXPECT(stats.TotalReceivedRequests,
           stats.TotalSubmittedRequests + stats.UnsubmittedRequests + stats.InvalidRequests);
    EXPECT(stats.PendingSubmittedRequests, 0);
    EXPECT(stats.TotalReadBlocks, store.blocks_read);
    EXPECT(stats.TotalWrittenBlocks, store.blocks_written);
    EXPECT(stats.TotalRWRequests, store.reads + store.writes);
    EXPECT(store.failed > 0, 1);
    EXPECT(stats.WriteErrors, store.failed);
    EXPECT(stats.ReadErrors, 0);
    EXPECT(stats.InvalidRequests, 0);
    EXPECT(store.wait_in_callback, ERROR_POSSIBLE_DEADLOCK);
    WNBD_CONNECTION_INFO own{};
    EXPECT(WnbdGetConnectionInfo(disk, &own), ERROR_SUCCESS);
    EXPECT(own.ConnectionId, disk->ConnectionInfo.ConnectionId);
    EXPECT(std::strcmp(own.Properties.InstanceName, "api-io"), 0);
    WNBD_DRV_STATS driver_stats{};
    EXPECT(WnbdGetDriverStats("api-io", &driver_stats), ERROR_SUCCESS);
    EXPECT(static_cast<UINT64>(driver_stats.TotalSubmittedIORequests), stats.TotalReceivedRequests);

    WNBD_IO_RESPONSE stray{};
    stray.RequestHandle = 0x123456789;
    stray.RequestType = WnbdReqTypeWrite;
    EXPECT(WnbdSendResponse(disk, &stray, nullptr, 0), ERROR_NOT_FOUND);
    EXPECT(WnbdStopDispatcher(disk, nullptr), ERROR_SUCCESS);
    EXPECT(WnbdStopDispatcher(disk, nullptr), ERROR_SUCCESS);
    EXPECT(WnbdWaitDispatcher(disk), ERROR_SUCCESS);
    EXPECT(WnbdSendResponse(disk, &stray, nullptr, 0), ERROR_PIPE_NOT_CONNECTED);
    EXPECT(WnbdRemove(disk, nullptr), ERROR_SUCCESS);
    WnbdClose(disk);
    WNBD_CONNECTION_INFO info{};
    EXPECT(WnbdShow("api-io", &info), ERROR_FILE_NOT_FOUND);
}

HANDLE open_drive(DWORD number, DWORD access) {
    const std::string path = "\\\\.\\PhysicalDrive" + std::to_string(number);
    return CreateFileA(path.c_str(), access, FILE_SHARE_READ | FILE_SHARE_WRITE, nullptr,
                       OPEN_EXISTING, 0, nullptr);
}

bool trim(HANDLE drive, UINT64 position, UINT64 length) {
    struct {
        DEVICE_MANAGE_DATA_SET_ATTRIBUTES head;
        DEVICE_DATA_SET_RANGE range;
    } request{};
    request.head.Size = sizeof(request.head);
    request.head.Action = DeviceDsmAction_Trim;
    request.head.DataSetRangesOffset = offsetof(decltype(request), range);
    request.head.DataSetRangesLength = sizeof(request.range);
    request.range.StartingOffset = static_cast<LONGLONG>(position);
    request.range.LengthInBytes = length;
    DWORD returned = 0;
    return DeviceIoControl(drive, IOCTL_STORAGE_MANAGE_DATA_SET_ATTRIBUTES, &request,
                           sizeof(request), nullptr, 0, &returned, nullptr) != FALSE;
}

void what_is_forced_flushed_and_unmapped_is_told() {
    Store store;
    WNBD_PROPERTIES properties = properties_of("api-told");
    properties.Flags.FlushSupported = 1;
    properties.Flags.FUASupported = 1;
    properties.Flags.UnmapSupported = 1;
    properties.MaxUnmapDescCount = 1;
    const WNBD_INTERFACE all = {serve_read, serve_write, serve_flush, serve_unmap,
                                nullptr,    nullptr,     {}};
    PWNBD_DISK disk = nullptr;
    EXPECT(WnbdCreate(&properties, const_cast<PWNBD_INTERFACE>(&all), &store, &disk),
           ERROR_SUCCESS);
    EXPECT(WnbdStartDispatcher(disk, 1), ERROR_SUCCESS);
    const DWORD number = wait_for_number("api-told");
    std::vector<UINT8> block(block_size);
    EXPECT(transfer(number, true, 0, block), ERROR_SUCCESS);
    EXPECT(store.forced_writes, 0);
    EXPECT(transfer(number, true, 0, block, FILE_FLAG_WRITE_THROUGH), ERROR_SUCCESS);
    EXPECT(store.forced_writes, 1);
    EXPECT(store.writes, 2);
    const HANDLE drive = open_drive(number, GENERIC_READ | GENERIC_WRITE);
    const UINT64 flushes = store.flushes;
    EXPECT(FlushFileBuffers(drive), TRUE);
    EXPECT(store.flushes, flushes + 1);
    EXPECT(trim(drive, 24 * block_size, 40 * block_size), true);
    EXPECT(store.unmapped.size(), 1);
    if (!store.unmapped.empty()) {
        EXPECT(store.unmapped[0].BlockAddress, 24);
        EXPECT(store.unmapped[0].BlockCount, 40);
    }
    CloseHandle(drive);
    WNBD_REMOVE_OPTIONS options = hard();
    EXPECT(WnbdStopDispatcher(disk, &options), ERROR_SUCCESS);
    EXPECT(WnbdWaitDispatcher(disk), ERROR_SUCCESS);
    WnbdClose(disk);
}

void what_nobody_serves_is_refused() {
    Store store;
    WNBD_PROPERTIES properties = properties_of("api-refuse");
    properties.Flags.FlushSupported = 1;
    const WNBD_INTERFACE reads_only = {serve_read, nullptr, fail_flush, nullptr,
                                       nullptr,    nullptr, {}};
    PWNBD_DISK disk = nullptr;
    EXPECT(WnbdCreate(&properties, const_cast<PWNBD_INTERFACE>(&reads_only), &store, &disk),
           ERROR_SUCCESS);
    EXPECT(WnbdStartDispatcher(disk, 2), ERROR_SUCCESS);
    const DWORD number = wait_for_number("api-refuse");
    std::vector<UINT8> block(block_size);
    EXPECT(transfer(number, true, 0, block) != ERROR_SUCCESS, 1);
    const HANDLE drive = open_drive(number, GENERIC_READ | GENERIC_WRITE);
    EXPECT(FlushFileBuffers(drive), FALSE);
    CloseHandle(drive);
    WNBD_USR_STATS stats{};
    EXPECT(WnbdGetUserspaceStats(disk, &stats), ERROR_SUCCESS);
    EXPECT(stats.InvalidRequests > 0, 1);
    EXPECT(stats.TotalReceivedRequests, stats.TotalSubmittedRequests + stats.InvalidRequests);
    EXPECT(stats.TotalRWRequests, store.reads);
    EXPECT(store.flushes > 0, 1);
    EXPECT(stats.FlushErrors, store.flushes);
    EXPECT(stats.UnmapErrors + stats.WriteErrors, 0);
    WNBD_REMOVE_OPTIONS options = hard();
    EXPECT(WnbdStopDispatcher(disk, &options), ERROR_SUCCESS);
    EXPECT(WnbdWaitDispatcher(disk), ERROR_SUCCESS);
    WnbdClose(disk);
}

void a_dispatcher_that_could_not_be_stopped_can_be_stopped_later() {
    Store store;
    const PWNBD_DISK disk = create("api-veto", store);
    EXPECT(WnbdStartDispatcher(disk, 1), ERROR_SUCCESS);
    const HANDLE drive = open_drive(wait_for_number("api-veto"), GENERIC_READ);
    WNBD_REMOVE_OPTIONS soft{};
    soft.SoftRemoveTimeoutMs = 1;
    soft.SoftRemoveRetryIntervalMs = 1;
    EXPECT(WnbdStopDispatcher(disk, &soft), ERROR_TIMEOUT);
    WNBD_CONNECTION_INFO info{};
    EXPECT(WnbdShow("api-veto", &info), ERROR_SUCCESS);
    CloseHandle(drive);
    soft.SoftRemoveTimeoutMs = 20000;
    EXPECT(WnbdStopDispatcher(disk, &soft), ERROR_SUCCESS);
    EXPECT(WnbdWaitDispatcher(disk), ERROR_SUCCESS);
    EXPECT(WnbdShow("api-veto", &info), ERROR_FILE_NOT_FOUND);
    WnbdClose(disk);
}

/// A number above those of all handles that are open: free ones are given out from below.
ULONG_PTR next_handle() {
    HANDLE events[64];
    ULONG_PTR highest = 0;
    for (HANDLE& event : events) {
        event = CreateEventW(nullptr, TRUE, FALSE, nullptr);
        highest = std::max(highest, reinterpret_cast<ULONG_PTR>(event));
    }
    for (const HANDLE event : events)
        CloseHandle(event);
    return highest;
}

void a_closed_disk_leaves_no_handle() {
    constexpr ULONG_PTR apart = 4;  // of handles' numbers
    constexpr DWORD rounds = 24;
    ULONG_PTR before = 0;
    for (DWORD round = 0; round <= rounds; ++round) {
        if (round == 1) before = next_handle();
        Store store;
        const PWNBD_DISK disk = create("api-close", store);
        EXPECT(WnbdStartDispatcher(disk, 4), ERROR_SUCCESS);
        WNBD_REMOVE_OPTIONS options = hard();
        EXPECT(WnbdStopDispatcher(disk, &options), ERROR_SUCCESS);
        EXPECT(WnbdWaitDispatcher(disk), ERROR_SUCCESS);
        WnbdClose(disk);
    }
    // Fewer than one in two rounds.
    EXPECT(next_handle() < before + apart * rounds / 2, 1);
}

void a_disk_number_is_waited_for_as_long_as_is_asked() {
    DWORD number = 0;
    const ULONGLONG begin = GetTickCount64();
    EXPECT(WnbdPollDiskNumber("api-nobody", TRUE, FALSE, 60000, 10, &number), ERROR_FILE_NOT_FOUND);
    EXPECT(GetTickCount64() - begin < 60000, 1);
    EXPECT(WnbdPollDiskNumber("api-nobody", FALSE, FALSE, 0, 10, &number), ERROR_TIMEOUT);
    const ULONGLONG again = GetTickCount64();
    EXPECT(WnbdPollDiskNumber("api-nobody", FALSE, TRUE, 300, 10, &number), ERROR_TIMEOUT);
    EXPECT(GetTickCount64() - again >= 250, 1);
}

/// A completion port on the caller's handle hears nothing of the library's own calls.
void a_completion_port_hears_nothing() {
    HANDLE adapter = nullptr;
    EXPECT(WnbdOpenAdapter(&adapter), ERROR_SUCCESS);
    const HANDLE port = CreateIoCompletionPort(adapter, nullptr, 1, 1);
    EXPECT(port != nullptr, 1);
    EXPECT(WnbdIoctlPing(adapter, nullptr), ERROR_SUCCESS);
    DWORD moved = 0;
    ULONG_PTR key = 0;
    LPOVERLAPPED which = nullptr;
    EXPECT(GetQueuedCompletionStatus(port, &moved, &key, &which, 0), FALSE);
    EXPECT(which == nullptr, 1);
    CloseHandle(port);
    CloseHandle(adapter);
}

void an_old_owner_does_not_remove_a_newer_disk_of_the_same_name() {
    Store store;
    const PWNBD_DISK first = create("api-name", store);
    WNBD_PROPERTIES again = properties_of("api-name");
    PWNBD_DISK refused = nullptr;
    EXPECT(WnbdCreate(&again, const_cast<PWNBD_INTERFACE>(&served_by), nullptr, &refused),
           ERROR_ALREADY_EXISTS);
    WNBD_REMOVE_OPTIONS options = hard();
    EXPECT(WnbdRemoveEx("api-name", &options), ERROR_SUCCESS);
    const PWNBD_DISK second = create("api-name", store);
    EXPECT(second->ConnectionInfo.ConnectionId != first->ConnectionInfo.ConnectionId, 1);
    EXPECT(WnbdRemove(first, &options), ERROR_SUCCESS);
    WNBD_CONNECTION_INFO info{};
    EXPECT(WnbdShow("api-name", &info), ERROR_SUCCESS);
    EXPECT(info.ConnectionId, second->ConnectionInfo.ConnectionId);

    WNBD_REMOVE_COMMAND_OPTIONS by_id{};
    WnbdSetRemoveConnectionId(&by_id, first->ConnectionInfo.ConnectionId);
    EXPECT(WnbdIoctlRemove(second->Handle, "api-name", &by_id, nullptr), ERROR_FILE_NOT_FOUND);
    WnbdSetRemoveConnectionId(&by_id, second->ConnectionInfo.ConnectionId);
    EXPECT(WnbdIoctlRemove(second->Handle, "api-name", &by_id, nullptr), ERROR_SUCCESS);
    EXPECT(WnbdRemoveEx("api-name", &options), ERROR_FILE_NOT_FOUND);
    WnbdClose(first);
    WnbdClose(second);
}

void a_disk_is_removed_softly_right_after_it_was_mapped() {
    Store store;
    const PWNBD_DISK disk = create("api-soft", store);
    EXPECT(WnbdStartDispatcher(disk, 2), ERROR_SUCCESS);
    WNBD_REMOVE_OPTIONS soft{};
    soft.SoftRemoveTimeoutMs = 20000;
    soft.SoftRemoveRetryIntervalMs = 100;
    EXPECT(WnbdRemoveEx("api-soft", &soft), ERROR_SUCCESS);
    EXPECT(WnbdWaitDispatcher(disk), ERROR_SUCCESS);
    WnbdClose(disk);
}

void a_disk_changes_its_size() {
    Store store;
    const PWNBD_DISK disk = create("api-size", store);
    EXPECT(WnbdStartDispatcher(disk, 2), ERROR_SUCCESS);
    const DWORD number = wait_for_number("api-size");
    std::vector<UINT8> block(block_size);
    EXPECT(transfer(number, true, block_count * block_size, block) != ERROR_SUCCESS, 1);
    EXPECT(WnbdSetDiskSize(disk, 0), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdSetDiskSize(disk, ~0ULL), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdSetDiskSize(disk, block_count * 2), ERROR_SUCCESS);
    EXPECT(disk->Properties.BlockCount, block_count * 2);
    EXPECT(transfer(number, true, block_count * block_size, block), ERROR_SUCCESS);
    WNBD_CONNECTION_INFO info{};
    EXPECT(WnbdShow("api-size", &info), ERROR_SUCCESS);
    EXPECT(info.Properties.BlockCount, block_count * 2);
    WNBD_REMOVE_OPTIONS options = hard();
    EXPECT(WnbdStopDispatcher(disk, &options), ERROR_SUCCESS);
    EXPECT(WnbdWaitDispatcher(disk), ERROR_SUCCESS);
    WnbdClose(disk);
}

/// What Windows knows of a disk's size, without asking the disk.
UINT64 known_size(HANDLE drive) {
    DISK_GEOMETRY_EX geometry{};
    DWORD returned = 0;
    EXPECT(DeviceIoControl(drive, IOCTL_DISK_GET_DRIVE_GEOMETRY_EX, nullptr, 0, &geometry,
                           sizeof(geometry), &returned, nullptr),
           TRUE);
    return static_cast<UINT64>(geometry.DiskSize.QuadPart);
}

void windows_hears_of_a_new_size_with_its_next_command() {
    Store store;
    const PWNBD_DISK disk = create("api-hears", store);
    EXPECT(WnbdStartDispatcher(disk, 2), ERROR_SUCCESS);
    const DWORD number = wait_for_number("api-hears");
    const std::string path = "\\\\.\\PhysicalDrive" + std::to_string(number);
    const HANDLE drive = CreateFileA(path.c_str(), GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE,
                                     nullptr, OPEN_EXISTING, 0, nullptr);
    const auto set_size = [&](UINT64 blocks) {
        return WnbdIoctlSetDiskSize(disk->Handle, disk->ConnectionInfo.ConnectionId, blocks,
                                    nullptr);
    };
    EXPECT(set_size(0), ERROR_INVALID_PARAMETER);
    EXPECT(set_size(1ULL << 54), ERROR_INVALID_PARAMETER);  // 2^63 bytes
    EXPECT(WnbdIoctlSetDiskSize(disk->Handle, disk->ConnectionInfo.ConnectionId + 0x100,
                                block_count, nullptr),
           ERROR_FILE_NOT_FOUND);
    EXPECT(set_size(block_count * 2), ERROR_SUCCESS);
    EXPECT(known_size(drive), block_count * block_size);
    DWORD returned = 0;
    EXPECT(DeviceIoControl(drive, IOCTL_STORAGE_CHECK_VERIFY, nullptr, 0, nullptr, 0, &returned,
                           nullptr),
           TRUE);
    EXPECT(known_size(drive), block_count * block_size * 2);
    CloseHandle(drive);
    WNBD_REMOVE_OPTIONS options = hard();
    EXPECT(WnbdStopDispatcher(disk, &options), ERROR_SUCCESS);
    EXPECT(WnbdWaitDispatcher(disk), ERROR_SUCCESS);
    WnbdClose(disk);
}

void an_overlapped_fetch_delivers_its_request_at_its_end() {
    Store store;
    const PWNBD_DISK disk = create("api-fetch", store);
    WNBD_IO_REQUEST request{};
    std::vector<UINT8> buffer(WNBD_DEFAULT_MAX_TRANSFER_LENGTH);
    OVERLAPPED overlapped{};
    const HANDLE event = CreateEventW(nullptr, TRUE, TRUE, nullptr);
    // The low bit is a sign for completion ports, and no part of the handle.
    overlapped.hEvent = static_cast<char*>(event) + 1;
    DWORD error =
        WnbdIoctlFetchRequest(disk->Handle, disk->ConnectionInfo.ConnectionId, &request,
                              buffer.data(), static_cast<UINT32>(buffer.size()), &overlapped);
    WNBD_REMOVE_OPTIONS options = hard();
    EXPECT(WnbdRemove(disk, &options), ERROR_SUCCESS);
    DWORD moved = 0;
    if (error == ERROR_IO_PENDING) {
        EXPECT(WaitForSingleObject(event, 20000), WAIT_OBJECT_0);
        overlapped.hEvent = event;
        error = GetOverlappedResult(disk->Handle, &overlapped, &moved, TRUE) ? ERROR_SUCCESS
                                                                             : GetLastError();
    }
    // A start of the disk may have brought a read first; what counts is that it is a whole request.
    if (error == ERROR_SUCCESS)
        EXPECT(request.RequestType != WnbdReqTypeUnknown, 1);
    else
        EXPECT(error, ERROR_INVALID_HANDLE);
    CloseHandle(event);
    WnbdClose(disk);
}

/// What the process's heap holds, in blocks.
DWORD blocks_in_use() {
    const HANDLE heap = GetProcessHeap();
    PROCESS_HEAP_ENTRY entry{};
    DWORD count = 0;
    HeapLock(heap);
    while (HeapWalk(heap, &entry))
        if ((entry.wFlags & PROCESS_HEAP_ENTRY_BUSY) != 0) ++count;
    HeapUnlock(heap);
    return count;
}

void overlapped_fetches_leave_nothing() {
    constexpr DWORD fetches = 48;
    DWORD before = 0;
    for (DWORD round = 0; round < 2; ++round) {
        before = blocks_in_use();
        Store store;
        const PWNBD_DISK disk = create("api-fetches", store);
        std::vector<UINT8> buffer(WNBD_DEFAULT_MAX_TRANSFER_LENGTH);
        std::vector<WNBD_IO_REQUEST> requests(fetches);
        std::vector<OVERLAPPED> each(fetches);
        for (DWORD i = 0; i < fetches; ++i) {
            each[i].hEvent = CreateEventW(nullptr, TRUE, FALSE, nullptr);
            const DWORD error =
                WnbdIoctlFetchRequest(disk->Handle, disk->ConnectionInfo.ConnectionId, &requests[i],
                                      buffer.data(), static_cast<UINT32>(buffer.size()), &each[i]);
            EXPECT(error == ERROR_IO_PENDING || error == ERROR_SUCCESS, 1);
        }
        WNBD_REMOVE_OPTIONS options = hard();
        EXPECT(WnbdRemove(disk, &options), ERROR_SUCCESS);
        for (const OVERLAPPED& one : each) {
            EXPECT(WaitForSingleObject(one.hEvent, 20000), WAIT_OBJECT_0);
            CloseHandle(one.hEvent);
        }
        WnbdClose(disk);
    }
    // A thread of the system's pool may still be on its way out of its last fetch.
    const ULONGLONG begin = GetTickCount64();
    while (blocks_in_use() >= before + fetches / 2 && GetTickCount64() - begin < 20000)
        Sleep(50);
    // Fewer than one for two of them.
    EXPECT(blocks_in_use() < before + fetches / 2, 1);
}

void lists_say_how_large_they_are() {
    Store store;
    const PWNBD_DISK one = create("api-list-1", store);
    const PWNBD_DISK two = create("api-list-2", store);
    DWORD size = 0;
    EXPECT(WnbdList(nullptr, &size), ERROR_SUCCESS);
    EXPECT(size >= 8 + 2 * sizeof(WNBD_CONNECTION_INFO), 1);
    WNBD_CONNECTION_LIST small{};
    small.Count = 77;
    DWORD small_size = sizeof(small);
    EXPECT(WnbdList(&small, &small_size), ERROR_SUCCESS);
    EXPECT(small_size, size);
    EXPECT(small.Count, 0);
    std::vector<WNBD_CONNECTION_LIST> list(size / sizeof(WNBD_CONNECTION_LIST) + 1);
    EXPECT(WnbdList(list.data(), &size), ERROR_SUCCESS);
    EXPECT(list[0].Count, 2);
    EXPECT(list[0].ElementSize, sizeof(WNBD_CONNECTION_INFO));
    EXPECT(size, 8 + 2 * sizeof(WNBD_CONNECTION_INFO));
    DWORD options_size = 0;
    EXPECT(WnbdListDrvOpt(nullptr, &options_size, FALSE), ERROR_SUCCESS);
    EXPECT(options_size, 15056);

    HANDLE adapter = nullptr;
    EXPECT(WnbdOpenAdapter(&adapter), ERROR_SUCCESS);
    EXPECT(WnbdIoctlPing(adapter, nullptr), ERROR_SUCCESS);
    EXPECT(WnbdRemoveAllDisks(adapter), ERROR_SUCCESS);
    WNBD_PROPERTIES properties = properties_of("api-late");
    PWNBD_DISK late = nullptr;
    EXPECT(WnbdCreate(&properties, nullptr, nullptr, &late), ERROR_SHUTDOWN_IN_PROGRESS);
    EXPECT(WnbdResetDrvOpt("NewMappingsAllowed", FALSE), ERROR_SUCCESS);
    CloseHandle(adapter);
    WnbdClose(one);
    WnbdClose(two);
}

VOID print_message(WnbdLogLevel level, const char* message, const char*, UINT32,
                   const char* function) {
    std::fprintf(stderr, "%s %s: %s\n", WnbdLogLevelToStr(level), function, message);
}

}  // namespace

int main() {
    WnbdSetLogger(print_message);
    serves_reads_and_writes_with_many_threads();
    what_is_forced_flushed_and_unmapped_is_told();
    what_nobody_serves_is_refused();
    a_dispatcher_that_could_not_be_stopped_can_be_stopped_later();
    a_closed_disk_leaves_no_handle();
    a_disk_number_is_waited_for_as_long_as_is_asked();
    a_completion_port_hears_nothing();
    an_old_owner_does_not_remove_a_newer_disk_of_the_same_name();
    a_disk_is_removed_softly_right_after_it_was_mapped();
    a_disk_changes_its_size();
    windows_hears_of_a_new_size_with_its_next_command();
    an_overlapped_fetch_delivers_its_request_at_its_end();
    overlapped_fetches_leave_nothing();
    lists_say_how_large_they_are();
    return failures == 0 ? 0 : 1;
}
