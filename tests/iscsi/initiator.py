# SPDX-License-Identifier: LGPL-2.1-or-later
"""A small iSCSI initiator that can also misbehave: each PDU can be made by hand, and the socket is open
to everybody. One connection a session, error recovery level 0.
"""

import dataclasses
import hashlib
import hmac
import itertools
import os
import random
import socket
import struct

from tests.iscsi import pdu
from tests.iscsi.pdu import FINAL, IMMEDIATE, NO_TAG, Pdu

GOOD, CHECK_CONDITION, BUSY, RESERVATION_CONFLICT = 0x00, 0x02, 0x08, 0x18
INITIATOR = "iqn.2026-11.org.example:tester"

SECURITY, OPERATIONAL, FULL_FEATURE = 0, 1, 3


class Closed(Exception):
    """The target has closed the connection."""


class LoginRefused(Exception):
    def __init__(self, status):
        super().__init__(f"login status {status:04x}")
        self.status = status


@dataclasses.dataclass
class Result:
    status: int
    data: bytes = b""
    sense: bytes = b""
    residual: int = 0  # negative: overflow
    response: int = 0  # iSCSI's own, not 0: the target could not run the command

    @property
    def key(self):
        """Sense key, ASC and ASCQ of fixed format as one number, or None."""
        if len(self.sense) < 14 or self.sense[0] & 0x7F not in (0x70, 0x71):
            return None
        return (self.sense[2] & 0xF) << 16 | self.sense[12] << 8 | self.sense[13]


@dataclasses.dataclass
class Credentials:
    """CHAP: the initiator's name and secret and, to have the target prove itself, the target's."""

    name: str
    secret: str
    target_name: str | None = None
    target_secret: str | None = None


def chap_response(identifier, secret, challenge):
    return hashlib.md5(bytes([identifier]) + secret.encode() + challenge).hexdigest()


