# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reservations as Windows's programs ask for them: through \\\\.\\PhysicalDriveN, with the real driver.

Windows is one initiator, so that a conflict shows only where a key is wrong or the two kinds of
reservations meet; several initiators are tested natively (disk_reservations_test.cpp)."""
import struct
import time
import unittest

from tests.lab.lab import Lab

GOOD, CHECK_CONDITION, RESERVATION_CONFLICT = 0x00, 0x02, 0x18
READ_KEYS, READ_RESERVATION, REPORT_CAPABILITIES, READ_FULL_STATUS = range(4)
REGISTER, RESERVE, RELEASE, CLEAR, PREEMPT, PREEMPT_AND_ABORT, REGISTER_AND_IGNORE, MOVE = range(8)
ERROR_BUSY = 170  # what RESERVATION CONFLICT becomes
TYPES = (1, 3, 5, 6, 7, 8)
KEY = 0x0123456789ABCDEF


class Reservations(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab(files=[Lab._built("reservation_server.exe")]))
        cls.lab.install()

    def scsi(self, cdb, *arguments):
        """Status, sense as key/ASC/ASCQ, data."""
        done = self.lab.disktool("scsi", self.drive, cdb.hex(), "--direct", *arguments).check()
        fields = dict(line.partition(":")[::2] for line in done.stdout.splitlines())
        sense = bytes.fromhex(fields["sense"].strip())
        code = (sense[2] & 0xF, sense[12], sense[13]) if sense else None
        return int(fields["status"], 16), code, bytes.fromhex(fields["data"].strip())

    def out(self, action, kind=0, key=0, new_key=0, bits=0):
        cdb = struct.pack(">BBBHIB", 0x5F, action, kind, 0, 24, 0)
        data = struct.pack(">QQIBBH", key, new_key, 0, bits, 0, 0)
        return self.scsi(cdb, "--out", data.hex())[:2]

    def read(self, action, room=256):
        cdb = struct.pack(">BB5xHB", 0x5E, action, room, 0)
        status, sense, data = self.scsi(cdb, "--in", room)
        self.assertEqual((status, sense), (GOOD, None))
        return data

    def assert_good(self, outcome):
        self.assertEqual(outcome, (GOOD, None))

    def assert_conflict(self, outcome):
        self.assertEqual(outcome[0], RESERVATION_CONFLICT)

    def test_the_engine_keeps_them_for_a_disk_whose_storage_does_not(self):
        child, self.drive = self.lab.map("own", "--memory", "16M")
        self.assertEqual(self.read(REPORT_CAPABILITIES).hex(), "000810b0ea010000")
        self.assertEqual(self.read(READ_KEYS), bytes(8))
        self.assert_conflict(self.out(RESERVE, 1, KEY))
        self.assert_conflict(self.out(REGISTER, key=1, new_key=KEY))
        self.assert_good(self.out(REGISTER, new_key=KEY))
        self.assertEqual(self.read(READ_KEYS), struct.pack(">IIQ", 1, 8, KEY))
        for kind in TYPES:
            with self.subTest(type=kind):
                self.assert_good(self.out(RESERVE, kind, KEY))
                held = 0 if kind in (7, 8) else KEY
                self.assertEqual(self.read(READ_RESERVATION),
                                 struct.pack(">IIQ4xBBH", 1, 16, held, 0, kind, 0))
                self.assert_good(self.out(RELEASE, kind, KEY))
        self.assert_good(self.out(RESERVE, 1, KEY))
        self.assert_conflict(self.out(RELEASE, 1, KEY + 1))
        self.assertEqual(self.out(RELEASE, 3, KEY), (CHECK_CONDITION, (5, 0x26, 0x04)))
        self.assert_good(self.out(PREEMPT, 6, KEY, KEY))
        self.assertEqual(self.read(READ_RESERVATION)[21], 6)
        status = self.read(READ_FULL_STATUS)
        self.assertEqual(status[:8] + status[8:16], struct.pack(">IIQ", 2, 48, KEY))
        self.assertEqual(status[20:22], b"\x01\x06")

        # The storage stack's own ioctls come to the same end.
        told = self.lab.disktool("reserve-in", self.drive, READ_RESERVATION).check().stdout
        self.assertEqual(bytes.fromhex(told.partition(":")[2].strip()), self.read(READ_RESERVATION))
        busy = self.lab.disktool("reserve-out", self.drive, RESERVE, "--type", 1, "--key", KEY)
        self.assertEqual(busy.code, ERROR_BUSY, busy)

        # The holder's disk works on, and is told GOOD for RESERVE, which does nothing.
        load = self.lab.disktool("load", self.drive, "--ios", 200, "--region", 1 << 20)
        self.assertEqual(load.code, 0, load)
        self.assert_good(self.scsi(bytes([0x16, 0, 0, 0, 0, 0]))[:2])
        self.assert_good(self.out(REGISTER_AND_IGNORE, new_key=9))
        self.assert_good(self.out(CLEAR, key=9))
        self.assertEqual(self.read(READ_KEYS), struct.pack(">II", 4, 0))
        self.unmap("own", child)

    def test_what_capabilities_deny_is_refused(self):
        child, self.drive = self.lab.map("denied", "--memory", "16M")
        aptpl = 0x01
        self.assertEqual(self.out(REGISTER, new_key=KEY, bits=aptpl),
                         (CHECK_CONDITION, (5, 0x26, 0x00)))
        self.assertEqual(self.out(MOVE, 1, KEY), (CHECK_CONDITION, (5, 0x24, 0x00)))
        self.assertEqual(self.read(READ_KEYS), bytes(8))
        codes = self.scsi(struct.pack(">BBBBHIBB", 0xA3, 0x0C, 0, 0, 0, 4096, 0, 0), "--in", 4096)[2]
        listed = {(codes[at], int.from_bytes(codes[at + 2:at + 4], "big"))
                  for at in range(4, len(codes), 8)}
        self.assertEqual({action for code, action in listed if code == 0x5E}, set(range(4)))
        self.assertEqual({action for code, action in listed if code == 0x5F}, set(range(7)))
        self.assertLessEqual({(0x16, 0), (0x17, 0), (0x56, 0), (0x57, 0)}, listed)

        # RESERVE and RELEASE on their own, which keep persistent ones out meanwhile.
        self.assert_good(self.scsi(bytes([0x16, 0, 0, 0, 0, 0]))[:2])
        self.assert_conflict(self.out(REGISTER, new_key=KEY))
        self.assert_good(self.scsi(bytes([0x57, 0, 0, 0, 0, 0, 0, 0, 0, 0]))[:2])
        self.assert_good(self.out(REGISTER, new_key=KEY))
        self.unmap("denied", child)
        child, self.drive = self.lab.map("denied", "--memory", "16M")
        self.assertEqual(self.read(READ_KEYS), bytes(8), "they end with their disk")
        self.unmap("denied", child)

    def test_they_are_passed_on_to_a_consumer_that_keeps_them(self):
        server = self.lab.start("reservation_server.exe")
        end = time.monotonic() + 60
        while (number := self.lab.disk_number("kept")) is None or number < 0:
            self.assertLess(time.monotonic(), end, server.output())
            self.assertIsNone(server.poll(), server.output())
            time.sleep(0.2)
        self.drive = number
        self.assertEqual(self.read(READ_FULL_STATUS)[:9],
                         struct.pack(">IIB", 42, 16, READ_FULL_STATUS))
        self.assertEqual(self.read(READ_KEYS, room=10), struct.pack(">IIBx", 42, 16, 0))
        self.assert_good(self.out(REGISTER, new_key=KEY, bits=1))
        self.assert_good(self.out(RESERVE, 6, KEY))
        self.assert_conflict(self.out(RELEASE, 6, KEY))
        write = bytes([0x2A, 0, 0, 0, 0, 0, 0, 0, 1, 0])
        (self.lab.place / "block").write_bytes(bytes(512))
        self.assert_conflict(self.scsi(write, "--out-file",
                                       self.lab.windows_path(self.lab.place / "block"))[:2])
        self.assertEqual(self.scsi(bytes([0x16, 0, 0, 0, 0, 0]))[:2],
                         (CHECK_CONDITION, (5, 0x20, 0x00)))
        said = server.output().splitlines()
        key = " ".join(f"{byte:02x}" for byte in KEY.to_bytes(8, "big"))
        none = " ".join(["00"] * 8)
        self.assertIn(f"out 0 scope 0 type 0 list {none} {key} 00 00 00 00 01 00 00 00", said)
        self.assertIn(f"out 1 scope 0 type 6 list {key} {none} {none}", said)
        self.assertIn(f"out 2 scope 0 type 6 list {key} {none} {none}", said)
        self.lab.client("unmap", "kept").check()
        self.assertEqual(server.wait(timeout=30), 0, server.output())

    def unmap(self, name, child):
        self.lab.client("unmap", name).check()
        self.assertEqual(child.wait(timeout=30), 0, child.output())


if __name__ == "__main__":
    unittest.main()
