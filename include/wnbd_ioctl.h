/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * The binary interface between the WNBD driver and user space: command numbers and structures.
 *
 * C11 and C++. Shared by kernel code, user code and native test code: the includer brings the
 * Windows type names (GUID, UINT8..UINT64, INT, INT64, CHAR, WCHAR, BOOLEAN, ULONG, USHORT,
 * PVOID) through <windows.h>, <ntddk.h> or an equivalent; only <assert.h> is included here.
 *
 * Transport: DeviceIoControl on an adapter handle with IOCTL_MINIPORT_PROCESS_SERVICE_IRP
 * (0x0004D038, METHOD_BUFFERED). The first ULONG of the input buffer is one of the IOCTL_WNBD_*
 * numbers; the reply overwrites the command. Little endian, 64-bit pointers, natural packing.
 * Everything named Reserved must be zero unless this header says otherwise. Strings inside
 * structures are NUL-terminated within their array; CHAR strings are UTF-8.
 */
#ifndef WNBD_IOCTL_H
#define WNBD_IOCTL_H

#include <assert.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Compile-time guards of the layout, used below for each structure and each addressable field. */
#define WNBD_ASSERT_SZ_EQ(Structure, Size) \
    static_assert(sizeof(Structure) == (Size), "sizeof(" #Structure ") must be " #Size)
#define WNBD_ASSERT_OFFSET_EQ(Structure, Field, Offset)             \
    static_assert(__builtin_offsetof(Structure, Field) == (Offset), \
                  #Structure "." #Field " must be at " #Offset)

/* The device interface of the adapter: {949DD17C-B06C-4C14-8E13-F1A3A4A6DBCB} */
static const GUID WNBD_GUID = {
    0x949dd17c, 0xb06c, 0x4c14, {0x8e, 0x13, 0xf1, 0xa3, 0xa4, 0xa6, 0xdb, 0xcb}};

/*
 * Commands of protocol version 1. Input and output structure in brackets; sizes are checked.
 * FETCH_REQ and SEND_RSP are for the process that owns the disk (WNBD_PROPERTIES.Pid), all others
 * for whoever may open the adapter (SYSTEM and Administrators).
 */
#define IOCTL_WNBD_PING 1           /* [PING_COMMAND -> nothing] */
#define IOCTL_WNBD_CREATE 2         /* [CREATE_COMMAND -> WNBD_CONNECTION_INFO] */
#define IOCTL_WNBD_REMOVE 3         /* [REMOVE_COMMAND -> nothing] hard removal, synchronous */
#define IOCTL_WNBD_FETCH_REQ 4      /* [FETCH_REQ_COMMAND -> the same] waits for a request */
#define IOCTL_WNBD_SEND_RSP 5       /* [SEND_RSP_COMMAND -> nothing] */
#define IOCTL_WNBD_LIST 6           /* [LIST_COMMAND -> WNBD_CONNECTION_LIST] */
#define IOCTL_WNBD_STATS 7          /* [STATS_COMMAND -> WNBD_DRV_STATS] */
#define IOCTL_WNBD_RELOAD_CONFIG 8  /* [RELOAD_CONFIG_COMMAND -> nothing] */
#define IOCTL_WNBD_VERSION 9        /* [VERSION_COMMAND -> WNBD_VERSION] */
#define IOCTL_WNBD_SHOW 10          /* [SHOW_COMMAND -> WNBD_CONNECTION_INFO] */
#define IOCTL_WNBD_GET_DRV_OPT 11   /* [GET_DRV_OPT_COMMAND -> WNBD_OPTION_VALUE] */
#define IOCTL_WNBD_SET_DRV_OPT 12   /* [SET_DRV_OPT_COMMAND -> nothing] */
#define IOCTL_WNBD_RESET_DRV_OPT 13 /* [RESET_DRV_OPT_COMMAND -> nothing] */
#define IOCTL_WNBD_LIST_DRV_OPT 14  /* [LIST_DRV_OPT_COMMAND -> WNBD_OPTION_LIST] */
#define IOCTL_WNBD_SET_DISK_SIZE 15 /* [SET_SIZE_COMMAND -> nothing] */
/*
 * Numbers from 64 up are set aside for protocol version 2 (many requests and replies a call). None
 * is defined yet; the driver answers STATUS_INVALID_DEVICE_REQUEST to every number not listed
 * above.
 */

/* Array lengths, in characters, terminator included. */
#define WNBD_MAX_NAME_LENGTH 256
#define WNBD_MAX_OWNER_LENGTH 16
#define WNBD_MAX_OPT_NAME_LENGTH 64
#define WNBD_MAX_VERSION_STR_LENGTH 128
/* Bytes of a network address authority identifier. */
#define WNBD_NAA_ID_LENGTH 16

/* The largest payload of one request in bytes, hence the size a fetch buffer must have. */
#define WNBD_DEFAULT_MAX_TRANSFER_LENGTH (2 * 1024 * 1024)
/* Queue depths: defaults, and the largest values the driver options accept. */
#define WNBD_DEFAULT_MAX_IO_REQ_PER_ADAPTER 1000
#define WNBD_DEFAULT_MAX_IO_REQ_PER_LUN 255
#define WNBD_ABS_MAX_IO_REQ_PER_ADAPTER (128 * 1024)
#define WNBD_ABS_MAX_IO_REQ_PER_LUN 1024
/* Age in milliseconds from which a request, and a silent connection, count as stale. */
#define WNBD_DEFAULT_STALE_REQ_TIMEOUT_MS 15000
#define WNBD_DEFAULT_STALE_CONN_TIMEOUT_MS 60000
/* Bytes per block where a daemon is given a block size of 0. */
#define WNBD_DEFAULT_BLOCK_SIZE 512

/* Identifies one mapping for as long as the driver is loaded: never handed out twice, never 0. */
typedef UINT64 WNBD_CONNECTION_ID;
typedef WNBD_CONNECTION_ID* PWNBD_CONNECTION_ID;

/* Enumerations come from the other side of a call and may hold anything: in C++ their type is
 * fixed, so that reading a value without a name is defined. In C it is the same int. */
#ifdef __cplusplus
#define WNBD_INT_ENUM : int
#else
#define WNBD_INT_ENUM
#endif

typedef enum WNBD_INT_ENUM {
    WnbdReqTypeUnknown = 0,
    WnbdReqTypeRead = 1,
    WnbdReqTypeWrite = 2,
    WnbdReqTypeFlush = 3,
    WnbdReqTypeUnmap = 4,
    WnbdReqTypeDisconnect = 5, /* not a request: the disk is gone, stop fetching */
    WnbdReqTypePersistResIn = 6,
    WnbdReqTypePersistResOut = 7
} WnbdRequestType;
WNBD_ASSERT_SZ_EQ(WnbdRequestType, 4);

/* The name of a request type; "UNKNOWN" for any other value. A static string. */
static inline const char* WnbdRequestTypeToStr(WnbdRequestType RequestType) {
    switch (RequestType) {
        case WnbdReqTypeRead: return "READ";
        case WnbdReqTypeWrite: return "WRITE";
        case WnbdReqTypeFlush: return "FLUSH";
        case WnbdReqTypeUnmap: return "UNMAP";
        case WnbdReqTypeDisconnect: return "DISCONNECT";
        case WnbdReqTypePersistResIn: return "PERSISTENT_RESERVE_IN";
        case WnbdReqTypePersistResOut: return "PERSISTENT_RESERVE_OUT";
        default: return "UNKNOWN";
    }
}

/* The outcome of a request. All zero is success. */
typedef struct {
    UINT8 ScsiStatus; /* SAM-5 status byte: 0x00 GOOD, 0x02 CHECK CONDITION */
    UINT8 SenseKey;   /* SPC-4 4.5.6; used when ScsiStatus is not GOOD */
    UINT8 ASC;
    UINT8 ASCQ;
    UINT64 Information; /* sense INFORMATION (usually an LBA), given when InformationValid */
    UINT64 ReservedCSI;
    UINT32 ReservedSKS;
    UINT32 ReservedFRU : 8;
    UINT32 InformationValid : 1;
} WNBD_STATUS, *PWNBD_STATUS;
WNBD_ASSERT_SZ_EQ(WNBD_STATUS, 32);
WNBD_ASSERT_OFFSET_EQ(WNBD_STATUS, ScsiStatus, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_STATUS, SenseKey, 1);
WNBD_ASSERT_OFFSET_EQ(WNBD_STATUS, ASC, 2);
WNBD_ASSERT_OFFSET_EQ(WNBD_STATUS, ASCQ, 3);
WNBD_ASSERT_OFFSET_EQ(WNBD_STATUS, Information, 8);
WNBD_ASSERT_OFFSET_EQ(WNBD_STATUS, ReservedCSI, 16);
WNBD_ASSERT_OFFSET_EQ(WNBD_STATUS, ReservedSKS, 24);

typedef struct {
    UINT32 SkipNegotiation : 1; /* no NBD handshake: size and flags come from WNBD_PROPERTIES */
    UINT32 Reserved : 31;
} NBD_CONNECTION_FLAGS, *PNBD_CONNECTION_FLAGS;
WNBD_ASSERT_SZ_EQ(NBD_CONNECTION_FLAGS, 4);

/* Where WnbdRunNbdDaemon finds its server. The driver stores it and shows it, no more. */
typedef struct {
    CHAR Hostname[WNBD_MAX_NAME_LENGTH];
    UINT32 PortNumber; /* 1..65535 */
    CHAR ExportName[WNBD_MAX_NAME_LENGTH];
    NBD_CONNECTION_FLAGS Flags;
    UINT8 Reserved[32];
} NBD_CONNECTION_PROPERTIES, *PNBD_CONNECTION_PROPERTIES;
WNBD_ASSERT_SZ_EQ(NBD_CONNECTION_PROPERTIES, 552);
WNBD_ASSERT_OFFSET_EQ(NBD_CONNECTION_PROPERTIES, Hostname, 0);
WNBD_ASSERT_OFFSET_EQ(NBD_CONNECTION_PROPERTIES, PortNumber, 256);
WNBD_ASSERT_OFFSET_EQ(NBD_CONNECTION_PROPERTIES, ExportName, 260);
WNBD_ASSERT_OFFSET_EQ(NBD_CONNECTION_PROPERTIES, Flags, 516);
WNBD_ASSERT_OFFSET_EQ(NBD_CONNECTION_PROPERTIES, Reserved, 520);

typedef struct {
    UINT32 ReadOnly : 1;             /* the driver refuses what would change the medium */
    UINT32 FlushSupported : 1;       /* the backend has a volatile cache and can flush it */
    UINT32 FUASupported : 1;         /* the backend honours force unit access */
    UINT32 UnmapSupported : 1;       /* the backend accepts unmap */
    UINT32 UnmapAnchorSupported : 1; /* ... with the anchor bit */
    UINT32 UseKernelNbd : 1;         /* deprecated; CREATE refuses it */
    UINT32 PersistResSupported : 1;  /* persistent reservations are forwarded */
    UINT32 NaaIdSpecified : 1;       /* NaaIdentifier is valid */
    UINT32 UseUserspaceNbd : 1;      /* informational: served by libwnbd's NBD client */
    UINT32 Reserved : 23;
} WNBD_FLAGS, *PWNBD_FLAGS;
WNBD_ASSERT_SZ_EQ(WNBD_FLAGS, 4);

typedef struct {
    UINT8 data[WNBD_NAA_ID_LENGTH];
} WNBD_NAA_ID, *PWNBD_NAA_ID;
WNBD_ASSERT_SZ_EQ(WNBD_NAA_ID, 16);

/* What a disk is. Given at CREATE; only BlockCount changes later (SET_DISK_SIZE). */
typedef struct {
    CHAR InstanceName[WNBD_MAX_NAME_LENGTH]; /* unique, not empty; compared byte by byte */
    CHAR SerialNumber[WNBD_MAX_NAME_LENGTH]; /* VPD page 80h; empty: a copy of InstanceName */
    CHAR Owner[WNBD_MAX_OWNER_LENGTH];       /* free label of the application */
    WNBD_FLAGS Flags;
    UINT64 BlockCount;        /* more than 0; BlockCount * BlockSize fits 64 bits */
    UINT32 BlockSize;         /* bytes: 512 or 4096 */
    UINT32 MaxUnmapDescCount; /* most descriptors an unmap may carry; 0 means 1 */
    INT Pid;                  /* the process that may fetch and reply; 0: the caller of CREATE */
    NBD_CONNECTION_PROPERTIES NbdProperties;
    WNBD_NAA_ID NaaIdentifier; /* VPD page 83h, with Flags.NaaIdSpecified */
    UINT8 Reserved[240];
} WNBD_PROPERTIES, *PWNBD_PROPERTIES;
WNBD_ASSERT_SZ_EQ(WNBD_PROPERTIES, 1368);
WNBD_ASSERT_OFFSET_EQ(WNBD_PROPERTIES, InstanceName, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_PROPERTIES, SerialNumber, 256);
WNBD_ASSERT_OFFSET_EQ(WNBD_PROPERTIES, Owner, 512);
WNBD_ASSERT_OFFSET_EQ(WNBD_PROPERTIES, Flags, 528);
WNBD_ASSERT_OFFSET_EQ(WNBD_PROPERTIES, BlockCount, 536);
WNBD_ASSERT_OFFSET_EQ(WNBD_PROPERTIES, BlockSize, 544);
WNBD_ASSERT_OFFSET_EQ(WNBD_PROPERTIES, MaxUnmapDescCount, 548);
WNBD_ASSERT_OFFSET_EQ(WNBD_PROPERTIES, Pid, 552);
WNBD_ASSERT_OFFSET_EQ(WNBD_PROPERTIES, NbdProperties, 556);
WNBD_ASSERT_OFFSET_EQ(WNBD_PROPERTIES, NaaIdentifier, 1108);
WNBD_ASSERT_OFFSET_EQ(WNBD_PROPERTIES, Reserved, 1124);

/*
 * Byte 0 of WNBD_PROPERTIES.Reserved: the disk's physical block is 2^n of its blocks, as READ
 * CAPACITY(16) and page B0h say. 0, which is what the reserved bytes always had to be, means that
 * both are the same; 3 makes a disk of 512-byte blocks a 512e one. A physical block is at most
 * WNBD_MAX_PHYSICAL_BLOCK_SIZE bytes: CREATE refuses more as an invalid parameter. An older driver
 * ignores the byte. Use the two functions below.
 */
#define WNBD_PHYSICAL_BLOCK_EXPONENT_OFFSET 0
#define WNBD_MAX_PHYSICAL_BLOCK_SIZE 65536

static inline void WnbdSetPhysicalBlockExponent(PWNBD_PROPERTIES Properties, UINT8 Exponent) {
    Properties->Reserved[WNBD_PHYSICAL_BLOCK_EXPONENT_OFFSET] = Exponent;
}

static inline UINT8 WnbdGetPhysicalBlockExponent(const WNBD_PROPERTIES* Properties) {
    return Properties->Reserved[WNBD_PHYSICAL_BLOCK_EXPONENT_OFFSET];
}

/*
 * The second name lacks the star and names the structure itself. Consumers were compiled against it
 * that way, so it stays.
 */
typedef struct {
    UINT32 Disconnecting : 1; /* the disk is being removed */
    UINT32 Reserved : 31;
} WNBD_CONNECTION_INFO_FLAGS, PWNBD_CONNECTION_INFO_FLAGS;
WNBD_ASSERT_SZ_EQ(WNBD_CONNECTION_INFO_FLAGS, 4);
WNBD_ASSERT_SZ_EQ(PWNBD_CONNECTION_INFO_FLAGS, 4);

/* The reply of CREATE and SHOW, an element of LIST. */
typedef struct {
    WNBD_PROPERTIES Properties;
    WNBD_CONNECTION_INFO_FLAGS ConnectionFlags;
    USHORT BusNumber; /* SCSI address: bus 0, target 0..127, lun 0 */
    USHORT TargetId;
    USHORT Lun;
    WNBD_CONNECTION_ID ConnectionId; /* 0: the driver does not tell (the first implementation) */
    INT DiskNumber;                  /* N of \\.\PhysicalDriveN; -1: not known yet */
    WCHAR PNPDeviceID[WNBD_MAX_NAME_LENGTH]; /* instance id; empty until the disk has started */
    UINT8 Reserved[124];
} WNBD_CONNECTION_INFO, *PWNBD_CONNECTION_INFO;
WNBD_ASSERT_SZ_EQ(WNBD_CONNECTION_INFO, 2032);
WNBD_ASSERT_OFFSET_EQ(WNBD_CONNECTION_INFO, Properties, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_CONNECTION_INFO, ConnectionFlags, 1368);
WNBD_ASSERT_OFFSET_EQ(WNBD_CONNECTION_INFO, BusNumber, 1372);
WNBD_ASSERT_OFFSET_EQ(WNBD_CONNECTION_INFO, TargetId, 1374);
WNBD_ASSERT_OFFSET_EQ(WNBD_CONNECTION_INFO, Lun, 1376);
WNBD_ASSERT_OFFSET_EQ(WNBD_CONNECTION_INFO, ConnectionId, 1384);
WNBD_ASSERT_OFFSET_EQ(WNBD_CONNECTION_INFO, DiskNumber, 1392);
WNBD_ASSERT_OFFSET_EQ(WNBD_CONNECTION_INFO, PNPDeviceID, 1396);
WNBD_ASSERT_OFFSET_EQ(WNBD_CONNECTION_INFO, Reserved, 1908);

/* The reply of LIST: Count elements of ElementSize bytes, in order of creation. */
typedef struct {
    UINT32 ElementSize; /* bytes */
    UINT32 Count;
    WNBD_CONNECTION_INFO Connections[1];
} WNBD_CONNECTION_LIST, *PWNBD_CONNECTION_LIST;
WNBD_ASSERT_SZ_EQ(WNBD_CONNECTION_LIST, 2040);
WNBD_ASSERT_OFFSET_EQ(WNBD_CONNECTION_LIST, ElementSize, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_CONNECTION_LIST, Count, 4);
WNBD_ASSERT_OFFSET_EQ(WNBD_CONNECTION_LIST, Connections, 8);

/* The driver's counters of one disk. Timestamps: interrupt time in 100 ns units, 0 = never. */
typedef struct {
    INT64 TotalReceivedIORequests;
    INT64 TotalSubmittedIORequests; /* handed to user space */
    INT64 TotalReceivedIOReplies;
    INT64 UnsubmittedIORequests;      /* waiting to be fetched */
    INT64 PendingSubmittedIORequests; /* fetched, not answered */
    INT64 AbortedSubmittedIORequests;
    INT64 AbortedUnsubmittedIORequests;
    INT64 CompletedAbortedIORequests; /* replies that came too late */
    INT64 OutstandingIOCount;
    UINT64 LastReceivedReqTimestamp;
    UINT64 LastSubmittedReqTimestamp;
    UINT64 LastReplyTimestamp;
    INT64 Reserved[12];
} WNBD_DRV_STATS, *PWNBD_DRV_STATS;
WNBD_ASSERT_SZ_EQ(WNBD_DRV_STATS, 192);
WNBD_ASSERT_OFFSET_EQ(WNBD_DRV_STATS, TotalReceivedIORequests, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_DRV_STATS, TotalSubmittedIORequests, 8);
WNBD_ASSERT_OFFSET_EQ(WNBD_DRV_STATS, TotalReceivedIOReplies, 16);
WNBD_ASSERT_OFFSET_EQ(WNBD_DRV_STATS, UnsubmittedIORequests, 24);
WNBD_ASSERT_OFFSET_EQ(WNBD_DRV_STATS, PendingSubmittedIORequests, 32);
WNBD_ASSERT_OFFSET_EQ(WNBD_DRV_STATS, AbortedSubmittedIORequests, 40);
WNBD_ASSERT_OFFSET_EQ(WNBD_DRV_STATS, AbortedUnsubmittedIORequests, 48);
WNBD_ASSERT_OFFSET_EQ(WNBD_DRV_STATS, CompletedAbortedIORequests, 56);
WNBD_ASSERT_OFFSET_EQ(WNBD_DRV_STATS, OutstandingIOCount, 64);
WNBD_ASSERT_OFFSET_EQ(WNBD_DRV_STATS, LastReceivedReqTimestamp, 72);
WNBD_ASSERT_OFFSET_EQ(WNBD_DRV_STATS, LastSubmittedReqTimestamp, 80);
WNBD_ASSERT_OFFSET_EQ(WNBD_DRV_STATS, LastReplyTimestamp, 88);
WNBD_ASSERT_OFFSET_EQ(WNBD_DRV_STATS, Reserved, 96);

/* One range to unmap, in blocks. Host byte order, unlike the SCSI parameter list. */
typedef struct {
    UINT64 BlockAddress;
    UINT32 BlockCount;
    UINT32 Reserved;
} WNBD_UNMAP_DESCRIPTOR, *PWNBD_UNMAP_DESCRIPTOR;
WNBD_ASSERT_SZ_EQ(WNBD_UNMAP_DESCRIPTOR, 16);
WNBD_ASSERT_OFFSET_EQ(WNBD_UNMAP_DESCRIPTOR, BlockAddress, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_UNMAP_DESCRIPTOR, BlockCount, 8);
WNBD_ASSERT_OFFSET_EQ(WNBD_UNMAP_DESCRIPTOR, Reserved, 12);

/*
 * A request as FETCH_REQ delivers it. The fetch buffer receives the payload of Write, Unmap (Count
 * descriptors) and PersistResOut (the parameter list) and is untouched for the others.
 */
typedef struct {
    UINT64 RequestHandle; /* names the request in its reply; meaningful within its disk */
    WnbdRequestType RequestType;
    union {
        struct {
            UINT64 BlockAddress;
            UINT32 BlockCount;
            UINT32 ForceUnitAccess : 1;
            UINT32 Reserved : 31;
        } Read;
        struct {
            UINT64 BlockAddress;
            UINT32 BlockCount;
            UINT32 ForceUnitAccess : 1;
            UINT32 Reserved : 31;
        } Write;
        struct {
            UINT64 BlockAddress; /* with a BlockCount of 0: from here to the end */
            UINT32 BlockCount;
            UINT32 Reserved;
        } Flush;
        struct {
            UINT32 Count; /* descriptors in the fetch buffer */
            UINT32 Anchor : 1;
            UINT32 Reserved : 31;
        } Unmap;
        struct {
            UINT8 ServiceAction;
            UINT16 AllocationLength; /* bytes the initiator takes */
        } PersistResIn;
        struct {
            UINT8 ServiceAction;
            UINT8 Scope : 4; /* the nibbles are in the reverse order of the CDB's byte */
            UINT8 Type : 4;
            UINT16 ParameterListLength; /* bytes in the fetch buffer */
        } PersistResOut;
    } Cmd;
    UINT8 Reserved[32];
} WNBD_IO_REQUEST, *PWNBD_IO_REQUEST;
WNBD_ASSERT_SZ_EQ(WNBD_IO_REQUEST, 64);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_REQUEST, RequestHandle, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_REQUEST, RequestType, 8);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_REQUEST, Cmd, 16);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_REQUEST, Cmd.Read.BlockAddress, 16);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_REQUEST, Cmd.Read.BlockCount, 24);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_REQUEST, Cmd.Write.BlockAddress, 16);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_REQUEST, Cmd.Write.BlockCount, 24);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_REQUEST, Cmd.Flush.BlockAddress, 16);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_REQUEST, Cmd.Flush.BlockCount, 24);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_REQUEST, Cmd.Flush.Reserved, 28);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_REQUEST, Cmd.Unmap.Count, 16);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_REQUEST, Cmd.PersistResIn.ServiceAction, 16);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_REQUEST, Cmd.PersistResIn.AllocationLength, 18);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_REQUEST, Cmd.PersistResOut.ServiceAction, 16);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_REQUEST, Cmd.PersistResOut.ParameterListLength, 18);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_REQUEST, Reserved, 32);

