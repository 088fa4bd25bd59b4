# SPDX-License-Identifier: LGPL-2.1-or-later
"""What Windows's disk class asks of a disk: trim, verification, reservations, the traits of its blocks."""
import tempfile
import unittest
from pathlib import Path

from tests.lab.lab import Lab
from tests.lab.servers import Nbdkit

MIB = 1 << 20
INVALID_PARAMETER = 87
SECTOR_NOT_FOUND = 27


class DiskClass(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.lab.install()
        cls.folder = cls.enterClassContext(tempfile.TemporaryDirectory())

    def map(self, name, *source):
        child, number = self.lab.map(name, *source)
        self.addCleanup(child.wait, timeout=30)
        self.addCleanup(lambda: self.lab.client("unmap", name).check())
        return number

    def test_a_trimmed_range_is_unmapped_and_its_neighbours_stay(self):
        log = Path(self.folder) / "nbdkit.log"
        server = Nbdkit("memory", "8M", f"logfile={log}", filters=["log"])
        self.addCleanup(server.stop)
        number = self.map("trim", server.uri)
        self.assertIn("trim: 1", self.lab.disktool("info", number).check().stdout)
        data, back = Path(self.folder) / "data", Path(self.folder) / "back"
        data.write_bytes(b"\xa5" * (8 * MIB))
        self.lab.disktool("write", number, self.lab.windows_path(data)).check()
        self.lab.disktool("trim", number, 2 * MIB, 4 * MIB).check()
        self.lab.disktool("read", number, self.lab.windows_path(back)).check()
        self.assertRegex(log.read_text(), r"Trim .*offset=0x200000 count=0x400000")
        self.assertEqual(back.read_bytes(),
                         b"\xa5" * (2 * MIB) + bytes(4 * MIB) + b"\xa5" * (2 * MIB))

    def test_a_trim_beyond_the_end_or_of_half_a_sector_is_refused(self):
        number = self.map("badtrim", "--memory", "4M")
        self.assertEqual(self.lab.disktool("trim", number, 3 * MIB, 2 * MIB).code, INVALID_PARAMETER)
        self.assertEqual(self.lab.disktool("trim", number, 100, 512).code, INVALID_PARAMETER)
        self.assertEqual(self.lab.disktool("trim", number, 512, 100).code, INVALID_PARAMETER)

    def test_a_verification_ends_at_the_end_of_the_disk(self):
        number = self.map("verify", "--memory", "4M")
        self.lab.disktool("verify", number, 0, 4 * MIB).check()
        self.assertEqual(self.lab.disktool("verify", number, 4 * MIB - 512, 1024).code,
                         SECTOR_NOT_FOUND)

    def test_a_disk_that_does_not_rotate_says_so(self):
        number = self.map("traits", "--memory", "4M")
        self.assertIn("seek-penalty: 0", self.lab.disktool("info", number).check().stdout)


if __name__ == "__main__":
    unittest.main()
