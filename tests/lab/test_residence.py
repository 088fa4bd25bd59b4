# SPDX-License-Identifier: LGPL-2.1-or-later
"""`map` of a disk from an NBD server locks all that serving it uses."""
import os
import re
import time
import unittest
from pathlib import Path

from tests.lab.lab import Lab
from tests.lab.servers import Nbdkit

# BackendDaemon: as many buffers, each for the largest request.
BUFFERS = 64 * (2 << 20)
NOTE = "could not be locked in memory"


def locked(process):
    """Bytes, by the kernel's own count."""
    status = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return int(re.search(r"^VmLck:\s+(\d+) kB", status, re.M).group(1)) * 1024


def locked_in_the_end(process, timeout=60):
    """What is locked when it has locked as much as it wants to."""
    before, now, end = -1, 0, time.monotonic() + timeout
    while (now < BUFFERS or now != before) and time.monotonic() < end:
        time.sleep(0.5)
        before, now = now, locked(process)
    return now


class Residence(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.lab.install()

    def test_the_buffers_the_program_and_its_libraries_are_locked(self):
        server = self.enterContext(Nbdkit("memory", "16M"))
        child, number = self.lab.map("remote", server.uri)
        self.assertGreater(locked_in_the_end(child), BUFFERS)
        # Serving on takes hardly any more memory, whatever is asked for.
        resident = self.resident(child)
        self.lab.disktool("load", number, "--ios", 2000, "--depth", 32, "--block", 65536).check()
        self.assertLess(self.resident(child) - resident, 4 << 20)
        self.assertNotIn(NOTE, child.output())
        self.lab.client("unmap", "remote").check()
        self.assertEqual(child.wait(timeout=30), 0, child.output())

    @staticmethod
    def resident(process):
        pages = int(Path(f"/proc/{process.pid}/statm").read_text(encoding="ascii").split()[1])
        return pages * os.sysconf("SC_PAGE_SIZE")

    def test_a_disk_of_memory_is_left_to_the_system(self):
        child, _ = self.lab.map("local", "--memory", "16M")
        time.sleep(2)
        self.assertLess(locked(child), BUFFERS)
        self.lab.client("unmap", "local").check()
        self.assertEqual(child.wait(timeout=30), 0, child.output())


if __name__ == "__main__":
    unittest.main()