/* The answer to a request. */
typedef struct {
    UINT64 RequestHandle;        /* as fetched */
    WnbdRequestType RequestType; /* as fetched */
    WNBD_STATUS Status;
    UINT8 Reserved[32];
} WNBD_IO_RESPONSE, *PWNBD_IO_RESPONSE;
WNBD_ASSERT_SZ_EQ(WNBD_IO_RESPONSE, 80);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_RESPONSE, RequestHandle, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_RESPONSE, RequestType, 8);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_RESPONSE, Status, 16);
WNBD_ASSERT_OFFSET_EQ(WNBD_IO_RESPONSE, Reserved, 48);

typedef enum WNBD_INT_ENUM {
    WnbdOptUnknown = 0,
    WnbdOptBool = 1,
    WnbdOptInt64 = 2,
    WnbdOptWstr = 3
} WnbdOptValType;
WNBD_ASSERT_SZ_EQ(WnbdOptValType, 4);

/* A driver option's value; Type says which member of Data holds it. */
typedef struct {
    WnbdOptValType Type;
    union {
        BOOLEAN AsBool;
        INT64 AsInt64;
        WCHAR AsWstr[WNBD_MAX_NAME_LENGTH];
    } Data;
    UINT8 Reserved[64];
} WNBD_OPTION_VALUE, *PWNBD_OPTION_VALUE;
WNBD_ASSERT_SZ_EQ(WNBD_OPTION_VALUE, 584);
WNBD_ASSERT_OFFSET_EQ(WNBD_OPTION_VALUE, Type, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_OPTION_VALUE, Data, 8);
WNBD_ASSERT_OFFSET_EQ(WNBD_OPTION_VALUE, Data.AsBool, 8);
WNBD_ASSERT_OFFSET_EQ(WNBD_OPTION_VALUE, Data.AsInt64, 8);
WNBD_ASSERT_OFFSET_EQ(WNBD_OPTION_VALUE, Data.AsWstr, 8);
WNBD_ASSERT_OFFSET_EQ(WNBD_OPTION_VALUE, Reserved, 520);

