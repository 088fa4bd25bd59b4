/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A consumer written from include/ and docs/api.md alone: two disks of memory, two threads each. It
 * uses its own disks, makes one larger, reads the counters, and removes both softly. Prints what
 * is wrong; ends with 0 when nothing is.
 */
#include <windows.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <winioctl.h>

#include "wnbd.h"

#define BLOCK_SIZE 512u
#define BLOCK_COUNT 8192ull
#define LARGER_COUNT (2 * BLOCK_COUNT)
#define THREADS 2
#define TIMEOUT_MS 60000

typedef struct {
    const char* name;
    PWNBD_DISK disk;
    char* memory; /* LARGER_COUNT blocks */
    volatile LONG flushes;
} Served;

static int failures;

static void expect(int line, const char* what, unsigned long long got, unsigned long long wanted) {
    if (got == wanted) return;
    printf("line %d: %s: %llu instead of %llu\n", line, what, got, wanted);
    ++failures;
}
#define EXPECT(got, wanted) \
    expect(__LINE__, #got, (unsigned long long)(got), (unsigned long long)(wanted))

/* ---- Serving */

static Served* served_of(PWNBD_DISK disk) {
    PVOID context = NULL;
    WnbdGetUserContext(disk, &context);
    return context;
}

static void answer(PWNBD_DISK disk, UINT64 handle, WnbdRequestType type, void* data, UINT32 size) {
    WNBD_IO_RESPONSE response = {.RequestHandle = handle, .RequestType = type};
    const DWORD error = WnbdSendResponse(disk, &response, data, size);
    if (error != ERROR_SUCCESS && error != ERROR_NOT_FOUND && error != ERROR_PIPE_NOT_CONNECTED)
        fprintf(stderr, "a reply did not arrive: error %lu\n", error);
}

static VOID serve_read(PWNBD_DISK disk, UINT64 handle, PVOID buffer, UINT64 block, UINT32 count,
                       BOOLEAN fua) {
    (void)fua;
    memcpy(buffer, served_of(disk)->memory + block * BLOCK_SIZE, (size_t)count * BLOCK_SIZE);
    answer(disk, handle, WnbdReqTypeRead, buffer, count * BLOCK_SIZE);
}

static VOID serve_write(PWNBD_DISK disk, UINT64 handle, PVOID buffer, UINT64 block, UINT32 count,
                        BOOLEAN fua) {
    (void)fua;
    memcpy(served_of(disk)->memory + block * BLOCK_SIZE, buffer, (size_t)count * BLOCK_SIZE);
    answer(disk, handle, WnbdReqTypeWrite, NULL, 0);
}

static VOID serve_flush(PWNBD_DISK disk, UINT64 handle, UINT64 block, UINT32 count) {
    (void)block, (void)count;
    InterlockedIncrement(&served_of(disk)->flushes);
    answer(disk, handle, WnbdReqTypeFlush, NULL, 0);
}

static WNBD_INTERFACE callbacks = {.Read = serve_read, .Write = serve_write, .Flush = serve_flush};

static void begin(Served* served, const char* name) {
    WNBD_PROPERTIES properties = {
        .Owner = "two_disks", .BlockCount = BLOCK_COUNT, .BlockSize = BLOCK_SIZE};
    strcpy(properties.InstanceName, name);
    properties.Flags.FlushSupported = 1;
    served->name = name;
    served->flushes = 0;
    served->memory = calloc(LARGER_COUNT, BLOCK_SIZE);
    EXPECT(served->memory != NULL, 1);
    EXPECT(WnbdCreate(&properties, &callbacks, served, &served->disk), ERROR_SUCCESS);
    if (served->disk == NULL) exit(1);
    EXPECT(WnbdStartDispatcher(served->disk, THREADS), ERROR_SUCCESS);
}

/* ---- Using */

static HANDLE open_drive(const Served* served) {
    DWORD number = 0;
    char path[64];
    EXPECT(WnbdPollDiskNumber(served->name, TRUE, TRUE, TIMEOUT_MS, 100, &number), ERROR_SUCCESS);
    snprintf(path, sizeof(path), "\\\\.\\PhysicalDrive%lu", number);
    const HANDLE drive =
        CreateFileA(path, GENERIC_READ | GENERIC_WRITE, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                    OPEN_EXISTING, FILE_FLAG_NO_BUFFERING | FILE_FLAG_WRITE_THROUGH, NULL);
    EXPECT(drive != INVALID_HANDLE_VALUE, 1);
    return drive;
}

/* Writes a block at a place and reads it back; returns 1 if it is the same. */
static int round_trip(HANDLE drive, UINT64 block, char fill) {
    char* const page = VirtualAlloc(NULL, 2 * BLOCK_SIZE, MEM_COMMIT | MEM_RESERVE, PAGE_READWRITE);
    OVERLAPPED place = {.Offset = (DWORD)(block * BLOCK_SIZE),
                        .OffsetHigh = (DWORD)(block * BLOCK_SIZE >> 32)};
    DWORD moved = 0;
    if (page == NULL) return 0;
    memset(page, fill, BLOCK_SIZE);
    const int same = WriteFile(drive, page, BLOCK_SIZE, &moved, &place) && moved == BLOCK_SIZE &&
                     ReadFile(drive, page + BLOCK_SIZE, BLOCK_SIZE, &moved, &place) &&
                     moved == BLOCK_SIZE && memcmp(page, page + BLOCK_SIZE, BLOCK_SIZE) == 0;
    VirtualFree(page, 0, MEM_RELEASE);
    return same;
}

static UINT64 length_of(HANDLE drive) {
    GET_LENGTH_INFORMATION length = {{.QuadPart = 0}};
    DWORD returned = 0;
    if (!DeviceIoControl(drive, IOCTL_DISK_GET_LENGTH_INFO, NULL, 0, &length, sizeof(length),
                         &returned, NULL))
        return 0;
    return (UINT64)length.Length.QuadPart;
}

static void check_counters(const Served* served) {
    WNBD_USR_STATS mine;
    WNBD_DRV_STATS drivers;
    EXPECT(WnbdGetUserspaceStats(served->disk, &mine), ERROR_SUCCESS);
    EXPECT(WnbdGetDriverStats(served->name, &drivers), ERROR_SUCCESS);
    EXPECT(mine.TotalReceivedRequests,
           mine.TotalSubmittedRequests + mine.UnsubmittedRequests + mine.InvalidRequests);
    EXPECT(drivers.TotalReceivedIORequests, drivers.TotalSubmittedIORequests +
                                                drivers.UnsubmittedIORequests +
                                                drivers.AbortedUnsubmittedIORequests);
    EXPECT(mine.TotalWrittenBlocks >= 1, 1);
    EXPECT(mine.TotalReadBlocks >= 1, 1);
    EXPECT(mine.WriteErrors, 0);
    EXPECT(served->flushes >= 1, 1); /* written through, without FUA: write and flush */
}

static void end(Served* served) {
    WNBD_REMOVE_OPTIONS soft = {.SoftRemoveTimeoutMs = TIMEOUT_MS,
                                .SoftRemoveRetryIntervalMs = 100};
    WNBD_CONNECTION_INFO info;
    EXPECT(WnbdRemoveEx(served->name, &soft), ERROR_SUCCESS);
    EXPECT(WnbdWaitDispatcher(served->disk), ERROR_SUCCESS);
    EXPECT(WnbdShow(served->name, &info), ERROR_FILE_NOT_FOUND);
    WnbdClose(served->disk);
    free(served->memory);
}

int main(void) {
    static Served one, two;
    begin(&one, "consumer-one");
    begin(&two, "consumer-two");
    const HANDLE first = open_drive(&one);
    const HANDLE second = open_drive(&two);

    EXPECT(round_trip(first, 5, '1'), 1);
    EXPECT(round_trip(second, 5, '2'), 1);
    EXPECT(one.memory[5 * BLOCK_SIZE], '1');
    EXPECT(two.memory[5 * BLOCK_SIZE], '2');

    EXPECT(length_of(first), BLOCK_COUNT * BLOCK_SIZE);
    EXPECT(round_trip(first, BLOCK_COUNT, 'x'), 0);
    EXPECT(WnbdSetDiskSize(one.disk, LARGER_COUNT), ERROR_SUCCESS);
    EXPECT(length_of(first), LARGER_COUNT * BLOCK_SIZE);
    EXPECT(round_trip(first, LARGER_COUNT - 1, 'y'), 1);
    EXPECT(length_of(second), BLOCK_COUNT * BLOCK_SIZE);
    EXPECT(round_trip(second, BLOCK_COUNT, 'x'), 0);

    check_counters(&one);
    check_counters(&two);
    CloseHandle(first);
    CloseHandle(second);
    end(&one);
    end(&two);
    return failures == 0 ? 0 : 1;
}
