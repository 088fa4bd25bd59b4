# SPDX-License-Identifier: LGPL-2.1-or-later
"""The tests of libiscsi's suite that are skipped, and why that is right for a disk of ours.

Each entry: what the suite says, the tests it says it for, and the reason. Whatever else is skipped, and
whatever is not skipped any more, fails a test.
"""

THIRD_PARTY_COPY = "optional (SPC-4); nothing here copies between logical units"
MEDIUM = "the medium of such a disk cannot be removed"

COMMON = (
    (
        "EXTENDEDCOPY is not implemented",
        ("ExtendedCopy", "Simple ParamHdr DescrType ValidTgtDescr ValidSegDescr"),
        THIRD_PARTY_COPY,
    ),
    (
        "RECEIVECOPYRESULT is not implemented",
        ("ExtendedCopy", "DescrLimits"),
        THIRD_PARTY_COPY,
    ),
    (
        "RECEIVECOPYRESULT is not implemented",
        ("ReceiveCopyResults", "CopyStatus OpParams"),
        THIRD_PARTY_COPY,
    ),
    (
        "Logical unit is not removable",
        ("PreventAllow", "Simple Eject ITNexusLoss Logout WarmReset ColdReset LUNReset 2ITNexuses"),
        MEDIUM,
    ),
    ("Media is not removable", ("StartStopUnit", "Simple"), MEDIUM),
    (
        "WRITEATOMIC16 is not implemented",
        ("WriteAtomic16", "Simple BeyondEol ZeroBlocks WriteProtect DpoFua VPD"),
        "optional, and of SBC-4",
    ),
    (
        "--allow-sanitize flag is not set",
        (
            "Sanitize",
            "BlockErase BlockEraseReserved CryptoErase CryptoEraseReserved ExitFailureMode"
            " InvalidServiceAction Overwrite OverwriteReserved Readonly Reservations Reset",
        ),
        "optional (SBC-3), and not offered, as a test of its own sees",
    ),
    (
        "WRITESAME10 does not support 0-blocks",
        ("WriteSame10", "ZeroBlocks"),
        "WSNZ is one: the disk says that it takes no WRITE SAME up to its end",
    ),
    (
        "WRITESAME16 does not support 0-blocks",
        ("WriteSame16", "ZeroBlocks"),
        "WSNZ is one: the disk says that it takes no WRITE SAME up to its end",
    ),
)

WRITABLE = (
    (
        "Logical unit is not write-protected",
        ("ReadOnly", "ReadOnlySBC"),
        "for a read-only disk, where it runs",
    ),
)

# Physical blocks as large as the logical ones.
SMALL_BLOCKS = tuple(
    ("LBPPB < 2", tests, "for a disk with larger physical blocks, where it runs")
    for tests in (
        ("CompareAndWrite", "InvalidDataOutSize"),
        ("WriteSame10", "UnmapUnaligned InvalidDataOutSize"),
        ("WriteSame16", "UnmapUnaligned InvalidDataOutSize"),
    )
)

ONE_PATH = (
    (
        "Multipath unavailable",
        ("MultipathIO", "Simple Reset CompareAndWrite CompareAndWriteAsync"),
        "for two paths, where they run",
    ),
)


def of(*lists):
    """`Suite.Test` to what the suite says."""
    return {
        f"{suite}.{test}": says
        for entries in lists
        for says, (suite, tests), _ in entries
        for test in tests.split()
    }
