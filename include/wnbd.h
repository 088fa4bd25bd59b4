/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The user-mode API of WNBD: virtual disks on Windows whose I/O this process serves.
 *
 * C11 and C++; x64; functions and callbacks use the compiler's default calling convention.
 *
 * Errors: every DWORD returned is a Win32 error code, 0 (ERROR_SUCCESS) on success. A NULL pointer
 * where one is needed gives ERROR_INVALID_PARAMETER, a name of WNBD_MAX_NAME_LENGTH bytes or more
 * ERROR_BUFFER_OVERFLOW; neither ever crashes. Functions that open the adapter themselves give
 * ERROR_OPEN_FAILED when there is none or it may not be opened (the log tells which), unless the
 * function says otherwise.
 *
 * Threads: all functions may be called from any thread at any time, but for one WNBD_DISK the order
 * WnbdCreate, WnbdStartDispatcher, WnbdWaitDispatcher, WnbdClose is the caller's to keep.
 *
 * Strings are NUL-terminated UTF-8. Time spans are in milliseconds.
 */
#ifndef WNBD_SHARED_H
#define WNBD_SHARED_H

#include <windows.h>

#include <cfgmgr32.h>
#include <setupapi.h>

#include "wnbd_ioctl.h"

#ifdef __cplusplus
extern "C" {
#endif

#define WNBD_MIN_DISPATCHER_THREAD_COUNT 1
#define WNBD_MAX_DISPATCHER_THREAD_COUNT 255

/* Bytes of a log message with its terminator; longer ones are cut. */
#define WNBD_LOG_MESSAGE_MAX_SIZE 4096

/* What a NULL PWNBD_REMOVE_OPTIONS means, besides HardRemoveFallback. */
#define WNBD_DEFAULT_RM_TIMEOUT_MS (30 * 1000)
#define WNBD_DEFAULT_RM_RETRY_INTERVAL_MS (2 * 1000)

/* The root-enumerated adapter. The length counts the terminator. */
#define WNBD_HARDWAREID "root\\wnbd"
#define WNBD_HARDWAREID_LEN sizeof(WNBD_HARDWAREID)

/* The oldest Windows the driver runs on. */
#define WNBD_REQ_WIN_VERSION_MAJOR 10
#define WNBD_REQ_WIN_VERSION_MINOR 0
#define WNBD_REQ_WIN_VERSION_BUILD 17763

typedef enum WNBD_INT_ENUM {
    WnbdLogLevelCritical = 0,
    WnbdLogLevelError = 1,
    WnbdLogLevelWarning = 2,
    WnbdLogLevelInfo = 3,
    WnbdLogLevelDebug = 4,
    WnbdLogLevelTrace = 5
} WnbdLogLevel;
WNBD_ASSERT_SZ_EQ(WnbdLogLevel, 4);

/* The name of a log level; "TRACE" for any other value. A static string. */
static inline const char* WnbdLogLevelToStr(WnbdLogLevel LogLevel) {
    switch (LogLevel) {
        case WnbdLogLevelCritical: return "CRITICAL";
        case WnbdLogLevelError: return "ERROR";
        case WnbdLogLevelWarning: return "WARNING";
        case WnbdLogLevelInfo: return "INFO";
        case WnbdLogLevelDebug: return "DEBUG";
        case WnbdLogLevelTrace:
        default: return "TRACE";
    }
}

/* ---- Structures ---- */

/* The library's counters of one disk. WnbdGetUserspaceStats gives a consistent snapshot. */
typedef struct _WNBD_USR_STATS {
    UINT64 TotalReceivedRequests;    /* fetched; a disconnect is not a request */
    UINT64 TotalSubmittedRequests;   /* handed to a callback */
    UINT64 TotalReceivedReplies;     /* given to WnbdSendResponse */
    UINT64 UnsubmittedRequests;      /* fetched, not yet handed on */
    UINT64 PendingSubmittedRequests; /* handed on, not yet answered */
    UINT64 PendingReplies;           /* on their way to the driver */
    UINT64 ReadErrors;
    UINT64 WriteErrors;
    UINT64 FlushErrors;
    UINT64 UnmapErrors;
    UINT64 InvalidRequests; /* answered by the library with ILLEGAL REQUEST */
    UINT64 TotalRWRequests;
    UINT64 TotalReadBlocks;
    UINT64 TotalWrittenBlocks;
    UINT64 PersistResInErrors;
    UINT64 PersistResOutErrors;
    BYTE Reserved[128];
} WNBD_USR_STATS, *PWNBD_USR_STATS;
WNBD_ASSERT_SZ_EQ(WNBD_USR_STATS, 256);
WNBD_ASSERT_OFFSET_EQ(WNBD_USR_STATS, TotalReceivedRequests, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_USR_STATS, TotalSubmittedRequests, 8);
WNBD_ASSERT_OFFSET_EQ(WNBD_USR_STATS, TotalReceivedReplies, 16);
WNBD_ASSERT_OFFSET_EQ(WNBD_USR_STATS, UnsubmittedRequests, 24);
WNBD_ASSERT_OFFSET_EQ(WNBD_USR_STATS, PendingSubmittedRequests, 32);
WNBD_ASSERT_OFFSET_EQ(WNBD_USR_STATS, PendingReplies, 40);
WNBD_ASSERT_OFFSET_EQ(WNBD_USR_STATS, ReadErrors, 48);
WNBD_ASSERT_OFFSET_EQ(WNBD_USR_STATS, WriteErrors, 56);
WNBD_ASSERT_OFFSET_EQ(WNBD_USR_STATS, FlushErrors, 64);
WNBD_ASSERT_OFFSET_EQ(WNBD_USR_STATS, UnmapErrors, 72);
WNBD_ASSERT_OFFSET_EQ(WNBD_USR_STATS, InvalidRequests, 80);
WNBD_ASSERT_OFFSET_EQ(WNBD_USR_STATS, TotalRWRequests, 88);
WNBD_ASSERT_OFFSET_EQ(WNBD_USR_STATS, TotalReadBlocks, 96);
WNBD_ASSERT_OFFSET_EQ(WNBD_USR_STATS, TotalWrittenBlocks, 104);
WNBD_ASSERT_OFFSET_EQ(WNBD_USR_STATS, PersistResInErrors, 112);
WNBD_ASSERT_OFFSET_EQ(WNBD_USR_STATS, PersistResOutErrors, 120);
WNBD_ASSERT_OFFSET_EQ(WNBD_USR_STATS, Reserved, 128);

typedef struct {
    UINT32 HardRemove : 1;         /* skip the PnP removal that open files can veto */
    UINT32 HardRemoveFallback : 1; /* ... or do so once it has failed */
    UINT32 Reserved : 30;
} WNBD_REMOVE_FLAGS, *PWNBD_REMOVE_FLAGS;
WNBD_ASSERT_SZ_EQ(WNBD_REMOVE_FLAGS, 4);

typedef struct {
    WNBD_REMOVE_FLAGS Flags;
    DWORD SoftRemoveTimeoutMs; /* 0: no limit */
    DWORD SoftRemoveRetryIntervalMs;
    BYTE Reserved[64];
} WNBD_REMOVE_OPTIONS, *PWNBD_REMOVE_OPTIONS;
WNBD_ASSERT_SZ_EQ(WNBD_REMOVE_OPTIONS, 76);
WNBD_ASSERT_OFFSET_EQ(WNBD_REMOVE_OPTIONS, Flags, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_REMOVE_OPTIONS, SoftRemoveTimeoutMs, 4);
WNBD_ASSERT_OFFSET_EQ(WNBD_REMOVE_OPTIONS, SoftRemoveRetryIntervalMs, 8);
WNBD_ASSERT_OFFSET_EQ(WNBD_REMOVE_OPTIONS, Reserved, 12);

struct _WNBD_INTERFACE;

/*
 * A mapped disk, made by WnbdCreate and freed by WnbdClose. Applications may read Properties and
 * ConnectionInfo; the rest is the library's, and only its layout is fixed.
 */
typedef struct _WNBD_DISK {
    HANDLE Handle; /* of the adapter */
    PVOID Context;
    WNBD_PROPERTIES Properties;
    WNBD_CONNECTION_INFO ConnectionInfo;
    const struct _WNBD_INTERFACE* Interface;
    BOOLEAN Stopping;
    BOOLEAN Stopped;
    BOOLEAN Started;
    HANDLE* DispatcherThreads;
    UINT32 DispatcherThreadsCount;
    WNBD_USR_STATS Stats;
} WNBD_DISK, *PWNBD_DISK;
WNBD_ASSERT_SZ_EQ(WNBD_DISK, 3704);
WNBD_ASSERT_OFFSET_EQ(WNBD_DISK, Handle, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_DISK, Context, 8);
WNBD_ASSERT_OFFSET_EQ(WNBD_DISK, Properties, 16);
WNBD_ASSERT_OFFSET_EQ(WNBD_DISK, ConnectionInfo, 1384);
WNBD_ASSERT_OFFSET_EQ(WNBD_DISK, Interface, 3416);
WNBD_ASSERT_OFFSET_EQ(WNBD_DISK, Stopping, 3424);
WNBD_ASSERT_OFFSET_EQ(WNBD_DISK, Stopped, 3425);
WNBD_ASSERT_OFFSET_EQ(WNBD_DISK, Started, 3426);
WNBD_ASSERT_OFFSET_EQ(WNBD_DISK, DispatcherThreads, 3432);
WNBD_ASSERT_OFFSET_EQ(WNBD_DISK, DispatcherThreadsCount, 3440);
WNBD_ASSERT_OFFSET_EQ(WNBD_DISK, Stats, 3448);

/* ---- Callbacks ---- */

/*
 * Called on a dispatcher thread, one request at a time per thread. A request is answered by
 * WnbdSendResponse with its RequestHandle, inside the callback or later, from any thread. Buffer
 * and Descriptors belong to the library and are used again as soon as the callback returns: copy a
 * write's payload that is needed longer. For Read, Buffer is scratch space of
 * WNBD_DEFAULT_MAX_TRANSFER_LENGTH bytes. Addresses and counts are in blocks.
 */
typedef VOID (*ReadFunc)(PWNBD_DISK Disk, UINT64 RequestHandle, PVOID Buffer, UINT64 BlockAddress,
                         UINT32 BlockCount, BOOLEAN ForceUnitAccess);
typedef VOID (*WriteFunc)(PWNBD_DISK Disk, UINT64 RequestHandle, PVOID Buffer, UINT64 BlockAddress,
                          UINT32 BlockCount, BOOLEAN ForceUnitAccess);
/* BlockCount 0: from BlockAddress to the end. Flushing more than asked is always right. */
typedef VOID (*FlushFunc)(PWNBD_DISK Disk, UINT64 RequestHandle, UINT64 BlockAddress,
                          UINT32 BlockCount);
/* Count: 1..WNBD_PROPERTIES.MaxUnmapDescCount. */
typedef VOID (*UnmapFunc)(PWNBD_DISK Disk, UINT64 RequestHandle, PWNBD_UNMAP_DESCRIPTOR Descriptors,
                          UINT32 Count);
typedef VOID (*PersistResInFunc)(PWNBD_DISK Disk, UINT64 RequestHandle, UINT8 ServiceAction);
/* ParameterListLength: bytes in Buffer. */
typedef VOID (*PersistResOutFunc)(PWNBD_DISK Disk, UINT64 RequestHandle, UINT8 ServiceAction,
                                  UINT8 Scope, UINT8 Type, PVOID Buffer,
                                  UINT32 ParameterListLength);

/*
 * Receives log messages, from any thread, possibly several at once. The strings are valid until it
 * returns. It must not call back into the library.
 */
typedef VOID (*LogMessageFunc)(WnbdLogLevel LogLevel, const char* Message, const char* FileName,
                               UINT32 Line, const char* FunctionName);

/* What serves a disk. A NULL entry: the library answers such requests with ILLEGAL REQUEST. */
typedef struct _WNBD_INTERFACE {
    ReadFunc Read;
    WriteFunc Write;
    FlushFunc Flush;
    UnmapFunc Unmap;
    PersistResInFunc PersistResIn;
    PersistResOutFunc PersistResOut;
    VOID* Reserved[13];
} WNBD_INTERFACE, *PWNBD_INTERFACE;
WNBD_ASSERT_SZ_EQ(WNBD_INTERFACE, 152);
WNBD_ASSERT_OFFSET_EQ(WNBD_INTERFACE, Read, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_INTERFACE, Write, 8);
WNBD_ASSERT_OFFSET_EQ(WNBD_INTERFACE, Flush, 16);
WNBD_ASSERT_OFFSET_EQ(WNBD_INTERFACE, Unmap, 24);
WNBD_ASSERT_OFFSET_EQ(WNBD_INTERFACE, PersistResIn, 32);
WNBD_ASSERT_OFFSET_EQ(WNBD_INTERFACE, PersistResOut, 40);
WNBD_ASSERT_OFFSET_EQ(WNBD_INTERFACE, Reserved, 48);

/* ---- Life of a mapping ---- */

/*
 * Maps a disk; serving starts with WnbdStartDispatcher. Properties is copied. Interface is kept by
 * pointer and must outlive the disk; it may be NULL for a caller with a fetch loop of its own.
 * On success *PDisk is to be freed by WnbdClose; on failure it is untouched.
 * Errors: those of WnbdOpenAdapter; BUFFER_OVERFLOW (an unterminated string); INVALID_PARAMETER;
 * ALREADY_EXISTS; SHUTDOWN_IN_PROGRESS (new mappings are not allowed); TOO_MANY_NAMES (no free SCSI
 * address); NO_SYSTEM_RESOURCES; OUTOFMEMORY.
 */
DWORD WnbdCreate(const PWNBD_PROPERTIES Properties, const PWNBD_INTERFACE Interface, PVOID Context,
                 PWNBD_DISK* PDisk);

/*
 * Starts ThreadCount (1..255) threads that fetch requests and call the callbacks; returns at once.
 * Once per disk: ALREADY_EXISTS afterwards. When a thread cannot be made the disk is removed and
 * the error returned.
 */
DWORD WnbdStartDispatcher(PWNBD_DISK Disk, DWORD ThreadCount);

/*
 * Removes the disk (see WnbdRemove), which ends the dispatcher. The first call counts; later ones
 * return 0, unless the first one failed: then they try again. Threads end when the driver says so:
 * WnbdWaitDispatcher.
 */
DWORD WnbdStopDispatcher(PWNBD_DISK Disk, PWNBD_REMOVE_OPTIONS RemoveOptions);

/* Blocks until all dispatcher threads have ended. PIPE_NOT_CONNECTED: never started. */
DWORD WnbdWaitDispatcher(PWNBD_DISK Disk);

/*
 * Removes this disk, by connection: never another one that took over its name. Blocking. See
 * WnbdRemoveEx for options and errors; a disk that is gone already counts as removed. The
 * structure lives on until WnbdClose.
 */
DWORD WnbdRemove(PWNBD_DISK Disk, PWNBD_REMOVE_OPTIONS RemoveOptions);

/*
 * Removes the disk that bears the name now. RemoveOptions NULL: soft removal for
 * WNBD_DEFAULT_RM_TIMEOUT_MS, then hard. Blocking.
 * Errors: OPEN_FAILED; FILE_NOT_FOUND (no such disk); TIMEOUT (open files vetoed the removal until
 * the time was over, or the disk did not start within it); REMOVE_FAILED.
 */
DWORD WnbdRemoveEx(const char* InstanceName, PWNBD_REMOVE_OPTIONS RemoveOptions);

/* Frees the disk. NULL is fine. Not before WnbdWaitDispatcher has returned. */
VOID WnbdClose(PWNBD_DISK Disk);

/*
 * Tells the driver and Windows a new size in blocks (more than 0). Errors: INVALID_PARAMETER;
 * NOT_FOUND (no open disk); FILE_NOT_FOUND (removed meanwhile); NOT_READY (Windows has not started
 * the disk yet; nothing is changed: try again); others from opening \\.\PhysicalDriveN.
 */
DWORD WnbdSetDiskSize(PWNBD_DISK Disk, UINT64 BlockCount);

/*
 * Waits until the disk has a number and, with TryOpen, until \\.\PhysicalDriveN opens for reading.
 * ExpectMapped TRUE: a failing look-up is returned at once; FALSE: FILE_NOT_FOUND and
 * NO_SUCH_DEVICE keep it waiting. TimeoutMs 0: one attempt. Errors: TIMEOUT, those of WnbdShow,
 * of opening the disk.
 */
DWORD WnbdPollDiskNumber(const char* InstanceName, BOOLEAN ExpectMapped, BOOLEAN TryOpen,
                         DWORD TimeoutMs, DWORD RetryIntervalMs, PDWORD DiskNumber);

/*
 * Maps and serves the NBD export named by Properties->NbdProperties until the disk is removed or
 * the server is lost; blocks. The caller has called WSAStartup. Size and abilities come from the
 * server and are OR-ed with the caller's flags; Properties->BlockSize is 0 (512), 512 or 4096, and
 * what remains of the export after the last whole block is not mapped.
 * Returns 0 after a removal from outside, otherwise why it could not start or had to end.
 */
DWORD WnbdRunNbdDaemon(const PWNBD_PROPERTIES Properties);

/*
 * The same for any backend the library knows: an NBD URI such as "nbds://host[:port]/export", with
 * parameters for TLS, several connections and what becomes of losses (docs/nbd-uri.md);
 * "file:PATH[?size=BYTES&readonly=1]"; "memory:SIZE". Properties->NbdProperties is not looked at,
 * but the disk's own tell the URI's server.
 */
DWORD WnbdRunBackendDaemon(const PWNBD_PROPERTIES Properties, const char* BackendUri);

/* ---- Replies ---- */

/*
 * Answers a request. Data counts for Read and PersistResIn with ScsiStatus 0; the buffer stays
 * valid until the call, or the overlapped operation, ends. Works as long as the disk is mapped,
 * also for callers with a fetch loop of their own.
 * Errors: PIPE_NOT_CONNECTED (the disk was removed); NOT_FOUND (no such request, for instance
 * aborted by Windows meanwhile: nothing to worry about); INVALID_HANDLE (the disk is gone);
 * ACCESS_DENIED (not the owning process); INVALID_PARAMETER; NOACCESS (bad buffer).
 */
DWORD WnbdSendResponse(PWNBD_DISK Disk, PWNBD_IO_RESPONSE Response, PVOID DataBuffer,
                       UINT32 DataBufferSize);
DWORD WnbdSendResponseEx(PWNBD_DISK Disk, PWNBD_IO_RESPONSE Response, PVOID DataBuffer,
                         UINT32 DataBufferSize, LPOVERLAPPED Overlapped);

/* CHECK CONDITION with the given sense; Ex also sets the sense information. ASCQ is untouched. */
void WnbdSetSenseEx(PWNBD_STATUS Status, UINT8 SenseKey, UINT8 Asc, UINT64 Info);
void WnbdSetSense(PWNBD_STATUS Status, UINT8 SenseKey, UINT8 Asc);

/* ---- Queries ---- */

/*
 * BufferSize: bytes, in and out. Too small: returns 0 with the size needed in *BufferSize and a
 * list that says Count 0 where it has room for the two head fields; ConnectionList may be NULL with
 * a size of 0. Compare *BufferSize afterwards with what was passed in.
 */
DWORD WnbdList(PWNBD_CONNECTION_LIST ConnectionList, PDWORD BufferSize);
/* FILE_NOT_FOUND: no such disk; INVALID_PARAMETER: an empty name. */
DWORD WnbdShow(const char* InstanceName, PWNBD_CONNECTION_INFO ConnectionInfo);
DWORD WnbdGetDriverStats(const char* InstanceName, PWNBD_DRV_STATS Stats);
DWORD WnbdGetUserspaceStats(PWNBD_DISK Disk, PWNBD_USR_STATS Stats);
DWORD WnbdGetUserContext(PWNBD_DISK Disk, PVOID* Context);
/* What the driver told at WnbdCreate; WnbdShow has the current state. */
DWORD WnbdGetConnectionInfo(PWNBD_DISK Disk, PWNBD_CONNECTION_INFO ConnectionInfo);
DWORD WnbdGetLibVersion(PWNBD_VERSION Version);
DWORD WnbdGetDriverVersion(PWNBD_VERSION Version);

/* ---- Logging: process-wide; may be changed at any time ---- */

/* NULL switches logging off. Until first set, messages go to stderr, one line each. */
VOID WnbdSetLogger(LogMessageFunc Logger);
/* Messages up to this level are delivered. Default: WnbdLogLevelWarning. */
VOID WnbdSetLogLevel(WnbdLogLevel LogLevel);

/* ---- Driver options ---- */

/*
 * Persistent TRUE means the value kept in the registry. Errors: FILE_NOT_FOUND (unknown, or nothing
 * stored); INVALID_HANDLE (wrong type); INVALID_PARAMETER (not a value of that option);
 * BUFFER_OVERFLOW (a name of WNBD_MAX_OPT_NAME_LENGTH characters or more).
 */
DWORD WnbdGetDrvOpt(const char* Name, PWNBD_OPTION_VALUE Value, BOOLEAN Persistent);
DWORD WnbdSetDrvOpt(const char* Name, PWNBD_OPTION_VALUE Value, BOOLEAN Persistent);
DWORD WnbdResetDrvOpt(const char* Name, BOOLEAN Persistent);
/* BufferSize: as WnbdList. */
DWORD WnbdListDrvOpt(PWNBD_OPTION_LIST OptionList, PDWORD BufferSize, BOOLEAN Persistent);

/* ---- Adapter and driver ---- */

/*
 * Opens the adapter for overlapped I/O; the caller closes the handle. *Handle is untouched on
 * error: NO_MORE_ITEMS (no adapter), FILE_NOT_FOUND (not started), ACCESS_DENIED (not elevated).
 */
DWORD WnbdOpenAdapter(PHANDLE Handle);
/* The device node of the adapter. Errors as WnbdOpenAdapter. */
DWORD WnbdGetAdapterDevInst(PDEVINST DeviceInst);

/*
 * Disables and enables the adapter; one that is disabled already is enabled. New mappings are
 * refused meanwhile (for some 15 s more should the caller be ended in the middle) and allowed again
 * afterwards, as far as NewMappingsAllowed says so. BUSY: vetoed (disks in use);
 * REMOVE_FAILED: other failures to disable; NOT_READY: it could not be enabled again, despite
 * several attempts, and stays disabled; NO_MORE_ITEMS: there is no adapter; ACCESS_DENIED.
 */
DWORD WnbdResetAdapter(VOID);
/* Repeats while BUSY. TimeoutMs 0: no limit. */
DWORD WnbdResetAdapterEx(DWORD TimeoutMs, DWORD RetryIntervalMs);

/*
 * Removes all disks hard. New mappings are refused meanwhile. After success they still are, so that
 * the adapter can be reset: until it starts again, NewMappingsAllowed is set or reset, or 15 s
 * have gone. Goes on after a failure and returns the first one; new mappings are then allowed as
 * before.
 */
DWORD WnbdRemoveAllDisks(HANDLE AdapterHandle);

/*
 * Installs the driver from an INF file and creates the adapter. *RebootRequired is only ever set to
 * TRUE; it may be NULL. Errors: NOT_SUPPORTED (Windows too old), FILE_NOT_FOUND, DUPLICATE_FOUND
 * (there is an adapter), those of SetupAPI. What was done is undone on failure.
 */
DWORD WnbdInstallDriver(CONST CHAR* FileName, PBOOL RebootRequired);
/* Removes disks, adapters, left-over device nodes and driver packages. */
DWORD WnbdUninstallDriver(PBOOL RebootRequired);

/*
 * ---- The driver's commands, one by one ----
 *
 * Adapter: a handle of WnbdOpenAdapter. Overlapped NULL: the call waits for its result. Otherwise
 * it may return IO_PENDING, and then Overlapped, output structures and buffers stay valid until the
 * operation has ended; Overlapped->hEvent must be a manual-reset event or NULL. Outputs other than
 * data buffers are written when the call returns 0, or, after IO_PENDING, by
 * GetOverlappedResult's time.
 */
DWORD WnbdIoctlPing(HANDLE Adapter, LPOVERLAPPED Overlapped);
DWORD WnbdIoctlCreate(HANDLE Adapter, PWNBD_PROPERTIES Properties,
                      PWNBD_CONNECTION_INFO ConnectionInfo, LPOVERLAPPED Overlapped);
/* Hard removal. RemoveOptions may be NULL; see WnbdSetRemoveConnectionId. */
DWORD WnbdIoctlRemove(HANDLE Adapter, const char* InstanceName,
                      PWNBD_REMOVE_COMMAND_OPTIONS RemoveOptions, LPOVERLAPPED Overlapped);
DWORD WnbdIoctlList(HANDLE Adapter, PWNBD_CONNECTION_LIST ConnectionList, PDWORD BufferSize,
                    LPOVERLAPPED Overlapped);
DWORD WnbdIoctlShow(HANDLE Adapter, const char* InstanceName, PWNBD_CONNECTION_INFO ConnectionInfo,
                    LPOVERLAPPED Overlapped);
DWORD WnbdIoctlStats(HANDLE Adapter, const char* InstanceName, PWNBD_DRV_STATS Stats,
                     LPOVERLAPPED Overlapped);
DWORD WnbdIoctlReloadConfig(HANDLE Adapter, LPOVERLAPPED Overlapped);
DWORD WnbdIoctlVersion(HANDLE Adapter, PWNBD_VERSION Version, LPOVERLAPPED Overlapped);
DWORD WnbdIoctlGetDrvOpt(HANDLE Adapter, const char* Name, PWNBD_OPTION_VALUE Value,
                         BOOLEAN Persistent, LPOVERLAPPED Overlapped);
DWORD WnbdIoctlSetDrvOpt(HANDLE Adapter, const char* Name, PWNBD_OPTION_VALUE Value,
                         BOOLEAN Persistent, LPOVERLAPPED Overlapped);
DWORD WnbdIoctlResetDrvOpt(HANDLE Adapter, const char* Name, BOOLEAN Persistent,
                           LPOVERLAPPED Overlapped);
DWORD WnbdIoctlListDrvOpt(HANDLE Adapter, PWNBD_OPTION_LIST OptionList, PDWORD BufferSize,
                          BOOLEAN Persistent, LPOVERLAPPED Overlapped);
/*
 * Waits for the next request of a disk. DataBuffer: WNBD_DEFAULT_MAX_TRANSFER_LENGTH bytes.
 * Errors: INVALID_HANDLE (no such connection, or gone); ACCESS_DENIED (not the owning process);
 * INSUFFICIENT_BUFFER (that request was failed); NOACCESS.
 */
DWORD WnbdIoctlFetchRequest(HANDLE Adapter, WNBD_CONNECTION_ID ConnectionId,
                            PWNBD_IO_REQUEST Request, PVOID DataBuffer, UINT32 DataBufferSize,
                            LPOVERLAPPED Overlapped);
/* As WnbdSendResponseEx, without counters. */
DWORD WnbdIoctlSendResponse(HANDLE Adapter, WNBD_CONNECTION_ID ConnectionId,
                            PWNBD_IO_RESPONSE Response, PVOID DataBuffer, UINT32 DataBufferSize,
                            LPOVERLAPPED Overlapped);
DWORD WnbdIoctlSetDiskSize(HANDLE Adapter, WNBD_CONNECTION_ID ConnectionId, UINT64 BlockCount,
                           LPOVERLAPPED Overlapped);
/* Queue depths of a disk and its adapter. DiskHandle: an open \\.\PhysicalDriveN, synchronous. */
DWORD WnbdIoctlGetIOLimits(HANDLE DiskHandle, PDWORD LunMaxIoCount, PDWORD AdapterMaxIoCount,
                           LPOVERLAPPED Overlapped);

#ifdef __cplusplus
}
#endif

#endif /* WNBD_SHARED_H */
