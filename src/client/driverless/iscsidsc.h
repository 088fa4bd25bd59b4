// SPDX-License-Identifier: LGPL-2.1-or-later
// mingw-w64's <iscsidsc.h>, which needs help: it lacks a constant, and names two structures alike.
#pragma once

#include <windows.h>

#include <winioctl.h>

// iscsidsc.h of the Windows SDK: bytes of an iSCSI name (RFC 7143, 4.2.7.2).
#define MAX_ISCSI_NAME_LEN 223

// Of ISCSI_TARGET_PORTAL_INFO_EX there are an A and a W form, both under this one name. Neither is
// used here; each gets a name of its own, and what refers to them gets a declaration.
struct _ISCSI_TARGET_PORTAL_INFO_EXA;
struct _ISCSI_TARGET_PORTAL_INFO_EXW;
using PISCSI_TARGET_PORTAL_INFO_EXA = _ISCSI_TARGET_PORTAL_INFO_EXA*;
using PISCSI_TARGET_PORTAL_INFO_EXW = _ISCSI_TARGET_PORTAL_INFO_EXW*;
#define WNBD_JOINED_(name, number) name##number
#define WNBD_JOINED(name, number) WNBD_JOINED_(name, number)
#define ISCSI_TARGET_PORTAL_INFO_EX WNBD_JOINED(portal_info_ex_, __COUNTER__)
#define PISCSI_TARGET_PORTAL_INFO_EX WNBD_JOINED(portal_info_ex_pointer_, __COUNTER__)
#pragma push_macro("__MINGW_TYPEDEF_AW")
#undef __MINGW_TYPEDEF_AW
#define __MINGW_TYPEDEF_AW(name)

#include <iscsidsc.h>

#pragma pop_macro("__MINGW_TYPEDEF_AW")
#undef PISCSI_TARGET_PORTAL_INFO_EX
#undef ISCSI_TARGET_PORTAL_INFO_EX
#undef WNBD_JOINED
#undef WNBD_JOINED_
