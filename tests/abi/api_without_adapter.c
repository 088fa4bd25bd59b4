/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * A C11 program linked with libwnbd.dll.a: calls what can be called where no adapter is installed,
 * with good and with bad arguments. Prints what is wrong; exits 0 when nothing is.
 */
#include <stdio.h>
#include <string.h>

#include "wnbd.h"

static int failures;

static void expect(const char* what, DWORD got, DWORD wanted) {
    if (got == wanted) return;
    printf("%s: %lu instead of %lu\n", what, (unsigned long)got, (unsigned long)wanted);
    ++failures;
}
#define EXPECT(call, wanted) expect(#call, (DWORD)(call), (wanted))

static char messages[WNBD_LOG_MESSAGE_MAX_SIZE];
static int message_count;

static VOID keep_message(WnbdLogLevel LogLevel, const char* Message, const char* FileName,
                         UINT32 Line, const char* FunctionName) {
    (void)LogLevel;
    strncpy(messages, Message, sizeof(messages) - 1);
    message_count += FileName != NULL && FunctionName != NULL && Line > 0;
    if (strpbrk(FileName, "/\\") != NULL) {
        printf("the file name %s has a path\n", FileName);
        ++failures;
    }
}

static void check_names(const char* too_long) {
    WNBD_CONNECTION_INFO info;
    WNBD_DRV_STATS stats;
    WNBD_OPTION_VALUE value;
    DWORD number;
    memset(&value, 0, sizeof(value));
    EXPECT(WnbdShow(too_long, &info), ERROR_BUFFER_OVERFLOW);
    EXPECT(WnbdShow(NULL, &info), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdShow("", &info), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdShow("name", NULL), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdShow("name", &info), ERROR_OPEN_FAILED);
    EXPECT(WnbdGetDriverStats(too_long, &stats), ERROR_BUFFER_OVERFLOW);
    EXPECT(WnbdGetDriverStats(NULL, &stats), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdGetDriverStats("name", &stats), ERROR_OPEN_FAILED);
    EXPECT(WnbdRemoveEx(too_long, NULL), ERROR_BUFFER_OVERFLOW);
    EXPECT(WnbdRemoveEx(NULL, NULL), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdRemoveEx("name", NULL), ERROR_OPEN_FAILED);
    EXPECT(WnbdPollDiskNumber(NULL, TRUE, TRUE, 0, 0, &number), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdPollDiskNumber("name", FALSE, TRUE, 0, 0, &number), ERROR_OPEN_FAILED);
    EXPECT(WnbdGetDrvOpt("LogLevel", &value, FALSE), ERROR_OPEN_FAILED);
    EXPECT(WnbdGetDrvOpt(NULL, &value, FALSE), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdSetDrvOpt("LogLevel", NULL, FALSE), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdResetDrvOpt("LogLevel", FALSE), ERROR_OPEN_FAILED);
}

static void check_lists(void) {
    DWORD size = 0;
    EXPECT(WnbdList(NULL, NULL), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdList(NULL, &size), ERROR_OPEN_FAILED);
    EXPECT(WnbdListDrvOpt(NULL, &size, FALSE), ERROR_OPEN_FAILED);
    size = 100;
    EXPECT(WnbdList(NULL, &size), ERROR_INVALID_PARAMETER);
}

static void check_disks(void) {
    WNBD_PROPERTIES properties;
    WNBD_USR_STATS stats;
    PWNBD_DISK disk = (PWNBD_DISK)&properties;
    memset(&properties, 0, sizeof(properties));
    strcpy(properties.InstanceName, "name");
    properties.BlockCount = 2048;
    properties.BlockSize = 512;
    EXPECT(WnbdCreate(&properties, NULL, NULL, &disk), ERROR_NO_MORE_ITEMS);
    EXPECT(disk != (PWNBD_DISK)&properties, FALSE);
    EXPECT(WnbdCreate(NULL, NULL, NULL, &disk), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdRunBackendDaemon(&properties, "memory:1M"), ERROR_NO_MORE_ITEMS);
    EXPECT(WnbdRunBackendDaemon(&properties, "memory:"), ERROR_BAD_PATHNAME);
    EXPECT(WnbdRunBackendDaemon(&properties, NULL), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdRunNbdDaemon(NULL), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdRunNbdDaemon(&properties), ERROR_NOT_CONNECTED);
    memset(properties.Owner, 'x', sizeof(properties.Owner));
    EXPECT(WnbdRunBackendDaemon(&properties, "memory:1M"), ERROR_BUFFER_OVERFLOW);
    EXPECT(WnbdStartDispatcher(NULL, 1), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdStopDispatcher(NULL, NULL), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdWaitDispatcher(NULL), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdSendResponse(NULL, NULL, NULL, 0), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdRemove(NULL, NULL), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdSetDiskSize(NULL, 1), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdGetUserspaceStats(NULL, &stats), ERROR_INVALID_PARAMETER);
    WnbdClose(NULL);
}

