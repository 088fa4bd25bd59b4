/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* wnbd_ioctl.h as C11 code includes it: without Windows, and in the kernel. */
#if defined(WNBD_TEST_KERNEL)
#include <ntddk.h>
#else
#include "native_types.h"
#endif
#include "wnbd_ioctl.h"
/* Twice, because consumers do. */
#include "wnbd_ioctl.h"

#ifndef WNBD_IOCTL_H
#error "the include guard's name is part of the interface"
#endif

/* Products in macros hold together in expressions. */
static_assert(100 % WNBD_DEFAULT_MAX_TRANSFER_LENGTH == 100, "parenthesised");
static_assert(WNBD_DEFAULT_MAX_TRANSFER_LENGTH == 2097152, "2 MiB");
static_assert(1 % WNBD_ABS_MAX_IO_REQ_PER_ADAPTER == 1, "parenthesised");
static_assert(WNBD_ABS_MAX_IO_REQ_PER_ADAPTER == 131072, "128 Ki");

/* The name without the star is the structure itself. */
static PWNBD_CONNECTION_INFO_FLAGS not_a_pointer;

int consume(WNBD_CONNECTION_INFO* info);
int consume(WNBD_CONNECTION_INFO* info) {
    info->ConnectionFlags = not_a_pointer;
    return WNBD_GUID.Data1 == 0x949dd17c && WnbdRequestTypeToStr(WnbdReqTypeRead)[0] == 'R';
}