typedef struct {
    WCHAR Name[WNBD_MAX_OPT_NAME_LENGTH];
    WnbdOptValType Type;
    WNBD_OPTION_VALUE Default;
    WNBD_OPTION_VALUE Value;
    UINT8 Reserved[64];
} WNBD_OPTION, *PWNBD_OPTION;
WNBD_ASSERT_SZ_EQ(WNBD_OPTION, 1368);
WNBD_ASSERT_OFFSET_EQ(WNBD_OPTION, Name, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_OPTION, Type, 128);
WNBD_ASSERT_OFFSET_EQ(WNBD_OPTION, Default, 136);
WNBD_ASSERT_OFFSET_EQ(WNBD_OPTION, Value, 720);
WNBD_ASSERT_OFFSET_EQ(WNBD_OPTION, Reserved, 1304);

typedef struct {
    UINT32 ElementSize; /* bytes */
    UINT32 Count;
    WNBD_OPTION Options[1];
} WNBD_OPTION_LIST, *PWNBD_OPTION_LIST;
WNBD_ASSERT_SZ_EQ(WNBD_OPTION_LIST, 1376);
WNBD_ASSERT_OFFSET_EQ(WNBD_OPTION_LIST, ElementSize, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_OPTION_LIST, Count, 4);
WNBD_ASSERT_OFFSET_EQ(WNBD_OPTION_LIST, Options, 8);

