/* SPDX-License-Identifier: LGPL-2.1-or-later */
/* The strings of the version resources. A vendor who ships an own build changes them here. */
#ifndef WNBD_VENDOR_H
#define WNBD_VENDOR_H

#define WNBD_COMPANY_STR "WNBD"
#define WNBD_FILEDESCRIPTION_STR "WNBD"
#define WNBD_PRODUCTNAME_STR "WNBD"

#endif /* WNBD_VENDOR_H */
