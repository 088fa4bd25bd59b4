# SPDX-License-Identifier: LGPL-2.1-or-later
"""GET LBA STATUS of disks on NBD servers: holes are told where the server tells them, and nobody waits."""

import os
import struct
import time
import unittest

from tests.interop.servers import nbd_server, nbdkit, qemu_nbd
from tests.iscsi import pdu
from tests.iscsi.burst import connect
from tests.iscsi.initiator import GOOD
from tests.iscsi.target import Target

MIB = 1 << 20
SIZE = 16 * MIB
BLOCKS = SIZE // 512
ABORT_TASK = 1
FUNCTION_COMPLETE = 0


def status_cdb(lba, length=1024):
    return struct.pack(">BBQIxx", 0x9E, 0x12, lba, length)


def runs_of(data):
    """(first block, blocks, whether it is mapped) of each descriptor."""
    length = struct.unpack(">I", data[:4])[0]
    assert length == len(data) - 4, data
    descriptors = struct.iter_unpack(">QIB3x", data[8:])
    return [(lba, blocks, kind == 0) for lba, blocks, kind in descriptors]


class LbaStatus(unittest.TestCase):
    def disk(self, *words):
        return self.enterContext(connect(self.enterContext(Target(*words))))

    @staticmethod
    def status(disk, lba=0, length=1024):
        return runs_of(disk.checked(status_cdb(lba, length), room=length).data)

    @staticmethod
    def provisioning(disk):
        """LBPME and LBPRZ."""
        data = disk.checked(struct.pack(">BBQIxx", 0x9E, 0x10, 0, 32), room=32).data
        return bool(data[14] & 0x80), bool(data[14] & 0x40)

    def test_holes_are_told_and_change_with_writes_and_unmaps(self):
        for make in (lambda: nbdkit("file", "DISK"), qemu_nbd):
            with self.subTest(), make() as server, Target(server.uri()) as target, connect(target) as disk:
                self.assertEqual(self.status(disk), [(0, BLOCKS, False)])
                disk.write(2048, os.urandom(MIB))
                around = [(0, 2048, False), (2048, 2048, True), (4096, BLOCKS - 4096, False)]
                self.assertEqual(self.status(disk), around)
                self.assertEqual(self.status(disk, 3000), [(3000, 1096, True), around[2]])
                self.assertEqual(self.status(disk, 0, 24), around[:1])
                unmap = struct.pack(">HHIQII", 22, 16, 0, 2048, 1024, 0)
                disk.checked(struct.pack(">B6xHx", 0x42, len(unmap)), write=unmap)
                self.assertEqual(self.status(disk), [(0, 3072, False), (3072, 1024, True), around[2]])
                # Trimmed bytes may read as anything over NBD, and the disk does not claim otherwise.
                self.assertEqual(self.provisioning(disk), (True, False))
                disk.logout()

    def test_blocks_are_mapped_where_the_server_cannot_tell(self):
        servers = (
            ("simple replies alone", lambda: nbd_server("trim = true")),
            ("simple replies forced", lambda: nbdkit("--no-sr", "file", "DISK")),
            ("no extents", lambda: nbdkit("--filter=noextents", "file", "DISK")),
        )
        for name, make in servers:
            with self.subTest(name), make() as server:
                disk = self.disk(server.uri())
                self.assertEqual(self.status(disk), [(0, BLOCKS, True)])
                self.assertEqual(self.provisioning(disk), (True, False))
        with self.subTest("fully provisioned"), nbdkit("-r", "file", "DISK") as server:
            disk = self.disk(server.uri())
            self.assertEqual(self.status(disk), [(0, BLOCKS, True)])
            self.assertEqual(self.provisioning(disk), (False, False))

    def test_large_blocks_are_deallocated_when_all_of_them_is(self):
        server = self.enterContext(nbdkit("file", "DISK"))
        with open(server.disk, "r+b") as disk:
            disk.seek(MIB)
            disk.write(b"x")
        disk = self.disk(server.uri(), "--block-size", 4096)
        runs = self.status(disk)
        behind = 256 + runs[1][1]
        self.assertEqual([(lba, mapped) for lba, _, mapped in runs], [(0, False), (256, True), (behind, False)])
        self.assertEqual(sum(blocks for _, blocks, _ in runs), SIZE // 4096)

    def slow_server(self):
        return self.enterContext(nbdkit("--filter=delay", "file", "DISK", "delay-extents=3"))

    def test_others_are_served_while_the_server_thinks(self):
        disk = self.disk(self.slow_server().uri())
        asked = disk.command_pdu(status_cdb(0), 1024)
        begin = time.monotonic()
        disk.send(asked)
        self.assertEqual(disk.read(0, 8), bytes(4096))
        self.assertLess(time.monotonic() - begin, 3, "the read waited for the extents")
        answer = disk.finish(asked.tag, room=1024)
        self.assertEqual(answer.status, GOOD)
        self.assertEqual(runs_of(answer.data), [(0, BLOCKS, False)])

    def test_an_abort_and_a_lost_session_are_over_when_the_server_is(self):
        target = self.enterContext(Target(self.slow_server().uri()))
        with connect(target) as disk:
            asked = disk.command_pdu(status_cdb(0), 1024)
            abort = disk.task_management_pdu(ABORT_TASK, asked.tag)
            disk.send(asked, abort)
            answer = disk.answer(asked.tag, abort.tag)
            self.assertEqual((answer.tag, answer.opcode), (abort.tag, pdu.TASK_RESPONSE))
            self.assertEqual(answer.byte2, FUNCTION_COMPLETE)
            self.assertEqual(disk.read(0, 8), bytes(4096))
            disk.send(disk.command_pdu(status_cdb(0), 1024))
            disk.cut()
        with connect(target) as disk:
            self.assertEqual(self.status(disk), [(0, BLOCKS, False)])
            disk.logout()
        self.assertEqual(target.stop(), 0, target.log())


if __name__ == "__main__":
    unittest.main()
