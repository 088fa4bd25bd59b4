#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""libwnbd.dll exports, undecorated, exactly what libwnbd.def names and wnbd.h declares.

WNBD_DLL names the file, if it is not the one that the preset `windows` builds.
"""

import os
import pathlib
import re
import subprocess
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
DLL = pathlib.Path(os.environ.get("WNBD_DLL", ROOT / "build/windows/libwnbd.dll"))
DEFINITION = ROOT / "src/libwnbd/libwnbd.def"
HEADER = ROOT / "include/wnbd.h"

# What existing programs import. It never shrinks.
FIRST_IMPLEMENTATION = set(
    """
    WnbdCreate WnbdRunNbdDaemon WnbdRemove WnbdRemoveEx WnbdSetDiskSize WnbdClose WnbdPollDiskNumber
    WnbdList WnbdShow WnbdGetUserspaceStats WnbdGetUserContext WnbdGetDriverStats WnbdSetLogger
    WnbdSetLogLevel WnbdSetSenseEx WnbdSetSense WnbdStartDispatcher WnbdStopDispatcher
    WnbdWaitDispatcher WnbdSendResponse WnbdSendResponseEx WnbdGetConnectionInfo
    WnbdGetDriverVersion WnbdGetLibVersion WnbdGetDrvOpt WnbdSetDrvOpt WnbdResetDrvOpt
    WnbdListDrvOpt WnbdInstallDriver WnbdUninstallDriver WnbdOpenAdapter WnbdResetAdapter
    WnbdResetAdapterEx WnbdGetAdapterDevInst WnbdRemoveAllDisks WnbdIoctlPing WnbdIoctlCreate
    WnbdIoctlRemove WnbdIoctlList WnbdIoctlShow WnbdIoctlStats WnbdIoctlReloadConfig
    WnbdIoctlFetchRequest WnbdIoctlSetDiskSize WnbdIoctlSendResponse WnbdIoctlGetDrvOpt
    WnbdIoctlSetDrvOpt WnbdIoctlResetDrvOpt WnbdIoctlListDrvOpt WnbdIoctlGetIOLimits
    """.split()
)
OURS = {"WnbdIoctlVersion", "WnbdRunBackendDaemon"}
# The C library is linked in, so only Windows itself may be needed.
SYSTEM_LIBRARIES = {
    "advapi32.dll", "cfgmgr32.dll", "kernel32.dll", "msvcrt.dll", "setupapi.dll", "ws2_32.dll",
    # TLS is Windows's own, too.
    "crypt32.dll", "ncrypt.dll", "secur32.dll",
}


def tables():
    listing = subprocess.run(
        ["x86_64-w64-mingw32-objdump", "-p", DLL], check=True, capture_output=True, text=True
    ).stdout
    imports = {name.lower() for name in re.findall(r"DLL Name: (\S+)", listing)}
    names = listing[listing.index("[Ordinal/Name Pointer] Table") :].split("\n\n")[0]
    return set(re.findall(r"^\s*\[\s*\d+\]\s+(\S+)$", names, re.MULTILINE)), imports


class Exports(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.exported, cls.imported = tables()

    def test_exactly_the_known_names_are_exported(self):
        self.assertEqual(self.exported, FIRST_IMPLEMENTATION | OURS)
        self.assertEqual(len(self.exported), 52)

    def test_the_definition_file_names_the_same(self):
        names = DEFINITION.read_text(encoding="ascii").split("EXPORTS")[1].split()
        self.assertEqual(set(names), self.exported)
        self.assertEqual(len(names), len(set(names)))

    def test_every_declared_function_is_exported(self):
        text = re.sub(r"/\*.*?\*/", "", HEADER.read_text(encoding="ascii"), flags=re.DOTALL)
        declared = set(re.findall(r"^(?:DWORD|VOID|void) (Wnbd\w+)\(", text, re.MULTILINE))
        self.assertEqual(declared, self.exported)

    def test_only_windows_itself_is_needed(self):
        self.assertLessEqual(self.imported, SYSTEM_LIBRARIES)


if __name__ == "__main__":
    unittest.main()
