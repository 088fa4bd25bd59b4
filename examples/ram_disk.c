/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* ram_disk NAME MIB: a disk of memory. It lives until somebody removes it, or until Ctrl-C. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "wnbd.h"

#define BLOCK_SIZE 512u /* bytes */
#define MIB_MAX 65536ull

/* The disk's bytes. The driver has checked that a request lies on the disk. */
static char* place_of(PWNBD_DISK disk, UINT64 block) {
    PVOID memory = NULL;
    WnbdGetUserContext(disk, &memory);
    return (char*)memory + block * BLOCK_SIZE;
}

static void answer(PWNBD_DISK disk, WNBD_IO_RESPONSE response, void* data, UINT32 size) {
    const DWORD error = WnbdSendResponse(disk, &response, data, size);
    /* Windows may have given up on the request: no fault of the disk's. */
    if (error != ERROR_SUCCESS && error != ERROR_NOT_FOUND)
        fprintf(stderr, "ram_disk: a reply did not arrive: error %lu\n", error);
}

static VOID read_blocks(PWNBD_DISK disk, UINT64 handle, PVOID buffer, UINT64 block, UINT32 count,
                        BOOLEAN fua) {
    const WNBD_IO_RESPONSE good = {.RequestHandle = handle, .RequestType = WnbdReqTypeRead};
    (void)buffer; /* scratch space: the reply comes straight from the disk's memory */
    (void)fua;    /* nothing here is volatile to the disk */
    answer(disk, good, place_of(disk, block), count * BLOCK_SIZE);
}

static VOID write_blocks(PWNBD_DISK disk, UINT64 handle, PVOID buffer, UINT64 block, UINT32 count,
                         BOOLEAN fua) {
    const WNBD_IO_RESPONSE good = {.RequestHandle = handle, .RequestType = WnbdReqTypeWrite};
    (void)fua;
    memcpy(place_of(disk, block), buffer, (size_t)count * BLOCK_SIZE);
    answer(disk, good, NULL, 0);
}

static WNBD_INTERFACE callbacks = {.Read = read_blocks, .Write = write_blocks};

int main(int argc, char** argv) {
    WNBD_PROPERTIES properties = {.Owner = "ram_disk", .BlockSize = BLOCK_SIZE};
    const UINT64 mib = argc == 3 ? strtoull(argv[2], NULL, 10) : 0;
    if (mib == 0 || mib > MIB_MAX || strlen(argv[1]) >= sizeof(properties.InstanceName)) {
        fprintf(stderr, "usage: ram_disk NAME MIB, with at most %llu MiB\n", MIB_MAX);
        return ERROR_INVALID_PARAMETER;
    }
    strcpy(properties.InstanceName, argv[1]);
    properties.BlockCount = mib * (1024 * 1024 / BLOCK_SIZE);

    void* const memory = calloc(properties.BlockCount, BLOCK_SIZE);
    PWNBD_DISK disk = NULL;
    DWORD error = memory == NULL ? ERROR_OUTOFMEMORY : ERROR_SUCCESS;
    if (error == ERROR_SUCCESS) error = WnbdCreate(&properties, &callbacks, memory, &disk);
    if (error == ERROR_SUCCESS) error = WnbdStartDispatcher(disk, 2);
    if (error == ERROR_SUCCESS) error = WnbdWaitDispatcher(disk);
    if (error != ERROR_SUCCESS) fprintf(stderr, "ram_disk: error %lu\n", error);
    WnbdClose(disk);
    free(memory);
    return (int)error;
}
