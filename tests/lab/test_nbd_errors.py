# SPDX-License-Identifier: LGPL-2.1-or-later
"""What an NBD server says is wrong reaches the program that reads and writes, as Windows names it."""
import tempfile
import unittest
from pathlib import Path

from tests.lab.lab import Lab
from tests.lab.servers import Nbdkit

CRC, WRITE_PROTECT, DISK_FULL = 23, 19, 112
INVALID_FUNCTION = 1


class NbdErrors(unittest.TestCase):
    # What nbdkit's error filter says, and what ReadFile and WriteFile end with. ENOMEM is not among
    # them: Windows tries such a request again, for ten seconds, before it ends with 1117. Nor is
    # ESHUTDOWN, with which the client goes to the server's successor.
    ERRORS = {
        "EIO": (CRC, CRC),
        "EPERM": (INVALID_FUNCTION, WRITE_PROTECT),
        "ENOSPC": (DISK_FULL, DISK_FULL),
        "EINVAL": (INVALID_FUNCTION, INVALID_FUNCTION),
    }

    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.lab.install()
        cls.folder = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))

    def test_each_error_keeps_its_meaning(self):
        data = self.folder / "data"
        data.write_bytes(b"\xa5" * 4096)
        path = self.lab.windows_path(data)
        for name, (of_read, of_write) in self.ERRORS.items():
            trigger = self.folder / name
            with (self.subTest(name),
                  Nbdkit("memory", "8M", f"error={name}", "error-rate=100%", f"error-file={trigger}",
                         filters=["error"]) as server):
                child, drive = self.lab.map(name, server.uri)
                # Only now: Windows reads a new disk's partition table.
                trigger.touch()
                read = self.lab.disktool("read", drive, self.lab.windows_path(self.folder / "back"),
                                         "--offset", 0, "--length", 4096, "--unbuffered")
                write = self.lab.disktool("write", drive, path, "--offset", 4096, "--unbuffered")
                trigger.unlink()
                self.assertEqual((read.code, write.code), (of_read, of_write), (read, write))
                # It was the request's error alone: the disk goes on.
                self.lab.disktool("write", drive, path, "--offset", 4096, "--unbuffered").check()
                self.lab.client("unmap", name).check()
                self.assertEqual(child.wait(timeout=30), 0, child.output())


if __name__ == "__main__":
    unittest.main()