typedef struct {
    UINT32 Major;
    UINT32 Minor;
    UINT32 Patch;
    CHAR Description[WNBD_MAX_VERSION_STR_LENGTH];
    UINT8 Reserved[256];
} WNBD_VERSION, *PWNBD_VERSION;
WNBD_ASSERT_SZ_EQ(WNBD_VERSION, 396);
WNBD_ASSERT_OFFSET_EQ(WNBD_VERSION, Major, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_VERSION, Minor, 4);
WNBD_ASSERT_OFFSET_EQ(WNBD_VERSION, Patch, 8);
WNBD_ASSERT_OFFSET_EQ(WNBD_VERSION, Description, 12);
WNBD_ASSERT_OFFSET_EQ(WNBD_VERSION, Reserved, 140);

/* ---- Command buffers. IoControlCode is one of the IOCTL_WNBD_* numbers. ---- */

typedef struct {
    ULONG IoControlCode;
} WNBD_IOCTL_BASE_COMMAND, *PWNBD_IOCTL_BASE_COMMAND;
WNBD_ASSERT_SZ_EQ(WNBD_IOCTL_BASE_COMMAND, 4);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_BASE_COMMAND, IoControlCode, 0);

typedef WNBD_IOCTL_BASE_COMMAND WNBD_IOCTL_PING_COMMAND, WNBD_IOCTL_LIST_COMMAND,
    WNBD_IOCTL_RELOAD_CONFIG_COMMAND, WNBD_IOCTL_VERSION_COMMAND;