static void check_commands(const char* too_long) {
    WNBD_PROPERTIES properties;
    WNBD_CONNECTION_INFO info;
    WNBD_DRV_STATS stats;
    WNBD_OPTION_VALUE value;
    WNBD_IO_REQUEST request;
    WNBD_IO_RESPONSE response;
    char option_name[65];
    DWORD a, b;
    HANDLE none = INVALID_HANDLE_VALUE;
    memset(&value, 0, sizeof(value));
    memset(&response, 0, sizeof(response));
    memset(&properties, 'x', sizeof(properties));
    memset(option_name, 'o', sizeof(option_name));
    option_name[64] = 0;
    EXPECT(WnbdIoctlPing(NULL, NULL), ERROR_INVALID_HANDLE);
    EXPECT(WnbdIoctlCreate(none, &properties, &info, NULL), ERROR_BUFFER_OVERFLOW);
    EXPECT(WnbdIoctlCreate(none, NULL, &info, NULL), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdIoctlRemove(none, too_long, NULL, NULL), ERROR_BUFFER_OVERFLOW);
    EXPECT(WnbdIoctlRemove(none, NULL, NULL, NULL), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdIoctlShow(none, too_long, &info, NULL), ERROR_BUFFER_OVERFLOW);
    EXPECT(WnbdIoctlStats(none, too_long, &stats, NULL), ERROR_BUFFER_OVERFLOW);
    EXPECT(WnbdIoctlGetDrvOpt(none, option_name, &value, FALSE, NULL), ERROR_BUFFER_OVERFLOW);
    EXPECT(WnbdIoctlGetDrvOpt(none, option_name + 1, &value, FALSE, NULL), ERROR_INVALID_HANDLE);
    EXPECT(WnbdIoctlFetchRequest(none, 1, NULL, NULL, 0, NULL), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdIoctlFetchRequest(none, 1, &request, NULL, 0, NULL), ERROR_INVALID_HANDLE);
    EXPECT(WnbdIoctlSendResponse(none, 1, &response, NULL, 1, NULL), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdIoctlSetDiskSize(none, 1, 0, NULL), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdIoctlVersion(none, NULL, NULL), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdIoctlGetIOLimits(none, &a, &b, NULL), ERROR_INVALID_HANDLE);
}

static void check_driver(void) {
    HANDLE adapter = (HANDLE)(ULONG_PTR)42;
    DEVINST device = 42;
    WNBD_VERSION version;
    BOOL reboot = FALSE;
    EXPECT(WnbdOpenAdapter(NULL), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdOpenAdapter(&adapter), ERROR_NO_MORE_ITEMS);
    EXPECT(adapter != (HANDLE)(ULONG_PTR)42, FALSE);
    EXPECT(WnbdGetAdapterDevInst(&device), ERROR_NO_MORE_ITEMS);
    EXPECT(WnbdResetAdapter(), ERROR_NO_MORE_ITEMS);
    EXPECT(WnbdResetAdapterEx(0, 1), ERROR_NO_MORE_ITEMS);
    EXPECT(WnbdRemoveAllDisks(NULL), ERROR_INVALID_HANDLE);
    EXPECT(WnbdGetDriverVersion(&version), ERROR_OPEN_FAILED);
    EXPECT(WnbdGetLibVersion(NULL), ERROR_INVALID_PARAMETER);
    memset(&version, 0xFF, sizeof(version));
    EXPECT(WnbdGetLibVersion(&version), ERROR_SUCCESS);
    EXPECT(version.Major == 0xFFFFFFFF || strlen(version.Description) == 0, FALSE);
    EXPECT(WnbdInstallDriver(NULL, &reboot), ERROR_INVALID_PARAMETER);
    EXPECT(WnbdInstallDriver("C:\\no such file.inf", &reboot), ERROR_FILE_NOT_FOUND);
    EXPECT(WnbdUninstallDriver(&reboot), ERROR_SUCCESS);
    EXPECT(reboot, FALSE);
}

