# SPDX-License-Identifier: LGPL-2.1-or-later
"""A mapped disk whose NBD server is killed and started again under load stays, and its data are right; if
the server comes back with another size, Windows has that size."""
import os
import random
import re
import tempfile
import time
import unittest
from pathlib import Path

from tests.interop.servers import nbdkit
from tests.lab.lab import Lab

MIB = 1 << 20
LBA_OUT_OF_RANGE = r"(?i)sense: 70 ?00 ?05.*21 ?00"


class NbdReconnect(unittest.TestCase):
    def test_a_disk_stays_while_its_server_is_killed_and_started_again(self):
        pauses = random.Random(3)
        with nbdkit("file", "DISK", size=64 * MIB) as server, Lab() as lab:
            lab.install()
            child, drive = lab.map("survivor", server.uri(reconnect_delay="0.1"))
            load = lab.start("disktool.exe", "load", drive, "--ios", 2000, "--depth", 16)
            kills = 0
            while load.poll() is None and kills < 4:
                time.sleep(0.3 + pauses.random())
                server.kill()
                time.sleep(pauses.random())
                server.start()
                kills += 1
            # Every read of the load is compared with what was written: no I/O failed, none was wrong.
            self.assertEqual(load.wait(timeout=300), 0, load.output() + child.output())
            self.assertGreater(kills, 1, "the load was over too soon")
            self.assertIn("again", child.output())
            self.assertEqual(lab.disk_number("survivor"), drive)
            lab.client("unmap", "survivor").check()
            self.assertEqual(child.wait(timeout=60), 0, child.output())

    def test_a_disk_has_the_size_that_its_server_comes_back_with(self):
        folder = Path(self.enterContext(tempfile.TemporaryDirectory()))
        with nbdkit("file", "DISK", size=16 * MIB) as server, Lab() as lab:
            lab.install()
            child, drive = lab.map("resized", server.uri(reconnect_delay="0.1"))
            for size in (24 * MIB, 8 * MIB):
                server.kill()
                os.truncate(server.disk, size)
                server.start()
                end = time.monotonic() + 60
                while True:
                    told = lab.disktool("info", drive).check().stdout
                    if f"disk-size: {size}\n" in told:
                        break
                    self.assertLess(time.monotonic(), end, told + child.output())
                shown = lab.client("show", "resized").check().stdout
                self.assertEqual(int(re.search(r"BlockCount +: (\d+)", shown)[1]), size // 512)
                (folder / "data").write_bytes(os.urandom(4096))
                last = ("--offset", size - 4096)
                lab.disktool("write", drive, lab.windows_path(folder / "data"), *last, "--unbuffered").check()
                lab.disktool("read", drive, lab.windows_path(folder / "back"), *last, "--length", 4096).check()
                self.assertEqual((folder / "back").read_bytes(), (folder / "data").read_bytes())
                self.assertEqual(server.disk.read_bytes()[-4096:], (folder / "data").read_bytes())
                beyond = lab.disktool("scsi", drive, f"2800{size // 512:08x}00000100", "--in", 512)
                self.assertRegex(beyond.stdout, LBA_OUT_OF_RANGE)
            lab.client("unmap", "resized").check()
            self.assertEqual(child.wait(timeout=60), 0, child.output())

    def test_a_disk_whose_server_is_gone_for_good_goes(self):
        with nbdkit("file", "DISK") as server, Lab() as lab:
            lab.install()
            child, _ = lab.map("lost", server.uri(reconnect_delay="0.1", reconnect_timeout=2))
            server.kill()
            self.assertNotEqual(child.wait(timeout=60), 0)
            end = time.monotonic() + 60
            while lab.disk_number("lost") is not None:
                self.assertLess(time.monotonic(), end, "the disk outlives its server")
                time.sleep(0.2)


if __name__ == "__main__":
    unittest.main()
