# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the first implementation got wrong at its worst, tried on the real binaries (docs/parity.md)."""
import os
import tempfile
import time
import unittest
from pathlib import Path

from tests.lab.lab import Lab
from tests.lab.servers import Nbdkit

MIB = 1 << 20
GIB = 1 << 30
BLOCK = 512


def cdb10(opcode, block, count):
    return (bytes([opcode, 0]) + block.to_bytes(4, "big") + b"\0" + count.to_bytes(2, "big")
            + b"\0").hex()


class Outcome:
    """What a passed-through command came to."""

    def __init__(self, text):
        fields = dict(line.split(":", 1) for line in text.splitlines() if ":" in line)
        self.status = int(fields["status"], 16)
        self.sense = bytes.fromhex(fields["sense"].strip())
        self.data = bytes.fromhex(fields["data"].strip())

    def codes(self):
        """Sense key, additional sense code and qualifier (fixed format)."""
        return (self.sense[2] & 0x0F, self.sense[12], self.sense[13])


class Defects(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.lab.install()
        cls.work = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))

    def scsi(self, drive, cdb, *options):
        return Outcome(self.lab.disktool("scsi", drive, cdb, *options).check().stdout)

    def write(self, drive, offset, data):
        path = self.work / "data"
        path.write_bytes(data)
        self.lab.disktool("write", drive, self.lab.windows_path(path), "--offset", offset,
                          "--unbuffered").check()

    def read(self, drive, offset, length):
        path = self.work / "back"
        self.lab.disktool("read", drive, self.lab.windows_path(path), "--offset", offset,
                          "--length", length, "--unbuffered").check()
        return path.read_bytes()

    def unmap(self, name, child):
        self.lab.client("unmap", name).check()
        self.assertEqual(child.wait(timeout=60), 0, child.output())

    def adapter_off_and_on(self):
        """Ends and begins the adapter's life; it waits for whatever still refers to it."""
        self.lab.run("labctl.exe", "disable", timeout=120).check()
        self.lab.run("labctl.exe", "enable", timeout=120).check()

    def test_a1_mappings_that_were_refused_do_not_hold_the_adapter(self):
        child, _ = self.lab.map("once", "--memory", "1M")
        self.assertNotEqual(self.lab.client("map", "once", "--memory", "1M").code, 0)
        self.lab.client("set-opt", "NewMappingsAllowed", "false").check()
        self.assertNotEqual(self.lab.client("map", "late", "--memory", "1M").code, 0)
        self.lab.client("reset-opt", "NewMappingsAllowed").check()
        self.unmap("once", child)
        self.adapter_off_and_on()

    def test_a2_an_adapter_with_three_live_disks_can_go(self):
        children = [self.lab.map(f"live{i}", "--memory", "1M")[0] for i in range(3)]
        self.adapter_off_and_on()
        for child in children:
            child.wait(timeout=60)
        self.assertEqual(len(self.lab.client("list").check().stdout.splitlines()), 1)

    def test_a3_an_unmap_of_4_gib_unmaps_4_gib(self):
        child, drive = self.lab.map("thin", "--memory", "16G")
        mark = os.urandom(BLOCK)
        inside = (0, 3 * GIB, 4 * GIB - BLOCK)
        for offset in (*inside, 4 * GIB):
            self.write(drive, offset, mark)
        descriptor = bytes(8) + (4 * GIB // BLOCK).to_bytes(4, "big") + bytes(4)
        listed = bytes([0, 22, 0, 16, 0, 0, 0, 0]) + descriptor
        answer = self.scsi(drive, bytes([0x42, 0, 0, 0, 0, 0, 0, 0, len(listed), 0]).hex(), "--out",
                           listed.hex())
        self.assertEqual(answer.status, 0)
        for offset in inside:
            self.assertEqual(self.read(drive, offset, BLOCK), bytes(BLOCK), f"at {offset}")
        self.assertEqual(self.read(drive, 4 * GIB, BLOCK), mark)
        self.unmap("thin", child)

    def test_a4_a_cdb_that_asks_for_more_than_the_buffer_is_refused(self):
        child, drive = self.lab.map("short", "--memory", "8M")
        mark = os.urandom(8 * BLOCK)
        self.write(drive, 0, mark)
        for way in ([], ["--direct"]):
            read = self.scsi(drive, cdb10(0x28, 0, 8), "--in", BLOCK, *way)
            self.assertEqual((read.status, read.codes()), (2, (0x05, 0x24, 0x00)))
            write = self.scsi(drive, cdb10(0x2A, 0, 8), "--out", (b"\x55" * BLOCK).hex(), *way)
            self.assertEqual((write.status, write.codes()), (2, (0x05, 0x24, 0x00)))
        self.assertEqual(self.read(drive, 0, len(mark)), mark)
        self.unmap("short", child)

    def test_a5_sense_information_has_its_four_bytes_and_spoils_no_neighbour(self):
        child, drive = self.lab.map("sense", "--memory", "8M")
        wrong = bytes(5) + b"\x01" + bytes(BLOCK - 6)
        compare_and_write = bytes([0x89, *bytes(12), 1, 0, 0]).hex()
        answer = self.scsi(drive, compare_and_write, "--out", (wrong + bytes(BLOCK)).hex())
        self.assertEqual((answer.status, answer.codes()), (2, (0x0E, 0x1D, 0x00)))
        self.assertEqual(answer.sense[0], 0xF0, "VALID, current, fixed format")
        self.assertEqual(answer.sense[3:7], (5).to_bytes(4, "big"), "the first byte that differs")
        self.assertEqual(answer.sense[7], 10, "the additional sense length")
        self.unmap("sense", child)

    def test_a6_a_reply_that_comes_too_late_costs_the_disk_nothing(self):
        slow = self.work / "slow"
        serve = f'if [ -e {slow} ]; then sleep 4; fi; head -c "$3" /dev/zero'
        with Nbdkit("eval", "thread_model=echo parallel", f"get_size=echo {16 * MIB}",
                    f"pread={serve}") as server:
            child, drive = self.lab.map("late", server.uri)
            slow.touch()
            given_up = self.lab.disktool("scsi", drive, cdb10(0x28, 0, 8), "--in", 8 * BLOCK,
                                         "--timeout", 1)
            slow.unlink()
            self.assertNotEqual(given_up.code, 0, given_up)
            end = time.monotonic() + 60
            while self.counter("late", "CompletedAbortedIORequests") == 0:
                self.assertLess(time.monotonic(), end, "the late reply does not come")
                time.sleep(0.2)
            self.assertEqual(self.read(drive, 0, MIB), bytes(MIB))
            self.assertIsNone(child.poll(), child.output())
            self.unmap("late", child)

    def counter(self, name, label):
        for line in self.lab.client("stats", name).check().stdout.splitlines():
            if line.split(":")[0].strip() == label:
                return int(line.split(":")[1])
        raise AssertionError(f"no {label}")

    def test_b19_answers_are_cut_to_the_buffer(self):
        child, drive = self.lab.map("cut", "--memory", "8M")
        for cdb, length in (("120000002400", 8), ("a00000000000000000100000", 4),
                            ("9e100000000000000000000000200000", 12),
                            ("12018000ff00", 3), ("1a003f00ff00", 1)):
            answer = self.scsi(drive, cdb, "--in", length)
            self.assertEqual((answer.status, len(answer.data)), (0, length), cdb)
        self.unmap("cut", child)


if __name__ == "__main__":
    unittest.main()