class Wire:
    """A connection that knows PDUs and nothing else."""

    def __init__(self, address, timeout=30):
        self.socket = socket.create_connection(address, timeout=timeout)
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.peer = "{}:{}".format(*self.socket.getsockname())  # as the target calls it
        self.header_digest = self.data_digest = False

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()

    def close(self):
        self.socket.close()

    def cut(self):
        """Ends the connection by a reset, as a host does that has died."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.socket.close()

    def send(self, *pdus):
        """PDUs or raw bytes, in one piece."""
        self.send_bytes(
            b"".join(
                one if isinstance(one, bytes) else one.encode(self.header_digest, self.data_digest)
                for one in pdus
            )
        )

    def send_bytes(self, data):
        try:
            self.socket.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            # Why is known to the one who reads next.
            pass

    def _exactly(self, count):
        data = bytearray()
        while len(data) < count:
            try:
                some = self.socket.recv(count - len(data))
            except ConnectionResetError:
                some = b""
            if not some:
                raise Closed(f"in a PDU, after {len(data)} bytes" if data else "between PDUs")
            data += some
        return bytes(data)

    def receive(self):
        header = self._exactly(48)
        extra, received = pdu.decode_header(header)
        received.additional = self._exactly(extra)
        if self.header_digest:
            assert self._exactly(4) == pdu.crc32c(header).to_bytes(4, "little"), "header digest"
        padded = self._exactly(received.length + -received.length % 4)
        received.data = padded[: received.length]
        if padded and self.data_digest:
            assert self._exactly(4) == pdu.crc32c(padded).to_bytes(4, "little"), "data digest"
        return received

    def closed_by_target(self):
        """True once the target has closed the connection; what it still sends is skipped."""
        try:
            while self.socket.recv(1 << 16):
                pass
        except ConnectionResetError:
            pass
        except TimeoutError:
            return False
        return True


class Session(Wire):
    """A session from login to logout. Numbers are kept as the RFC asks; tests may set them wrong."""

    def __init__(
        self,
        address,
        target=None,
        initiator=INITIATOR,
        isid=None,
        tsih=0,
        credentials=None,
        keys=None,
        lun=0,
        timeout=30,
    ):
        super().__init__(address, timeout)
        self.target = target
        self.initiator = initiator
        self.isid = isid or b"\x80" + random.randbytes(5)
        self.tsih = tsih
        self.lun = lun << 48
        self.command_sn = random.getrandbits(32)
        self.max_command_sn = self.command_sn
        self.expected_status_sn = 0
        self.tags = itertools.count(1)
        self.agreed = {}
        self.unsolicited = []  # what the target said unasked: NOP-In, async messages
        try:
            self.login(credentials, dict(keys or {}))
        except BaseException:
            self.close()
            raise

    # --- Login.

    def login_pdu(self, stage, following, keys, continues=False):
        flags = stage << 2 | (0 if continues or following is None else FINAL | following)
        return Pdu(
            pdu.LOGIN | IMMEDIATE,
            flags | (0x40 if continues else 0),
            lun=int.from_bytes(self.isid, "big") << 16 | self.tsih,
            tag=1,
            rest=struct.pack(">HxxII", 0, self.command_sn, self.expected_status_sn),
            data=pdu.text(keys),
        )

    def login_step(self, stage, following, keys):
        """Sends a login request; the flags and keys of the answer."""
        self.send(self.login_pdu(stage, following, keys))
        answer = self.receive()
        assert answer.opcode == pdu.LOGIN_RESPONSE, answer
        self.expected_status_sn = answer.word(24) + 1
        self.max_command_sn = answer.word(32)
        status = int.from_bytes(answer.rest[16:18], "big")
        if status:
            raise LoginRefused(status)
        self.tsih = answer.lun & 0xFFFF
        self.agreed.update(pdu.keys(answer.data))
        return answer.flags, pdu.keys(answer.data)

    def login(self, credentials, keys):
        names = {"InitiatorName": self.initiator}
        if self.target:
            names.update({"SessionType": "Normal", "TargetName": self.target})
        else:
            names["SessionType"] = "Discovery"
        if credentials is None:
            flags, _ = self.login_step(SECURITY, OPERATIONAL, {**names, "AuthMethod": "None"})
        else:
            flags = self.chap(credentials, names)
        if flags & 3 != FULL_FEATURE:
            flags, _ = self.login_step(OPERATIONAL, FULL_FEATURE, keys)
        assert flags & (FINAL | 3) == FINAL | FULL_FEATURE, f"login goes on: {flags:02x}"
        self.header_digest = self.agreed.get("HeaderDigest") == "CRC32C"
        self.data_digest = self.agreed.get("DataDigest") == "CRC32C"
        self.command_sn_seen = self.command_sn

    def chap(self, credentials, names):
        self.login_step(SECURITY, None, {**names, "AuthMethod": "CHAP"})
        _, asked = self.login_step(SECURITY, None, {"CHAP_A": "5"})
        challenge = bytes.fromhex(asked["CHAP_C"].removeprefix("0x"))
        identifier = int(asked["CHAP_I"], 0)
        proof = {
            "CHAP_N": credentials.name,
            "CHAP_R": "0x" + chap_response(identifier, credentials.secret, challenge),
        }
        own = os.urandom(16)
        if credentials.target_name:
            proof.update({"CHAP_I": "77", "CHAP_C": "0x" + own.hex()})
        flags, answer = self.login_step(SECURITY, OPERATIONAL, proof)
        if credentials.target_name:
            expected = chap_response(77, credentials.target_secret, own)
            assert answer["CHAP_N"] == credentials.target_name, answer
            assert hmac.compare_digest(answer["CHAP_R"].removeprefix("0x").lower(), expected), answer
        return flags

    # --- The full feature phase.

    def take(self, received):
        """Keeps the numbers that every answer carries."""
        if received.opcode not in (pdu.DATA_IN, pdu.R2T) or (
            received.opcode == pdu.DATA_IN and received.flags & 1
        ):
            self.expected_status_sn = received.word(24) + 1
        self.max_command_sn = received.word(32)
        return received

    def answer(self, *tags):
        """The next PDU; what the target says unasked is answered and set aside."""
        while True:
            received = self.take(self.receive())
            if received.opcode in (pdu.NOP_IN, pdu.ASYNC) and received.tag not in tags:
                self.unsolicited.append(received)
                if received.opcode == pdu.NOP_IN and received.word(20) != NO_TAG:
                    self.send(self.nop_pdu(NO_TAG, target_tag=received.word(20), immediate=True))
                continue
            return received

    def numbers(self, immediate=False):
        command_sn = self.command_sn
        if not immediate:
            self.command_sn = self.command_sn + 1 & 0xFFFFFFFF
        return struct.pack(">II", command_sn, self.expected_status_sn & 0xFFFFFFFF)

    def command_pdu(self, cdb, expected=0, write=None, tag=None, more=False):
        """`write` is the immediate data; with `more`, unsolicited data follows."""
        flags = 0 if more else FINAL
        flags |= 0x20 if write is not None else 0x40 if expected else 0
        return Pdu(
            pdu.SCSI_COMMAND,
            flags | 1,  # simple
            lun=self.lun,
            tag=next(self.tags) if tag is None else tag,
            rest=struct.pack(">I", expected) + self.numbers() + bytes(cdb).ljust(16, b"\0"),
            data=write or b"",
        )

    def data_out_pdu(self, tag, target_tag, data, offset, number=0, final=True):
        return Pdu(
            pdu.DATA_OUT,
            FINAL if final else 0,
            lun=self.lun if target_tag != NO_TAG else 0,
            tag=tag,
            rest=struct.pack(
                ">IIIIII", target_tag, 0, self.expected_status_sn & 0xFFFFFFFF, 0, number, offset
            ),
            data=data,
        )

    def nop_pdu(self, tag=None, target_tag=NO_TAG, data=b"", immediate=False):
        return Pdu(
            pdu.NOP_OUT | (IMMEDIATE if immediate else 0),
            tag=next(self.tags) if tag is None else tag,
            rest=struct.pack(">I", target_tag) + self.numbers(immediate),
            data=data,
        )

    def task_management_pdu(self, function, referenced=NO_TAG, lun=None):
        return Pdu(
            pdu.TASK_MANAGEMENT | IMMEDIATE,
            FINAL | function,
            lun=self.lun if lun is None else lun,
            tag=next(self.tags),
            rest=struct.pack(">I", referenced) + self.numbers(immediate=True),
        )

    def text_pdu(self, keys, target_tag=NO_TAG, tag=None, continues=False):
        return Pdu(
            pdu.TEXT,
            0x40 if continues else FINAL,
            tag=next(self.tags) if tag is None else tag,
            rest=struct.pack(">I", target_tag) + self.numbers(),
            data=pdu.text(keys),
        )

    def logout_pdu(self, reason=0):
        return Pdu(
            pdu.LOGOUT | IMMEDIATE,
            FINAL | reason,
            tag=next(self.tags),
            rest=struct.pack(">HH", 0, 0) + self.numbers(immediate=True),
        )

    def send_data(self, asked, data):
        """Answers an R2T."""
        offset, length = asked.word(40), asked.word(44)
        segment = int(self.agreed.get("MaxRecvDataSegmentLength", 8192))
        for number, begin in enumerate(range(offset, offset + length, segment)):
            piece = data[begin : min(begin + segment, offset + length)]
            final = begin + len(piece) == offset + length
            self.send(self.data_out_pdu(asked.tag, asked.word(20), piece, begin, number, final))

    def finish(self, tag, data=b"", room=0):
        """Sees a command through to its status; `data` is what R2Ts ask for."""
        received = bytearray(room)
        filled = 0
        while True:
            answer = self.answer(tag)
            assert answer.tag == tag, f"expected an answer to {tag}: {answer}"
            if answer.opcode == pdu.R2T:
                self.send_data(answer, data)
                continue
            residual = 0
            if answer.opcode == pdu.DATA_IN:
                offset = answer.word(40)
                received[offset : offset + len(answer.data)] = answer.data
                filled = max(filled, offset + len(answer.data))
                if not answer.flags & 1:
                    continue
            else:
                assert answer.opcode == pdu.SCSI_RESPONSE, answer
            if answer.flags & 6:
                residual = answer.word(44) if answer.flags & 2 else -answer.word(44)
            sense = answer.data[2:] if answer.opcode == pdu.SCSI_RESPONSE else b""
            response = answer.byte2 if answer.opcode == pdu.SCSI_RESPONSE else 0
            return Result(answer.byte3, bytes(received[:filled]), sense, residual, response)

    def command(self, cdb, write=None, room=0, immediate=True):
        """One command from beginning to end."""
        if write is None:
            request = self.command_pdu(cdb, room)
            self.send(request)
            return self.finish(request.tag, room=room)
        allowed = 0
        if immediate and self.agreed.get("ImmediateData", "Yes") == "Yes":
            first = int(self.agreed.get("FirstBurstLength", 65536))
            allowed = min(first, int(self.agreed.get("MaxRecvDataSegmentLength", 8192)))
        request = self.command_pdu(cdb, len(write), write[:allowed])
        self.send(request)
        return self.finish(request.tag, write)

    def logout(self):
        self.send(self.logout_pdu())
        answer = self.answer()
        assert answer.opcode == pdu.LOGOUT_RESPONSE and answer.byte2 == 0, answer
        self.close()


class Disk(Session):
    """A session in terms of blocks."""

    def __init__(self, address, target, check=True, **more):
        super().__init__(address, target, **more)
        self.block_size = 512
        if not check:
            return
        # Each unit attention is told once.
        for _ in range(8):
            if self.command(bytes(6)).status == GOOD:
                break
        capacity = self.checked(bytes([0x25]) + bytes(9), room=8).data
        self.last, self.block_size = struct.unpack(">II", capacity)

    def checked(self, cdb, **more):
        result = self.command(cdb, **more)
        assert result.status == GOOD and not result.response, f"{bytes(cdb).hex()}: {result}"
        return result

    @staticmethod
    def write_cdb(lba, blocks, fua=False):
        return struct.pack(">BBQIxx", 0x8A, 8 if fua else 0, lba, blocks)

    @staticmethod
    def read_cdb(lba, blocks):
        return struct.pack(">BBQIxx", 0x88, 0, lba, blocks)

    def write(self, lba, data, fua=False, **more):
        cdb = self.write_cdb(lba, len(data) // self.block_size, fua)
        return self.checked(cdb, write=data, **more)

    def read(self, lba, blocks):
        return self.checked(self.read_cdb(lba, blocks), room=blocks * self.block_size).data

    def flush(self):
        return self.checked(bytes([0x35]) + bytes(9))
