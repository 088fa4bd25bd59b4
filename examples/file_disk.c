/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * file_disk NAME FILE [MIB]: a disk whose blocks lie in a sparse file. With MIB the file is made
 * when it does not exist. It lives until somebody removes it; Ctrl-C removes it, too.
 *
 * FlushFileBuffers is the disk's flush, FSCTL_SET_ZERO_DATA its trim: that gives the room in the
 * file back. The file is opened without a cache of its own. The disk's own file systems are cached
 * by Windows already, and a second cache below the first can wait for it for ever.
 */
#include <windows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <winioctl.h>

#include "wnbd.h"

/* Without a cache, transfers are whole sectors of the volume below: 4096 bytes fit all of them. */
#define BLOCK_SIZE 4096u
#define MIB (1024ull * 1024)
#define MIB_MAX (1ull << 30)
#define THREAD_COUNT 4
#define UNMAP_DESCRIPTORS_MAX 64

/* SPC-4 table 52 and annex D. */
enum { SENSE_MEDIUM_ERROR = 0x03, SENSE_DATA_PROTECT = 0x07 };
enum { ASC_WRITE_ERROR = 0x0C, ASC_UNRECOVERED_READ_ERROR = 0x11, ASC_WRITE_PROTECTED = 0x27 };
enum { ASCQ_SPACE_ALLOCATION_FAILED = 0x07 };

/* What the console's handler removes. */
static PWNBD_DISK the_disk;

static HANDLE file_of(PWNBD_DISK disk) {
    PVOID file = NULL;
    WnbdGetUserContext(disk, &file);
    return file;
}

/* ---- The file. It is open for overlapped I/O, so that the threads do not wait for each other. */

/* Each call has an event of its own: a thread has one operation under way at a time. */
static DWORD begin(OVERLAPPED* at, UINT64 offset) {
    memset(at, 0, sizeof(*at));
    at->Offset = (DWORD)offset;
    at->OffsetHigh = (DWORD)(offset >> 32);
    at->hEvent = CreateEventW(NULL, TRUE, FALSE, NULL);
    return at->hEvent == NULL ? GetLastError() : ERROR_SUCCESS;
}

/* Waits for an operation that was started, or failed to start; returns its error. */
static DWORD finish(HANDLE file, OVERLAPPED* at, BOOL started, DWORD size) {
    DWORD moved = 0;
    if (!started && GetLastError() == ERROR_IO_PENDING) started = TRUE;
    if (started) started = GetOverlappedResult(file, at, &moved, TRUE);
    DWORD error = started ? ERROR_SUCCESS : GetLastError();
    if (error == ERROR_SUCCESS && moved != size) error = ERROR_HANDLE_EOF;
    CloseHandle(at->hEvent);
    return error;
}

static DWORD read_file(HANDLE file, UINT64 offset, void* buffer, DWORD size) {
    OVERLAPPED at;
    const DWORD error = begin(&at, offset);
    if (error != ERROR_SUCCESS) return error;
    return finish(file, &at, ReadFile(file, buffer, size, NULL, &at), size);
}

static DWORD write_file(HANDLE file, UINT64 offset, const void* buffer, DWORD size) {
    OVERLAPPED at;
    const DWORD error = begin(&at, offset);
    if (error != ERROR_SUCCESS) return error;
    return finish(file, &at, WriteFile(file, buffer, size, NULL, &at), size);
}

static DWORD control_file(HANDLE file, DWORD code, void* input, DWORD size) {
    OVERLAPPED at;
    const DWORD error = begin(&at, 0);
    if (error != ERROR_SUCCESS) return error;
    return finish(file, &at, DeviceIoControl(file, code, input, size, NULL, 0, NULL, &at), 0);
}

/* ---- The disk's requests */

/* Answers a request by what came of it. Data counts for reads that succeeded. */
static void answer(PWNBD_DISK disk, UINT64 handle, WnbdRequestType type, DWORD error, void* data,
                   UINT32 size) {
    WNBD_IO_RESPONSE response = {.RequestHandle = handle, .RequestType = type};
    if (error == ERROR_DISK_FULL) {
        WnbdSetSense(&response.Status, SENSE_DATA_PROTECT, ASC_WRITE_PROTECTED);
        response.Status.ASCQ = ASCQ_SPACE_ALLOCATION_FAILED;
    } else if (error != ERROR_SUCCESS) {
        WnbdSetSense(&response.Status, SENSE_MEDIUM_ERROR,
                     type == WnbdReqTypeRead ? ASC_UNRECOVERED_READ_ERROR : ASC_WRITE_ERROR);
    }
    if (error != ERROR_SUCCESS)
        fprintf(stderr, "file_disk: %s failed: error %lu\n", WnbdRequestTypeToStr(type), error);
    error = WnbdSendResponse(disk, &response, data, size);
    /* Windows may have given up on the request: no fault of the disk's. */
    if (error != ERROR_SUCCESS && error != ERROR_NOT_FOUND)
        fprintf(stderr, "file_disk: a reply did not arrive: error %lu\n", error);
}

/* `fua` is never set: the disk does not claim FUASupported, and the driver flushes instead. */
static VOID read_blocks(PWNBD_DISK disk, UINT64 handle, PVOID buffer, UINT64 block, UINT32 count,
                        BOOLEAN fua) {
    const UINT32 size = count * BLOCK_SIZE;
    (void)fua;
    const DWORD error = read_file(file_of(disk), block * BLOCK_SIZE, buffer, size);
    answer(disk, handle, WnbdReqTypeRead, error, buffer, size);
}