typedef PWNBD_IOCTL_BASE_COMMAND PWNBD_IOCTL_PING_COMMAND, PWNBD_IOCTL_LIST_COMMAND,
    PWNBD_IOCTL_RELOAD_CONFIG_COMMAND, PWNBD_IOCTL_VERSION_COMMAND;

typedef struct {
    ULONG IoControlCode;
    WNBD_PROPERTIES Properties;
    UINT8 Reserved[32];
} WNBD_IOCTL_CREATE_COMMAND, *PWNBD_IOCTL_CREATE_COMMAND;
WNBD_ASSERT_SZ_EQ(WNBD_IOCTL_CREATE_COMMAND, 1408);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_CREATE_COMMAND, IoControlCode, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_CREATE_COMMAND, Properties, 8);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_CREATE_COMMAND, Reserved, 1376);

typedef struct {
    UINT32 Reserved : 32;
} WNBD_REMOVE_COMMAND_FLAGS, *PWNBD_REMOVE_COMMAND_FLAGS;
WNBD_ASSERT_SZ_EQ(WNBD_REMOVE_COMMAND_FLAGS, 4);

/*
 * Extension over the first implementation: bytes 0..7 of Reserved hold a connection id, little
 * endian. When it is not 0 the driver removes the disk only if its connection id is the same, and
 * answers STATUS_OBJECT_NAME_NOT_FOUND otherwise. So a daemon can never remove a newer disk that
 * took over its name. An older driver ignores these bytes. Use the two functions below.
 */
