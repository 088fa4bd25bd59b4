# SPDX-License-Identifier: LGPL-2.1-or-later
"""`wnbd-client resize`: Windows sees the new size, what lies behind the end is refused, nonsense is, too."""
import os
import re
import tempfile
import unittest
from pathlib import Path

from tests.lab.lab import Lab
from tests.lab.servers import Nbdkit

MIB = 1 << 20
INVALID = 87
NO_SUCH_DISK = 2
BEHIND_THE_END = INVALID  # what Windows says of a transfer there
LBA_OUT_OF_RANGE = r"(?i)sense: 70 ?00 ?05.*21 ?00"


class Resize(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.lab.install()
        cls.work = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))

    def unmap(self, name, child):
        self.lab.client("unmap", name).check()
        self.assertEqual(child.wait(timeout=60), 0, child.output())

    def size(self, drive):
        """What Windows says without asking the disk."""
        told = self.lab.disktool("info", drive).check().stdout
        return int(re.search(r"^disk-size: (\d+)$", told, re.M).group(1))

    def write(self, drive, offset):
        data = self.work / "block"
        data.write_bytes(os.urandom(4096))
        return self.lab.disktool("write", drive, self.lab.windows_path(data), "--offset", offset,
                                 "--unbuffered"), data.read_bytes()

    def read(self, drive, offset):
        back = self.work / "back"
        done = self.lab.disktool("read", drive, self.lab.windows_path(back), "--offset", offset,
                                 "--length", 4096)
        return back.read_bytes() if done.code == 0 else done.code

    def image(self):
        """A path for a new image file."""
        return self.lab.windows_path(self.work / f"{len(list(self.work.iterdir()))}.img")

    def test_a_disk_that_shrank_refuses_what_was_behind(self):
        child, drive = self.lab.map("shrinks", "--file", self.image(), "--disk-size", "16M")
        done, data = self.write(drive, 12 * MIB)
        done.check()
        told = self.lab.client("resize", "shrinks", str(8 * MIB)).check()
        self.assertEqual(told.stdout + told.stderr, "")
        self.assertRegex(self.lab.client("show", "shrinks").check().stdout, r"BlockCount\s*: 16384")
        self.assertEqual(self.size(drive), 8 * MIB)
        self.assertEqual(self.read(drive, 12 * MIB), BEHIND_THE_END)
        # A CDB that goes past Windows's own check finds the driver's: LBA OUT OF RANGE.
        beyond = self.lab.disktool("scsi", drive, "28000000600000000100", "--in", 512)
        self.assertRegex(beyond.stdout, LBA_OUT_OF_RANGE)
        # And it can grow again to what its backend has.
        self.lab.client("resize", "shrinks", "16M").check()
        self.assertEqual(self.read(drive, 12 * MIB), data)
        self.unmap("shrinks", child)

    def test_a_disk_larger_than_its_backend_fails_there_and_goes_on(self):
        with Nbdkit("memory", "8M") as server:
            for backend in ([server.uri], ["--file", self.image(), "--disk-size", "8M"]):
                with self.subTest(backend=backend):
                    child, drive = self.lab.map("hollow", *backend)
                    self.lab.client("resize", "hollow", "16M").check()
                    self.assertEqual(self.size(drive), 16 * MIB)
                    beyond = self.lab.disktool("scsi", drive, "28000000600000000100", "--in", 512)
                    self.assertRegex(beyond.stdout, LBA_OUT_OF_RANGE)
                    self.assertNotEqual(self.write(drive, 12 * MIB)[0].code, 0)
                    done, data = self.write(drive, 4 * MIB)
                    done.check()
                    self.assertEqual(self.read(drive, 4 * MIB), data)
                    self.unmap("hollow", child)

    def test_what_is_no_size_is_refused_and_changes_nothing(self):
        child, drive = self.lab.map("same", "--memory", "8M", "--block-size", "4096")
        for size, why in (("0", "at least one block"), ("4097", "multiple of the block size, 4096"),
                          ("8388607T", None), ("9223372036854775808", "below 2^63")):
            with self.subTest(size=size):
                refused = self.lab.client("resize", "same", size).check(INVALID if why else 0)
                if why:
                    self.assertIn(why, refused.stderr)
                    self.assertEqual(len(refused.stderr.strip().splitlines()), 1)
                else:  # the largest there is: what a signed 64-bit number of bytes holds
                    self.lab.client("resize", "same", "8M").check()
        for words in (("-1",), ("8X",), ()):
            self.lab.client("resize", "same", *words).check(INVALID)
        self.assertEqual(self.size(drive), 8 * MIB)
        missing = self.lab.client("resize", "nobody", "8M").check(NO_SUCH_DISK)
        self.assertIn("Could not resize the disk 'nobody'", missing.stderr)
        self.unmap("same", child)


if __name__ == "__main__":
    unittest.main()
