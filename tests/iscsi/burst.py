# SPDX-License-Identifier: LGPL-2.1-or-later
"""A burst of writes of which one knows what was acknowledged, and what was flushed after that."""

import struct

from tests.iscsi import pdu
from tests.iscsi.initiator import GOOD, Disk

CHUNK = 32 << 10


def content(number, generation):
    """CHUNK bytes that no other write has, in any part of them that is as large as a block."""
    return struct.pack(">IIQ", number, generation, 0x57424E44) * (CHUNK // 16)


class Burst:
    """Chunk `number` lies at number * CHUNK. Each write of a chunk is of a later generation."""

    def __init__(self, chunks):
        self.sent = [0] * chunks  # the generation last sent
        self.acknowledged = [0] * chunks
        self.flushed = [0] * chunks

    def run(self, disk, stop, depth=16, flush_every=40, fua_every=7):
        """Writes the chunks in turn, `depth` at a time, until stop(acknowledged) says so or the
        connection ends. A flush holds for what was acknowledged before it was sent."""
        under_way = {}
        blocks = CHUNK // disk.block_size
        done = issued = 0
        while not stop(done):
            while len(under_way) < depth and (disk.max_command_sn - disk.command_sn) & 0xFFFFFFFF < 1 << 31:
                issued += 1
                if issued % flush_every == 0:
                    request = disk.command_pdu(bytes([0x35]) + bytes(9))
                    under_way[request.tag] = (None, self.acknowledged.copy())
                else:
                    number = issued % len(self.sent)
                    if any(chunk == number for chunk, _ in under_way.values()):
                        break  # two writes of one chunk at once could end in either order
                    self.sent[number] += 1
                    data = content(number, self.sent[number])
                    fua = issued % fua_every == 0
                    cdb = disk.write_cdb(number * blocks, blocks, fua)
                    request = disk.command_pdu(cdb, CHUNK, data[: self.immediate(disk)])
                    under_way[request.tag] = (number, fua)
                disk.send(request)
            answer = disk.answer(*under_way)
            number, more = under_way[answer.tag]
            if answer.opcode == pdu.R2T:
                disk.send_data(answer, content(number, self.sent[number]))
                continue
            assert answer.opcode == pdu.SCSI_RESPONSE, answer
            del under_way[answer.tag]
            if answer.byte3 != GOOD or answer.byte2:
                raise Failed(answer)
            done += 1
            if number is None:
                self.flushed = [max(pair) for pair in zip(self.flushed, more)]
            else:
                self.acknowledged[number] = self.sent[number]
                if more:
                    self.flushed[number] = self.sent[number]

    @staticmethod
    def immediate(disk):
        return min(CHUNK, int(disk.agreed.get("MaxRecvDataSegmentLength", 8192)),
                   int(disk.agreed.get("FirstBurstLength", 65536)))

    def forget_unflushed(self):
        """The storage has lost what was not flushed: no later flush can bring that back."""
        self.acknowledged = self.flushed.copy()

    def lost(self, disk, at_least):
        """Chunks of which a block is older than `at_least` has it, or was never written at all."""
        lost = []
        blocks = CHUNK // disk.block_size
        for number, oldest in enumerate(at_least):
            data = disk.read(number * blocks, blocks)
            for begin in range(0, CHUNK, disk.block_size):
                block = data[begin : begin + disk.block_size]
                generation = int.from_bytes(block[4:8], "big")
                expected = content(number, generation) if generation else bytes(CHUNK)
                if block != expected[: len(block)] or not oldest <= generation <= self.sent[number]:
                    lost.append((number, begin, oldest, self.sent[number], block[:16].hex()))
                    break
        return lost


class Failed(Exception):
    """A command of a burst ended with another status than GOOD."""

    def __init__(self, answer):
        self.status, self.response, self.sense = answer.byte3, answer.byte2, answer.data[2:]
        super().__init__(f"status {self.status:02x}, response {self.response:02x}, {self.sense.hex()}")


def connect(target, **more):
    return Disk(target.address, target.iqn, **more)