static void check_sense_and_log(void) {
    WNBD_STATUS status;
    HANDLE adapter;
    memset(&status, 0, sizeof(status));
    status.ASCQ = 9;
    WnbdSetSenseEx(&status, 3, 0x11, 77);
    EXPECT(status.ScsiStatus == 2 && status.SenseKey == 3 && status.ASC == 0x11, TRUE);
    EXPECT(status.Information == 77 && status.InformationValid && status.ASCQ == 9, TRUE);
    WnbdSetSense(&status, 5, 0x20);
    EXPECT(status.Information == 0 && !status.InformationValid && status.ASC == 0x20, TRUE);

    WnbdSetLogger(keep_message);
    EXPECT(WnbdResetDrvOpt("LogLevel", FALSE), ERROR_OPEN_FAILED);
    EXPECT(message_count, 1);
    WnbdSetLogLevel(WnbdLogLevelCritical);
    EXPECT(WnbdResetDrvOpt("LogLevel", FALSE), ERROR_OPEN_FAILED);
    EXPECT(message_count, 1);
    WnbdSetLogger(NULL); /* the level set after it wakes nobody up */
    WnbdSetLogLevel(WnbdLogLevelTrace);
    EXPECT(WnbdOpenAdapter(&adapter), ERROR_NO_MORE_ITEMS);
    EXPECT(message_count, 1);
}

enum { log_threads = 4, log_rounds = 40 };

static DWORD WINAPI log_warnings(LPVOID unused) {
    int round;
    (void)unused;
    for (round = 0; round < log_rounds; ++round)
        WnbdResetDrvOpt("LogLevel", FALSE);
    return 0;
}

/* Before WnbdSetLogger: warnings go to stderr, a line each, also from several threads. */
static void check_default_log(void) {
    static const char path[] = "default-log.txt";
    HANDLE running[log_threads];
    char line[512];
    int index, lines = 0, whole = 0;
    FILE* log;
    if (freopen(path, "w", stderr) == NULL) {
        printf("stderr can't be redirected\n");
        ++failures;
        return;
    }
    for (index = 0; index < log_threads; ++index)
        running[index] = CreateThread(NULL, 0, log_warnings, NULL, 0, NULL);
    WaitForMultipleObjects(log_threads, running, TRUE, INFINITE);
    for (index = 0; index < log_threads; ++index)
        CloseHandle(running[index]);
    fclose(stderr);
    log = fopen(path, "r");
    while (log != NULL && fgets(line, sizeof(line), log) != NULL) {
        ++lines;
        whole += line[2] == ':' && strncmp(line + 12, " libwnbd.dll!", 13) == 0 &&
                 strstr(line, " WARNING ") != NULL && strchr(line, '\n') != NULL &&
                 strstr(line + 20, "libwnbd.dll!") == NULL;
    }
    if (log != NULL) fclose(log);
    remove(path);
    if (lines != log_threads * log_rounds || whole != lines) {
        printf("the last: %s\n", line);
        printf("%d lines, %d of them whole, of %d messages\n", lines, whole,
               log_threads * log_rounds);
        ++failures;
    }
}

static DWORD WINAPI call_once(LPVOID device) {
    WnbdIoctlPing((HANDLE)device, NULL);
    return 0;
}

/* What the library keeps for a thread goes with it, and nothing else does. */
static void check_ends_of_threads(void) {
    enum { threads = 32, rounds = 16, events = threads * rounds };
    HANDLE device = CreateFileW(L"NUL", GENERIC_READ, FILE_SHARE_READ | FILE_SHARE_WRITE, NULL,
                                OPEN_EXISTING, 0, NULL);
    HANDLE kept[events], running[threads];
    DWORD before = 0, after = 0, flags, index, round;
    if (device == INVALID_HANDLE_VALUE) {
        printf("no NUL device\n");
        ++failures;
        return;
    }
    WaitForSingleObject(CreateThread(NULL, 0, call_once, device, 0, NULL), INFINITE);
    GetProcessHandleCount(GetCurrentProcess(), &before);
    for (round = 0; round < rounds; ++round) {
        for (index = 0; index < threads; ++index)
            running[index] = CreateThread(NULL, 0, call_once, device, 0, NULL);
        WaitForMultipleObjects(threads, running, TRUE, INFINITE);
        for (index = 0; index < threads; ++index) {
            CloseHandle(running[index]);
            kept[round * threads + index] = CreateEventW(NULL, TRUE, FALSE, NULL);
        }
    }
    GetProcessHandleCount(GetCurrentProcess(), &after);
    /* `before` counts the second thread and its handle, but not its event or the later ones kept.
     */
    if (after > before + threads) {
        printf("handles after the threads' ends: %lu, before %lu\n", (unsigned long)after,
               (unsigned long)before);
        ++failures;
    }
    for (index = 0; index < events; ++index) {
        if (!GetHandleInformation(kept[index], &flags)) {
            printf("a thread's end closed the handle %lu of somebody else\n", (unsigned long)index);
            ++failures;
        } else {
            CloseHandle(kept[index]);
        }
    }
    CloseHandle(device);
}

int main(void) {
    static char too_long[70000];
    memset(too_long, 'n', sizeof(too_long) - 1);
    check_default_log();
    check_sense_and_log();
    check_names(too_long);
    check_lists();
    check_disks();
    check_commands(too_long);
    check_driver();
    check_ends_of_threads();
    return failures == 0 ? 0 : 1;
}
