// SPDX-License-Identifier: LGPL-2.1-or-later
// Threads that fetch requests and hand them to the application's callbacks, and the replies' way.
#include "libwnbd/disk.h"
#include "libwnbd/log.h"
#include "libwnbd/removal.h"

namespace wnbd::libwnbd {

namespace {

ServerLimits limits_of(const WNBD_DISK& disk) {
    ServerLimits limits;
    limits.flags = disk.Properties.Flags;
    limits.block_size = disk.Properties.BlockSize;
    limits.unmap_count_max = unmap_count_max(disk.Properties.MaxUnmapDescCount);
    limits.buffer_size = FetchBuffer::size();
    limits.read = disk.Interface->Read != nullptr;
    limits.write = disk.Interface->Write != nullptr;
    limits.flush = disk.Interface->Flush != nullptr;
    limits.unmap = disk.Interface->Unmap != nullptr;
    limits.persistent_reserve_in = disk.Interface->PersistResIn != nullptr;
    limits.persistent_reserve_out = disk.Interface->PersistResOut != nullptr;
    return limits;
}

void refuse(Disk& disk, const WNBD_IO_REQUEST& request, const WNBD_STATUS& status) {
    disk.counters.rejected();
    LOG_WARNING("refusing request %llu, %s: sense %02x/%02x", request.RequestHandle,
                WnbdRequestTypeToStr(request.RequestType), status.SenseKey, status.ASC);
    WNBD_IO_RESPONSE response{};
    response.RequestHandle = request.RequestHandle;
    response.RequestType = request.RequestType;
    response.Status = status;
    const DWORD error = disk.channel->reply(response, nullptr, 0, nullptr);
    // NOT_FOUND: Windows gave up on the request in the meantime.
    if (error != ERROR_SUCCESS && error != ERROR_NOT_FOUND && !disk_is_gone(error))
        LOG_WARNING("could not refuse request %llu: %s", request.RequestHandle,
                    error_text(error).c_str());
}

void call_back(Disk& disk, const WNBD_IO_REQUEST& request, const FetchBuffer& buffer) {
    const auto& served_by = *disk.Interface;
    const UINT64 handle = request.RequestHandle;
    const auto& cmd = request.Cmd;
    switch (request.RequestType) {
        case WnbdReqTypeRead:
            served_by.Read(&disk, handle, buffer.data(), cmd.Read.BlockAddress, cmd.Read.BlockCount,
                           cmd.Read.ForceUnitAccess);
            break;
        case WnbdReqTypeWrite:
            served_by.Write(&disk, handle, buffer.data(), cmd.Write.BlockAddress,
                            cmd.Write.BlockCount, cmd.Write.ForceUnitAccess);
            break;
        case WnbdReqTypeFlush:
            served_by.Flush(&disk, handle, cmd.Flush.BlockAddress, cmd.Flush.BlockCount);
            break;
        case WnbdReqTypeUnmap:
            served_by.Unmap(&disk, handle, reinterpret_cast<PWNBD_UNMAP_DESCRIPTOR>(buffer.data()),
                            cmd.Unmap.Count);
            break;
        case WnbdReqTypePersistResIn:
            served_by.PersistResIn(&disk, handle, cmd.PersistResIn.ServiceAction);
            break;
        case WnbdReqTypePersistResOut:
            served_by.PersistResOut(&disk, handle, cmd.PersistResOut.ServiceAction,
                                    cmd.PersistResOut.Scope, cmd.PersistResOut.Type, buffer.data(),
                                    cmd.PersistResOut.ParameterListLength);
            break;
        case WnbdReqTypeUnknown:
        case WnbdReqTypeDisconnect: break;  // refusal_of() and the loop have taken these
    }
}

DWORD WINAPI dispatch(void* context) {
    Disk& disk = *static_cast<Disk*>(context);
    const FetchBuffer buffer;
    if (buffer.data() == nullptr) {
        LOG_ERROR("no memory for a fetch buffer: the thread ends");
        return 0;
    }
    FetchLoop loop;
    WNBD_IO_REQUEST request;
    while (loop.next(*disk.channel, request, buffer, [&] { return disk.stopped(); })) {
        disk.counters.received();
        if (const auto refusal = refusal_of(request, disk.limits)) {
            refuse(disk, request, *refusal);
            continue;
        }
        disk.counters.submitted(request);
        call_back(disk, request, buffer);
    }
    disk.set_stopped();
    return 0;
}

DWORD wait_for_threads(const Disk& disk) {
    const DWORD self = GetCurrentThreadId();
    for (UINT32 i = 0; i < disk.DispatcherThreadsCount; ++i) {
        if (GetThreadId(disk.DispatcherThreads[i]) == self) return ERROR_POSSIBLE_DEADLOCK;
    }
    // One after the other: WaitForMultipleObjects ends at 64.
    for (UINT32 i = 0; i < disk.DispatcherThreadsCount; ++i) {
        if (WaitForSingleObject(disk.DispatcherThreads[i], INFINITE) != WAIT_OBJECT_0)
            return last_error();
    }
    return ERROR_SUCCESS;
}

DWORD start_threads(Disk& disk, DWORD count) {
    const std::lock_guard lock(disk.start_mutex);
    if (disk.Started) return ERROR_ALREADY_EXISTS;
    disk.limits = limits_of(disk);
    disk.DispatcherThreads = new HANDLE[count];
    std::atomic_ref(disk.Started).store(TRUE, std::memory_order_release);
    while (disk.DispatcherThreadsCount < count) {
        const HANDLE thread = CreateThread(nullptr, 0, &dispatch, &disk, 0, nullptr);
        if (thread == nullptr) {
            const DWORD error = last_error();
            LOG_ERROR("could not start dispatcher thread %u: %s", disk.DispatcherThreadsCount,
                      error_text(error).c_str());
            WNBD_REMOVE_OPTIONS options{};
            options.Flags.HardRemove = 1;
            static_cast<void>(WnbdStopDispatcher(&disk, &options));
            static_cast<void>(wait_for_threads(disk));
            return error;
        }
        disk.DispatcherThreads[disk.DispatcherThreadsCount++] = thread;
    }
    return ERROR_SUCCESS;
}

}  // namespace

}  // namespace wnbd::libwnbd

