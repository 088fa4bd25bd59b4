# SPDX-License-Identifier: LGPL-2.1-or-later
"""Linux's own disk driver, in a machine of its own, uses a disk as any other and finds its data again."""

import pathlib
import re
import tempfile
import unittest

from tests.iscsi import guest
from tests.iscsi.target import Target

FIRST = """
grep . /sys/block/sda/size /sys/block/sda/queue/logical_block_size /sys/block/sda/device/vendor
grep . /sys/block/sda/queue/discard_max_bytes /sys/block/sda/queue/write_cache
grep . /sys/block/sda/queue/fua /sys/block/sda/queue/write_zeroes_max_bytes
mkfs.ext4 -q /dev/sda
mount -t ext4 /dev/sda /mnt
dd if=/dev/urandom of=/mnt/kept bs=64k count=64 2>/dev/null
dd if=/dev/zero of=/mnt/gone bs=64k count=256 2>/dev/null
sync
rm /mnt/gone
fstrim -v /mnt
echo "sum $(sha256sum </mnt/kept)"
umount /mnt
"""

SECOND = """
mount -t ext4 /dev/sda /mnt
echo "sum $(sha256sum </mnt/kept)"
umount /mnt
dd if=/dev/urandom of=/dev/sda bs=64k seek=16 count=16 2>/dev/null
blkdiscard -o 1048576 -l 524288 /dev/sda
echo 3 >/proc/sys/vm/drop_caches
echo "trimmed $(dd if=/dev/sda bs=64k skip=16 count=8 2>/dev/null | tr -d '\\0' | wc -c)"
echo "beside $(dd if=/dev/sda bs=64k skip=24 count=8 2>/dev/null | tr -d '\\0' | wc -c)"
"""


class Guest(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def check(self, block_size):
        disk = self.folder / "disk"
        words = ("--file", disk, "--size", "256M", "--block-size", block_size)
        with Target(*words) as target:
            first = guest.boot(self.folder, target.url(), FIRST)
            # The machine is off, the target starts anew: what is found now was really written.
            self.assertEqual(target.stop(), 0, target.log())
            target.start()
            second = guest.boot(self.folder, target.url(), SECOND)
        sectors = re.search(r"(?m)/size:(\d+)$", first)[1]
        self.assertEqual(int(sectors) * 512, 256 << 20)
        self.assertIn(f"/logical_block_size:{block_size}", first)
        self.assertRegex(first, r"/vendor:WNBD")
        self.assertRegex(first, r"/write_cache:write back")
        self.assertRegex(first, r"/fua:1")
        self.assertRegex(first, r"/discard_max_bytes:[1-9]")
        self.assertRegex(first, r"/mnt: [1-9]\d{6,} bytes trimmed")
        sums = [re.search(r"(?m)^sum (\w{64})", said)[1] for said in (first, second)]
        self.assertEqual(*sums)
        self.assertRegex(second, r"(?m)^trimmed 0$")
        # Of 512 KiB at random, one byte in 256 is zero.
        self.assertGreater(int(re.search(r"(?m)^beside (\d+)$", second)[1]), 500000)
        # The image has given back what was trimmed.
        self.assertLess(disk.stat().st_blocks * 512, 64 << 20)

    def test_a_file_system_outlives_machine_and_target(self):
        self.check(512)

    def test_a_file_system_on_blocks_of_4096_bytes(self):
        self.check(4096)


if __name__ == "__main__":
    unittest.main()