#define WNBD_REMOVE_CONNECTION_ID_OFFSET 0

typedef struct {
    WNBD_REMOVE_COMMAND_FLAGS Flags;
    UINT8 Reserved[80];
} WNBD_REMOVE_COMMAND_OPTIONS, *PWNBD_REMOVE_COMMAND_OPTIONS;
WNBD_ASSERT_SZ_EQ(WNBD_REMOVE_COMMAND_OPTIONS, 84);
WNBD_ASSERT_OFFSET_EQ(WNBD_REMOVE_COMMAND_OPTIONS, Flags, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_REMOVE_COMMAND_OPTIONS, Reserved, 4);

/* Restricts a removal to one connection; 0 lifts the restriction. */
static inline void WnbdSetRemoveConnectionId(PWNBD_REMOVE_COMMAND_OPTIONS Options,
                                             WNBD_CONNECTION_ID ConnectionId) {
    for (unsigned Index = 0; Index < 8; ++Index)
        Options->Reserved[WNBD_REMOVE_CONNECTION_ID_OFFSET + Index] =
            (UINT8)((ConnectionId >> (8 * Index)) & 0xFF);
}

/* The connection a removal is restricted to, or 0. */
static inline WNBD_CONNECTION_ID WnbdGetRemoveConnectionId(
    const WNBD_REMOVE_COMMAND_OPTIONS* Options) {
    WNBD_CONNECTION_ID ConnectionId = 0;
    for (unsigned Index = 0; Index < 8; ++Index)
        ConnectionId |=
            (WNBD_CONNECTION_ID)Options->Reserved[WNBD_REMOVE_CONNECTION_ID_OFFSET + Index]
            << (8 * Index);
    return ConnectionId;
}

