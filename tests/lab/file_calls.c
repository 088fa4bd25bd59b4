/* SPDX-License-Identifier: LGPL-2.1-or-later */
/*
 * Two file calls as the lab needs them, for a program built with
 * -DDeviceIoControl=LabDeviceIoControl and -DFlushFileBuffers=LabFlushFileBuffers. Wine has no
 * FSCTL_SET_ZERO_DATA: this one writes zeroes, which is what NTFS does in a file that is not
 * sparse. A flush leaves no trace that another program could see: this one says that it was called.
 * Everything else goes to the system.
 */
#undef FlushFileBuffers
#undef DeviceIoControl
#include <windows.h>

#include <stdio.h>
#include <stdlib.h>
#include <winioctl.h>

static DWORD write_zeroes(HANDLE file, const FILE_ZERO_DATA_INFORMATION* range) {
    const UINT64 from = (UINT64)range->FileOffset.QuadPart;
    const DWORD size = (DWORD)(range->BeyondFinalZero.QuadPart - range->FileOffset.QuadPart);
    void* const zeroes = calloc(1, size);
    OVERLAPPED at = {.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL)};
    at.Offset = (DWORD)from;
    at.OffsetHigh = (DWORD)(from >> 32);
    DWORD moved = 0;
    BOOL good = WriteFile(file, zeroes, size, NULL, &at) || GetLastError() == ERROR_IO_PENDING;
    good = good && GetOverlappedResult(file, &at, &moved, TRUE) && moved == size;
    const DWORD error = good ? ERROR_SUCCESS : GetLastError();
    CloseHandle(at.hEvent);
    free(zeroes);
    return error;
}

static BOOL WINAPI control(HANDLE file, DWORD code, void* input, DWORD input_size, void* output,
                           DWORD output_size, DWORD* returned, OVERLAPPED* overlapped) {
    if (code != FSCTL_SET_ZERO_DATA)
        return DeviceIoControl(file, code, input, input_size, output, output_size, returned,
                               overlapped);
    if (input_size != sizeof(FILE_ZERO_DATA_INFORMATION) || overlapped == NULL) {
        SetLastError(ERROR_INVALID_PARAMETER);
        return FALSE;
    }
    const DWORD error = write_zeroes(file, input);
    if (error != ERROR_SUCCESS) {
        SetLastError(error);
        return FALSE;
    }
    /* Done, as the system leaves it: no bytes moved, the event signalled. */
    overlapped->Internal = 0;
    overlapped->InternalHigh = 0;
    SetEvent(overlapped->hEvent);
    return TRUE;
}

static BOOL WINAPI flush(HANDLE file) {
    fprintf(stderr, "lab: flush\n");
    return FlushFileBuffers(file);
}

/* What calls through the import table find. */
BOOL(WINAPI* __imp_LabFlushFileBuffers)(HANDLE) = flush;
BOOL(WINAPI* __imp_LabDeviceIoControl)
(HANDLE, DWORD, void*, DWORD, void*, DWORD, DWORD*, OVERLAPPED*) = control;
