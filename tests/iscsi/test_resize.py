# SPDX-License-Identifier: LGPL-2.1-or-later
"""An export that comes back with another size: every initiator hears of it, and finds the new capacity."""

import os
import struct
import time
import unittest

from tests.interop.servers import StorageDaemon, nbdkit, qemu_nbd
from tests.iscsi.burst import connect
from tests.iscsi.initiator import CHECK_CONDITION, GOOD
from tests.iscsi.target import Target

MIB = 1 << 20
CAPACITY_HAS_CHANGED = 0x062A09
OUT_OF_RANGE = 0x052100


class Resize(unittest.TestCase):
    def wait_for_news(self, disk):
        """Until the target says that the capacity has changed, which it says once."""
        deadline = time.monotonic() + 60
        while (result := disk.command(bytes(6))).status == GOOD:
            self.assertLess(time.monotonic(), deadline, "nothing was said of the new size")
            time.sleep(0.05)
        self.assertEqual((result.status, result.key), (CHECK_CONDITION, CAPACITY_HAS_CHANGED), result)
        self.assertEqual(disk.command(bytes(6)).status, GOOD)

    def check_capacity(self, disk, size):
        last, block = struct.unpack(">II", disk.checked(bytes([0x25]) + bytes(9), room=8).data)
        self.assertEqual((last + 1) * block, size)
        data = disk.checked(struct.pack(">BBQIxx", 0x9E, 0x10, 0, 32), room=32).data
        self.assertEqual((struct.unpack(">Q", data[:8])[0] + 1) * 512, size)
        self.assertEqual(disk.command(disk.read_cdb(size // 512, 1), room=512).key, OUT_OF_RANGE)
        self.assertEqual(disk.command(disk.write_cdb(size // 512 - 1, 2), write=bytes(1024)).key, OUT_OF_RANGE)
        pattern = os.urandom(4096)
        disk.write(size // 512 - 8, pattern)
        self.assertEqual(disk.read(size // 512 - 8, 8), pattern)

    def grows_and_shrinks(self, server, resize):
        """`resize(bytes)` gives the server's disk another size, and takes its clients away."""
        target = self.enterContext(Target(server.uri(reconnect_delay="0.1")))
        disks = [self.enterContext(connect(target)) for _ in range(2)]
        kept = os.urandom(4096)
        disks[0].write(0, kept)
        for size in (24 * MIB, 8 * MIB, 16 * MIB):
            resize(size)
            for disk in disks:
                self.wait_for_news(disk)
                self.check_capacity(disk, size)
        # Whoever comes later is told of its power on alone.
        late = self.enterContext(connect(target))
        self.check_capacity(late, 16 * MIB)
        self.assertEqual(late.read(0, 8), kept)
        for disk in (*disks, late):
            disk.logout()
        self.assertEqual(target.stop(), 0, target.log())

    def test_a_server_that_is_started_again_with_another_size(self):
        for make in (lambda: nbdkit("file", "DISK"), qemu_nbd):
            with self.subTest(), make() as server:

                def resize(size):
                    server.kill()
                    os.truncate(server.disk, size)
                    server.start()

                self.grows_and_shrinks(server, resize)

    def test_an_export_that_is_taken_away_and_comes_back(self):
        with StorageDaemon() as server:
            self.grows_and_shrinks(server, server.resize)


if __name__ == "__main__":
    unittest.main()