typedef struct {
    ULONG IoControlCode;
    CHAR InstanceName[WNBD_MAX_NAME_LENGTH];
    WNBD_REMOVE_COMMAND_OPTIONS Options;
    UINT8 Reserved[32];
} WNBD_IOCTL_REMOVE_COMMAND, *PWNBD_IOCTL_REMOVE_COMMAND;
WNBD_ASSERT_SZ_EQ(WNBD_IOCTL_REMOVE_COMMAND, 376);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_REMOVE_COMMAND, IoControlCode, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_REMOVE_COMMAND, InstanceName, 4);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_REMOVE_COMMAND, Options, 260);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_REMOVE_COMMAND, Reserved, 344);

typedef struct {
    ULONG IoControlCode;
    CHAR InstanceName[WNBD_MAX_NAME_LENGTH];
    UINT8 Reserved[32];
} WNBD_IOCTL_STATS_COMMAND, *PWNBD_IOCTL_STATS_COMMAND, WNBD_IOCTL_SHOW_COMMAND,
    *PWNBD_IOCTL_SHOW_COMMAND;
WNBD_ASSERT_SZ_EQ(WNBD_IOCTL_STATS_COMMAND, 292);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_STATS_COMMAND, IoControlCode, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_STATS_COMMAND, InstanceName, 4);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_STATS_COMMAND, Reserved, 260);

/* DataBuffer is an address of the caller's; it stays valid and untouched until the call completes.
 */
typedef struct {
    ULONG IoControlCode;
    WNBD_IO_REQUEST Request; /* out */
    WNBD_CONNECTION_ID ConnectionId;
    PVOID DataBuffer;
    UINT32 DataBufferSize; /* bytes; WNBD_DEFAULT_MAX_TRANSFER_LENGTH takes every request */
    UINT8 Reserved[32];
} WNBD_IOCTL_FETCH_REQ_COMMAND, *PWNBD_IOCTL_FETCH_REQ_COMMAND;
WNBD_ASSERT_SZ_EQ(WNBD_IOCTL_FETCH_REQ_COMMAND, 128);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_FETCH_REQ_COMMAND, IoControlCode, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_FETCH_REQ_COMMAND, Request, 8);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_FETCH_REQ_COMMAND, ConnectionId, 72);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_FETCH_REQ_COMMAND, DataBuffer, 80);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_FETCH_REQ_COMMAND, DataBufferSize, 88);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_FETCH_REQ_COMMAND, Reserved, 92);

typedef struct {
    ULONG IoControlCode;
    WNBD_CONNECTION_ID ConnectionId;
    UINT64 BlockCount;
    UINT8 Reserved[32];
} WNBD_IOCTL_SET_SIZE_COMMAND, *PWNBD_IOCTL_SET_SIZE_COMMAND;
WNBD_ASSERT_SZ_EQ(WNBD_IOCTL_SET_SIZE_COMMAND, 56);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_SET_SIZE_COMMAND, IoControlCode, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_SET_SIZE_COMMAND, ConnectionId, 8);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_SET_SIZE_COMMAND, BlockCount, 16);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_SET_SIZE_COMMAND, Reserved, 24);