using namespace wnbd::libwnbd;

extern "C" {

DWORD WnbdStartDispatcher(PWNBD_DISK Disk, DWORD ThreadCount) {
    if (Disk == nullptr || Disk->Interface == nullptr ||
        ThreadCount < WNBD_MIN_DISPATCHER_THREAD_COUNT ||
        ThreadCount > WNBD_MAX_DISPATCHER_THREAD_COUNT)
        return ERROR_INVALID_PARAMETER;
    const DWORD error =
        guarded([&] { return start_threads(*wnbd::libwnbd::Disk::of(Disk), ThreadCount); });
    return error == ERROR_NOT_ENOUGH_MEMORY ? ERROR_OUTOFMEMORY : error;
}

DWORD WnbdStopDispatcher(PWNBD_DISK Disk, PWNBD_REMOVE_OPTIONS RemoveOptions) {
    if (Disk == nullptr) return ERROR_INVALID_PARAMETER;
    const std::atomic_ref stopping(Disk->Stopping);
    if (stopping.exchange(TRUE) != FALSE) return ERROR_SUCCESS;
    const DWORD error = WnbdRemove(Disk, RemoveOptions);
    if (error != ERROR_SUCCESS) stopping.store(FALSE);
    return error;
}

DWORD WnbdWaitDispatcher(PWNBD_DISK Disk) {
    if (Disk == nullptr) return ERROR_INVALID_PARAMETER;
    if (std::atomic_ref(Disk->Started).load(std::memory_order_acquire) == FALSE)
        return ERROR_PIPE_NOT_CONNECTED;
    return wait_for_threads(*wnbd::libwnbd::Disk::of(Disk));
}

DWORD WnbdSendResponse(PWNBD_DISK Disk, PWNBD_IO_RESPONSE Response, PVOID DataBuffer,
                       UINT32 DataBufferSize) {
    return WnbdSendResponseEx(Disk, Response, DataBuffer, DataBufferSize, nullptr);
}

DWORD WnbdSendResponseEx(PWNBD_DISK Disk, PWNBD_IO_RESPONSE Response, PVOID DataBuffer,
                         UINT32 DataBufferSize, LPOVERLAPPED Overlapped) {
    if (Disk == nullptr || Response == nullptr) return ERROR_INVALID_PARAMETER;
    auto& disk = *wnbd::libwnbd::Disk::of(Disk);
    if (disk.stopped() || disk.channel == nullptr) return ERROR_PIPE_NOT_CONNECTED;
    disk.counters.reply_begun(Response->RequestType, Response->Status.ScsiStatus != 0);
    const DWORD error = disk.channel->reply(*Response, DataBuffer, DataBufferSize, Overlapped);
    disk.counters.reply_ended();
    return error;
}

void WnbdSetSenseEx(PWNBD_STATUS Status, UINT8 SenseKey, UINT8 Asc, UINT64 Info) {
    WnbdSetSense(Status, SenseKey, Asc);
    if (Status == nullptr) return;
    Status->Information = Info;
    Status->InformationValid = 1;
}

void WnbdSetSense(PWNBD_STATUS Status, UINT8 SenseKey, UINT8 Asc) {
    if (Status == nullptr) return;
    Status->ScsiStatus = 0x02;  // CHECK CONDITION
    Status->SenseKey = SenseKey;
    Status->ASC = Asc;
    Status->Information = 0;
    Status->InformationValid = 0;
}

}  // extern "C"