static VOID write_blocks(PWNBD_DISK disk, UINT64 handle, PVOID buffer, UINT64 block, UINT32 count,
                         BOOLEAN fua) {
    (void)fua;
    const DWORD error = write_file(file_of(disk), block * BLOCK_SIZE, buffer, count * BLOCK_SIZE);
    answer(disk, handle, WnbdReqTypeWrite, error, NULL, 0);
}

/* The whole file: flushing more than asked is always right. */
static VOID flush_blocks(PWNBD_DISK disk, UINT64 handle, UINT64 block, UINT32 count) {
    (void)block, (void)count;
    const DWORD error = FlushFileBuffers(file_of(disk)) ? ERROR_SUCCESS : GetLastError();
    answer(disk, handle, WnbdReqTypeFlush, error, NULL, 0);
}

static VOID unmap_blocks(PWNBD_DISK disk, UINT64 handle, PWNBD_UNMAP_DESCRIPTOR ranges,
                         UINT32 count) {
    DWORD error = ERROR_SUCCESS;
    for (UINT32 i = 0; i < count && error == ERROR_SUCCESS; ++i) {
        const UINT64 end = ranges[i].BlockAddress + ranges[i].BlockCount;
        FILE_ZERO_DATA_INFORMATION zero;
        zero.FileOffset.QuadPart = (LONGLONG)(ranges[i].BlockAddress * BLOCK_SIZE);
        zero.BeyondFinalZero.QuadPart = (LONGLONG)(end * BLOCK_SIZE);
        error = control_file(file_of(disk), FSCTL_SET_ZERO_DATA, &zero, sizeof(zero));
    }
    /* A trim is a hint: a file system that cannot take it keeps the blocks. */
    if (error == ERROR_INVALID_FUNCTION || error == ERROR_NOT_SUPPORTED) error = ERROR_SUCCESS;
    answer(disk, handle, WnbdReqTypeUnmap, error, NULL, 0);
}

static WNBD_INTERFACE callbacks = {
    .Read = read_blocks, .Write = write_blocks, .Flush = flush_blocks, .Unmap = unmap_blocks};

/* ---- The program */

/* An existing file, or a new sparse one of `size` bytes. */
static DWORD open_file(const char* path, UINT64 size, HANDLE* file, UINT64* real_size) {
    const DWORD how = size == 0 ? OPEN_EXISTING : OPEN_ALWAYS;
    *file = CreateFileA(path, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ, NULL, how,
                        FILE_FLAG_OVERLAPPED | FILE_FLAG_NO_BUFFERING, NULL);
    if (*file == INVALID_HANDLE_VALUE) return GetLastError();
    LARGE_INTEGER end;
    if (!GetFileSizeEx(*file, &end)) return GetLastError();
    if (end.QuadPart == 0) {
        /* Where files cannot be sparse the disk works, too: it only takes all of its room. */
        control_file(*file, FSCTL_SET_SPARSE, NULL, 0);
        FILE_END_OF_FILE_INFO info = {.EndOfFile = {.QuadPart = (LONGLONG)size}};
        if (!SetFileInformationByHandle(*file, FileEndOfFileInfo, &info, sizeof(info)))
            return GetLastError();
        end = info.EndOfFile;
    }
    *real_size = (UINT64)end.QuadPart;
    return *real_size == 0 || *real_size % BLOCK_SIZE != 0 ? ERROR_BAD_LENGTH : ERROR_SUCCESS;
}

/* Runs on a thread of Windows's. The dispatcher's end brings main() back. */
static BOOL WINAPI on_control_event(DWORD event) {
    (void)event;
    WnbdStopDispatcher(the_disk, NULL);
    return TRUE;
}

/* Serves the disk until it is removed. */
static DWORD serve(PWNBD_PROPERTIES properties, HANDLE file) {
    DWORD error = WnbdCreate(properties, &callbacks, file, &the_disk);
    if (error != ERROR_SUCCESS) return error;
    error = WnbdStartDispatcher(the_disk, THREAD_COUNT);
    if (error == ERROR_SUCCESS) {
        SetConsoleCtrlHandler(on_control_event, TRUE);
        error = WnbdWaitDispatcher(the_disk);
        SetConsoleCtrlHandler(on_control_event, FALSE);
    }
    WnbdClose(the_disk);
    return error;
}

int main(int argc, char** argv) {
    WNBD_PROPERTIES properties = {.Owner = "file_disk", .BlockSize = BLOCK_SIZE};
    const UINT64 mib = argc == 4 ? strtoull(argv[3], NULL, 10) : 0;
    if (argc < 3 || argc > 4 || (argc == 4 && (mib == 0 || mib > MIB_MAX)) ||
        strlen(argv[1]) >= sizeof(properties.InstanceName)) {
        fprintf(stderr, "usage: file_disk NAME FILE [MIB], with at most %llu MiB\n", MIB_MAX);
        return ERROR_INVALID_PARAMETER;
    }
    strcpy(properties.InstanceName, argv[1]);
    properties.Flags.FlushSupported = 1;
    properties.Flags.UnmapSupported = 1;
    properties.MaxUnmapDescCount = UNMAP_DESCRIPTORS_MAX;

    HANDLE file = INVALID_HANDLE_VALUE;
    UINT64 size = 0;
    DWORD error = open_file(argv[2], mib * MIB, &file, &size);
    properties.BlockCount = size / BLOCK_SIZE;
    if (error == ERROR_SUCCESS) error = serve(&properties, file);
    if (error != ERROR_SUCCESS)
        fprintf(stderr, "file_disk: %s as %s: error %lu\n", argv[2], argv[1], error);
    if (file != INVALID_HANDLE_VALUE) CloseHandle(file);
    return (int)error;
}