/* The data buffer is read for a successful Read or PersistResIn only; short data is zero-filled. */
typedef struct {
    ULONG IoControlCode;
    WNBD_IO_RESPONSE Response;
    WNBD_CONNECTION_ID ConnectionId;
    PVOID DataBuffer;
    UINT32 DataBufferSize; /* bytes */
    UINT8 Reserved[32];
} WNBD_IOCTL_SEND_RSP_COMMAND, *PWNBD_IOCTL_SEND_RSP_COMMAND;
WNBD_ASSERT_SZ_EQ(WNBD_IOCTL_SEND_RSP_COMMAND, 144);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_SEND_RSP_COMMAND, IoControlCode, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_SEND_RSP_COMMAND, Response, 8);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_SEND_RSP_COMMAND, ConnectionId, 88);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_SEND_RSP_COMMAND, DataBuffer, 96);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_SEND_RSP_COMMAND, DataBufferSize, 104);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_SEND_RSP_COMMAND, Reserved, 108);

/* Name: only the first WNBD_MAX_OPT_NAME_LENGTH characters count, terminator included. */
typedef struct {
    ULONG IoControlCode;
    WCHAR Name[WNBD_MAX_NAME_LENGTH];
    BOOLEAN Persistent; /* GET: the stored value; RESET: forget that, too */
    UINT8 Reserved[32];
} WNBD_IOCTL_GET_DRV_OPT_COMMAND, *PWNBD_IOCTL_GET_DRV_OPT_COMMAND,
    WNBD_IOCTL_RESET_DRV_OPT_COMMAND, *PWNBD_IOCTL_RESET_DRV_OPT_COMMAND;
WNBD_ASSERT_SZ_EQ(WNBD_IOCTL_GET_DRV_OPT_COMMAND, 552);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_GET_DRV_OPT_COMMAND, IoControlCode, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_GET_DRV_OPT_COMMAND, Name, 4);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_GET_DRV_OPT_COMMAND, Persistent, 516);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_GET_DRV_OPT_COMMAND, Reserved, 517);

typedef struct {
    ULONG IoControlCode;
    WCHAR Name[WNBD_MAX_NAME_LENGTH];
    WNBD_OPTION_VALUE Value;
    BOOLEAN Persistent; /* also keep it in the registry */
    UINT8 Reserved[32];
} WNBD_IOCTL_SET_DRV_OPT_COMMAND, *PWNBD_IOCTL_SET_DRV_OPT_COMMAND;
WNBD_ASSERT_SZ_EQ(WNBD_IOCTL_SET_DRV_OPT_COMMAND, 1144);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_SET_DRV_OPT_COMMAND, IoControlCode, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_SET_DRV_OPT_COMMAND, Name, 4);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_SET_DRV_OPT_COMMAND, Value, 520);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_SET_DRV_OPT_COMMAND, Persistent, 1104);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_SET_DRV_OPT_COMMAND, Reserved, 1105);

/*
 * Extension over the first implementation: bytes 0..3 of Reserved hold a lease in milliseconds,
 * little endian; 0 is none. A lease is for NewMappingsAllowed, with Persistent FALSE and a value of
 * the type WnbdOptBool. FALSE: new mappings are refused for that long (at most
 * WNBD_MAX_OPTION_LEASE_MS), or until the adapter starts again, whatever becomes of the caller; the
 * value that was set stays underneath. TRUE: a lease ends now, however long it was. So does one
 * when the option is set or reset without a lease. Anything else: STATUS_INVALID_PARAMETER. An
 * older driver ignores these bytes. Use the two functions below.
 */
#define WNBD_OPTION_LEASE_OFFSET 0
#define WNBD_MAX_OPTION_LEASE_MS 600000

/* Limits how long a value holds; 0 lifts the limit. */
static inline void WnbdSetOptionLease(PWNBD_IOCTL_SET_DRV_OPT_COMMAND Command, UINT32 LeaseMs) {
    for (unsigned Index = 0; Index < 4; ++Index)
        Command->Reserved[WNBD_OPTION_LEASE_OFFSET + Index] =
            (UINT8)((LeaseMs >> (8 * Index)) & 0xFF);
}

/* How long a value is to hold, or 0. */
static inline UINT32 WnbdGetOptionLease(const WNBD_IOCTL_SET_DRV_OPT_COMMAND* Command) {
    UINT32 LeaseMs = 0;
    for (unsigned Index = 0; Index < 4; ++Index)
        LeaseMs |= (UINT32)Command->Reserved[WNBD_OPTION_LEASE_OFFSET + Index] << (8 * Index);
    return LeaseMs;
}

typedef struct {
    ULONG IoControlCode;
    BOOLEAN Persistent; /* only the options stored in the registry, with their stored values */
    UINT8 Reserved[32];
} WNBD_IOCTL_LIST_DRV_OPT_COMMAND, *PWNBD_IOCTL_LIST_DRV_OPT_COMMAND;
WNBD_ASSERT_SZ_EQ(WNBD_IOCTL_LIST_DRV_OPT_COMMAND, 40);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_LIST_DRV_OPT_COMMAND, IoControlCode, 0);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_LIST_DRV_OPT_COMMAND, Persistent, 4);
WNBD_ASSERT_OFFSET_EQ(WNBD_IOCTL_LIST_DRV_OPT_COMMAND, Reserved, 5);

#ifdef __cplusplus
}
#endif

#endif /* WNBD_IOCTL_H */
