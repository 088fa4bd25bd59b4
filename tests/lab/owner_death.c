/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The owner of a disk dies in each way that a process can choose for itself or another for it, with
 * a request in hand; the disk has to be gone and the request failed within two seconds.
 *
 *     owner_death                  tries each way, prints the times
 *     owner_death serve NAME HOW   the owner: takes one request, then does HOW
 *     owner_death watch NAME       prints "gone" when there is no such disk any more
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wnbd.h"

#define LIMIT_MS 2000u
#define START_MS 60000u

static void fail(const char* what, DWORD error) {
    printf("%s: error %lu\n", what, (unsigned long)error);
    fflush(stdout);
    exit(1);
}

/* ---- The owner ---- */

static HANDLE named_event(const char* name) {
    char text[128];
    HANDLE event;
    snprintf(text, sizeof(text), "owner-death-%s", name);
    event = CreateEventA(NULL, TRUE, FALSE, text);
    if (event == NULL) fail("CreateEvent", GetLastError());
    return event;
}

struct Fetch {
    HANDLE adapter;
    WNBD_CONNECTION_ID connection;
    WNBD_IO_REQUEST request;
};

static DWORD fetch_one(struct Fetch* fetch) {
    void* const buffer = malloc(WNBD_DEFAULT_MAX_TRANSFER_LENGTH);
    return WnbdIoctlFetchRequest(fetch->adapter, fetch->connection, &fetch->request, buffer,
                                 WNBD_DEFAULT_MAX_TRANSFER_LENGTH, NULL);
}

static DWORD WINAPI fetch_on_and_on(void* context) {
    struct Fetch fetch = *(struct Fetch*)context;
    while (fetch_one(&fetch) == ERROR_SUCCESS && fetch.request.RequestType != WnbdReqTypeDisconnect)
        ;
    return 0;
}

static int serve(const char* name, const char* how) {
    const HANDLE held = named_event(name);
    WNBD_PROPERTIES properties;
    WNBD_CONNECTION_INFO info;
    struct Fetch fetch;
    DWORD error = WnbdOpenAdapter(&fetch.adapter);
    if (error != ERROR_SUCCESS) fail("WnbdOpenAdapter", error);
    memset(&properties, 0, sizeof(properties));
    strncpy(properties.InstanceName, name, WNBD_MAX_NAME_LENGTH - 1);
    properties.BlockCount = 8192;
    properties.BlockSize = 512;
    error = WnbdIoctlCreate(fetch.adapter, &properties, &info, NULL);
    if (error != ERROR_SUCCESS) fail("WnbdIoctlCreate", error);
    fetch.connection = info.ConnectionId;
    do {
        error = fetch_one(&fetch);
        if (error != ERROR_SUCCESS) fail("WnbdIoctlFetchRequest", error);
    } while (fetch.request.RequestType != WnbdReqTypeRead);
    if (strcmp(how, "while-fetching") == 0)
        CloseHandle(CreateThread(NULL, 0, fetch_on_and_on, &fetch, 0, NULL));
    puts("held");
    fflush(stdout);
    SetEvent(held);
    if (strcmp(how, "exit") == 0) {
        ExitProcess(0);
    } else if (strcmp(how, "crash") == 0) {
        SetErrorMode(SEM_NOGPFAULTERRORBOX);
        RaiseException(EXCEPTION_ACCESS_VIOLATION, EXCEPTION_NONCONTINUABLE, 0, NULL);
    } else if (strcmp(how, "close-handle") == 0) {
        CloseHandle(fetch.adapter);
    }
    Sleep(INFINITE); /* somebody ends us */
    return 0;
}

/* ---- Those who watch ---- */

/* Waits until the disk is gone; the time that took, or limit_ms + 1. */
static DWORD time_until_gone(const char* name, ULONGLONG begin, DWORD limit_ms) {
    WNBD_CONNECTION_INFO info;
    while (WnbdShow(name, &info) != ERROR_FILE_NOT_FOUND) {
        if (GetTickCount64() - begin > limit_ms) return limit_ms + 1;
        Sleep(10);
    }
    return (DWORD)(GetTickCount64() - begin);
}

