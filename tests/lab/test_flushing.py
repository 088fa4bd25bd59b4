# SPDX-License-Identifier: LGPL-2.1-or-later
"""Forced writes and every kind of flush reach a backend that counts them."""
import os
import re
import tempfile
import unittest
from pathlib import Path

from tests.lab.lab import Lab
from tests.lab.servers import Nbdkit


class Flushing(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.lab.install()
        cls.work = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))

    def server(self, *filters):
        """A server whose log tells what reaches it behind the filters."""
        self.log = self.work / f"{self.id()}.log"
        return Nbdkit("memory", "8M", f"logfile={self.log}", filters=[*filters, "log"])

    def flushes(self):
        """How many flushes have arrived."""
        return len(re.findall(r" Flush id=", self.log.read_text()))

    def write_through(self, drive):
        data = self.work / "block"
        data.write_bytes(os.urandom(4096))
        self.lab.disktool("write", drive, self.lab.windows_path(data), "--offset", 8192,
                          "--unbuffered", "--write-through").check()

    def unmap(self, name, child):
        self.lab.client("unmap", name).check()
        self.assertEqual(child.wait(timeout=60), 0, child.output())

    def test_without_fua_a_forced_write_is_a_write_and_then_a_flush(self):
        with self.server("fua") as server:  # which hides that there is FUA
            child, drive = self.lab.map("no-fua", server.uri)
            shown = self.lab.client("show", "no-fua").check().stdout
            self.assertRegex(shown, r"FUASupported\s*: 0")
            before = self.flushes()
            self.write_through(drive)
            text = self.log.read_text()
            self.assertEqual(self.flushes(), before + 1, text)
            written = re.search(r" Write id=(\d+) offset=0x2000 [^\n]*fua=0", text)
            self.assertIsNotNone(written, text)
            ended = re.search(rf"Write id={written.group(1)} return=0", text)
            self.assertLess(ended.start(), text.rindex(" Flush id="), text)
            self.unmap("no-fua", child)

    def test_with_fua_it_is_one_request(self):
        with self.server() as server:
            child, drive = self.lab.map("fua", server.uri)
            before = self.flushes()
            self.write_through(drive)
            self.assertRegex(self.log.read_text(), r" Write id=\d+ offset=0x2000 [^\n]*fua=1")
            self.assertEqual(self.flushes(), before)
            self.unmap("fua", child)

    def test_srb_flush_and_shutdown_reach_the_backend(self):
        with self.server() as server:
            child, _drive = self.lab.map("flushed", server.uri)
            target = re.search(r"TargetId\s*: (\d+)",
                               self.lab.client("show", "flushed").check().stdout).group(1)
            for kind in ("flush", "shutdown"):
                before = self.flushes()
                told = self.lab.run("labctl.exe", "send", kind, 0, target, 0).check().stdout
                self.assertIn("SRB status 0x01", told)
                self.assertEqual(self.flushes(), before + 1, kind)
            self.unmap("flushed", child)


if __name__ == "__main__":
    unittest.main()
