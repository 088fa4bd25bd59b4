# SPDX-License-Identifier: LGPL-2.1-or-later
"""No Windows binary of ours registers destructors of thread_local objects: GCC's emulation has freed
the objects by then (src/base/per_thread.h)."""

import subprocess
import unittest
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "build/windows"


class ThreadEnds(unittest.TestCase):
    def test_no_thread_local_object_has_a_destructor(self):
        binaries = [path for path in BUILD.rglob("*") if path.suffix in (".exe", ".dll", ".sys")]
        names = {path.name for path in binaries}
        self.assertLessEqual({"libwnbd.dll", "wnbd-client.exe", "stress.exe"}, names)
        for path in binaries:
            symbols = subprocess.run(["x86_64-w64-mingw32-nm", path], check=False, text=True,
                                     capture_output=True).stdout
            with self.subTest(path.name):
                self.assertNotIn("__cxa_thread_atexit", symbols)


if __name__ == "__main__":
    unittest.main()