static PROCESS_INFORMATION start_owner(const char* name, const char* how) {
    char path[MAX_PATH], line[MAX_PATH + 128];
    STARTUPINFOA startup;
    PROCESS_INFORMATION process;
    GetModuleFileNameA(NULL, path, sizeof(path));
    snprintf(line, sizeof(line), "\"%s\" serve %s %s", path, name, how);
    memset(&startup, 0, sizeof(startup));
    startup.cb = sizeof(startup);
    if (!CreateProcessA(NULL, line, NULL, NULL, FALSE, 0, NULL, NULL, &startup, &process))
        fail("CreateProcess", GetLastError());
    return process;
}

struct Read {
    HANDLE drive;
    OVERLAPPED overlapped;
    UINT8 block[512];
};

static void begin_read(const char* name, struct Read* read) {
    char path[64];
    DWORD number = 0;
    DWORD error = WnbdPollDiskNumber(name, FALSE, TRUE, START_MS, 50, &number);
    if (error != ERROR_SUCCESS) fail("WnbdPollDiskNumber", error);
    snprintf(path, sizeof(path), "\\\\.\\PhysicalDrive%lu", (unsigned long)number);
    memset(read, 0, sizeof(*read));
    read->drive = CreateFileA(path, GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                              OPEN_EXISTING, FILE_FLAG_OVERLAPPED, NULL);
    if (read->drive == INVALID_HANDLE_VALUE) fail("CreateFile", GetLastError());
    read->overlapped.hEvent = CreateEventA(NULL, TRUE, FALSE, NULL);
    if (ReadFile(read->drive, read->block, sizeof(read->block), NULL, &read->overlapped) ||
        GetLastError() != ERROR_IO_PENDING)
        fail("ReadFile", GetLastError());
}

/* The read fails, and does not hang, within the time. Says whether. */
static int read_fails(struct Read* read, ULONGLONG begin) {
    DWORD moved = 0;
    const ULONGLONG spent = GetTickCount64() - begin;
    const DWORD left = spent < LIMIT_MS ? (DWORD)(LIMIT_MS - spent) : 0;
    const int ended = WaitForSingleObject(read->overlapped.hEvent, left) == WAIT_OBJECT_0;
    const int failed = ended && !GetOverlappedResult(read->drive, &read->overlapped, &moved, FALSE);
    CloseHandle(read->drive);
    return failed;
}

static int dies(const char* how) {
    const int ends_itself = strcmp(how, "exit") == 0 || strcmp(how, "crash") == 0;
    const int stays = strcmp(how, "close-handle") == 0;
    char name[64];
    HANDLE held;
    PROCESS_INFORMATION owner;
    struct Read read;
    ULONGLONG begin;
    DWORD gone_ms;
    int failed;
    snprintf(name, sizeof(name), "dies-by-%s", how);
    held = named_event(name);
    owner = start_owner(name, how);
    begin_read(name, &read);
    if (WaitForSingleObject(held, START_MS) != WAIT_OBJECT_0) fail("no request reached", 0);
    if (!ends_itself && !stays) TerminateProcess(owner.hProcess, 9);
    if (!stays && WaitForSingleObject(owner.hProcess, START_MS) != WAIT_OBJECT_0)
        fail("the owner lives on", 0);
    begin = GetTickCount64();
    gone_ms = time_until_gone(name, begin, LIMIT_MS);
    failed = read_fails(&read, begin);
    printf("%s: disk gone after %lu ms, its I/O has %s\n", how, (unsigned long)gone_ms,
           failed ? "failed" : "not failed");
    fflush(stdout);
    if (stays) TerminateProcess(owner.hProcess, 0);
    return gone_ms <= LIMIT_MS && failed;
}

int main(int count, char** arguments) {
    static const char* const ways[] = {"exit", "crash", "terminate", "while-fetching",
                                       "close-handle"};
    int good = 1;
    size_t i;
    if (count == 4 && strcmp(arguments[1], "serve") == 0) return serve(arguments[2], arguments[3]);
    if (count == 3 && strcmp(arguments[1], "watch") == 0) {
        const DWORD gone_ms = time_until_gone(arguments[2], GetTickCount64(), START_MS);
        puts(gone_ms <= START_MS ? "gone" : "still there");
        return gone_ms <= START_MS ? 0 : 1;
    }
    for (i = 0; i < sizeof(ways) / sizeof(ways[0]); ++i)
        good = dies(ways[i]) && good;
    return good ? 0 : 1;
}
