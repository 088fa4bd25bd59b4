# SPDX-License-Identifier: LGPL-2.1-or-later
"""PDUs of iSCSI (RFC 7143, 11) as an initiator makes and reads them.

Nothing here is checked for sense: a test may want to send nonsense.
"""

import dataclasses
import struct

NOP_OUT, SCSI_COMMAND, TASK_MANAGEMENT, LOGIN, TEXT, DATA_OUT, LOGOUT = range(7)
SNACK = 0x10
NOP_IN, SCSI_RESPONSE, TASK_RESPONSE, LOGIN_RESPONSE, TEXT_RESPONSE, DATA_IN, LOGOUT_RESPONSE = range(
    0x20, 0x27
)
R2T, ASYNC, REJECT = 0x31, 0x32, 0x3F
IMMEDIATE = 0x40
FINAL = 0x80
NO_TAG = 0xFFFFFFFF


def _crc_table():
    table = []
    for byte in range(256):
        for _ in range(8):
            byte = byte >> 1 ^ (0x82F63B78 if byte & 1 else 0)
        table.append(byte)
    return table


_CRC = _crc_table()


def crc32c(data):
    value = 0xFFFFFFFF
    for byte in data:
        value = _CRC[(value ^ byte) & 0xFF] ^ value >> 8
    return value ^ 0xFFFFFFFF


def padding(length):
    return bytes(-length % 4)


@dataclasses.dataclass
class Pdu:
    """A header of 48 bytes by its fields. `rest` are its bytes 20 to 47."""

    opcode: int
    flags: int = FINAL
    byte2: int = 0
    byte3: int = 0
    lun: int = 0  # bytes 8 to 15: login requests and some others use them otherwise
    tag: int = NO_TAG
    rest: bytes = b""
    data: bytes = b""
    additional: bytes = b""
    length: int | None = None  # what the header claims; None: the truth

    def header(self):
        length = len(self.data) if self.length is None else self.length
        return (
            struct.pack(
                ">BBBBB3sQI",
                self.opcode,
                self.flags,
                self.byte2,
                self.byte3,
                len(self.additional) // 4,
                length.to_bytes(3, "big"),
                self.lun,
                self.tag,
            )
            + self.rest.ljust(28, b"\0")
            + self.additional
        )

    def encode(self, header_digest=False, data_digest=False):
        header = self.header()
        if header_digest:
            header += crc32c(header).to_bytes(4, "little")
        data = self.data + padding(len(self.data))
        if data and data_digest:
            data += crc32c(data).to_bytes(4, "little")
        return header + data

    def word(self, offset):
        """The 32-bit field that begins at byte `offset` of the header, from 20 up."""
        return int.from_bytes(self.rest[offset - 20 : offset - 16], "big")


def decode_header(header):
    """The PDU without its data, which is `length` bytes long."""
    opcode, flags, byte2, byte3, extra, length, lun, tag = struct.unpack(">BBBBB3sQI", header[:20])
    return extra * 4, Pdu(
        opcode=opcode & 0x3F,
        flags=flags,
        byte2=byte2,
        byte3=byte3,
        lun=lun,
        tag=tag,
        rest=header[20:48],
        length=int.from_bytes(length, "big"),
    )


def text(keys):
    """A dictionary, or bytes as they are, as a text segment."""
    if isinstance(keys, bytes):
        return keys
    return b"".join(f"{key}={value}".encode("utf-8") + b"\0" for key, value in keys.items())


def keys(data):
    pairs = (pair.partition(b"=") for pair in data.split(b"\0") if pair)
    return {key.decode(): value.decode() for key, _, value in pairs}
