// SPDX-License-Identifier: LGPL-2.1-or-later
// A disk whose storage keeps persistent reservations: says what it was asked, and answers in a way
// that tells whether each field arrived. Runs until it is killed or its disk removed.
#include <windows.h>

#include <stdio.h>
#include <string.h>

#include "wnbd.h"

static void answer(PWNBD_DISK disk, UINT64 handle, WnbdRequestType type, UINT8 scsi_status,
                   void* data, UINT32 length) {
    WNBD_IO_RESPONSE response;
    memset(&response, 0, sizeof response);
    response.RequestHandle = handle;
    response.RequestType = type;
    response.Status.ScsiStatus = scsi_status;
    WnbdSendResponse(disk, &response, data, length);
}

static VOID serve_read(PWNBD_DISK disk, UINT64 handle, PVOID buffer, UINT64 address, UINT32 count,
                       BOOLEAN force_unit_access) {
    (void)address;
    (void)force_unit_access;
    memset(buffer, 0, count * 512U);
    answer(disk, handle, WnbdReqTypeRead, 0, buffer, count * 512U);
}

static VOID serve_write(PWNBD_DISK disk, UINT64 handle, PVOID buffer, UINT64 address, UINT32 count,
                        BOOLEAN force_unit_access) {
    (void)buffer;
    (void)address;
    (void)count;
    (void)force_unit_access;
    answer(disk, handle, WnbdReqTypeWrite, 0x18, NULL, 0);  // RESERVATION CONFLICT
}

static VOID serve_in(PWNBD_DISK disk, UINT64 handle, UINT8 action) {
    UINT8 data[24] = {0, 0, 0, 42, 0, 0, 0, 16};
    data[8] = action;
    printf("in %u\n", action);
    fflush(stdout);
    answer(disk, handle, WnbdReqTypePersistResIn, 0, data, sizeof data);
}

static VOID serve_out(PWNBD_DISK disk, UINT64 handle, UINT8 action, UINT8 scope, UINT8 type,
                      PVOID buffer, UINT32 length) {
    printf("out %u scope %u type %u list", action, scope, type);
    for (UINT32 i = 0; i < length; ++i)
        printf(" %02x", ((UINT8*)buffer)[i]);
    printf("\n");
    fflush(stdout);
    answer(disk, handle, WnbdReqTypePersistResOut, action == 2 ? 0x18 : 0, NULL, 0);
}

int main(void) {
    static WNBD_INTERFACE served_by = {serve_read, serve_write, NULL,  NULL,
                                       serve_in,   serve_out,   {NULL}};
    WNBD_PROPERTIES properties;
    PWNBD_DISK disk = NULL;
    memset(&properties, 0, sizeof properties);
    strcpy(properties.InstanceName, "kept");
    properties.BlockCount = 2048;
    properties.BlockSize = 512;
    properties.Flags.PersistResSupported = 1;
    DWORD error = WnbdCreate(&properties, &served_by, NULL, &disk);
    if (error == ERROR_SUCCESS) error = WnbdStartDispatcher(disk, 1);
    if (error == ERROR_SUCCESS) error = WnbdWaitDispatcher(disk);
    return (int)error;
}
