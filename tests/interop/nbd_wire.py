# SPDX-License-Identifier: LGPL-2.1-or-later
"""Where the messages of an NBD connection begin and end, for whoever sits between client and server."""

import struct
from dataclasses import dataclass

OPTIONS = {
    1: "EXPORT_NAME", 2: "ABORT", 3: "LIST", 5: "STARTTLS", 6: "INFO", 7: "GO", 8: "STRUCTURED_REPLY",
    9: "LIST_META_CONTEXT", 10: "SET_META_CONTEXT", 11: "EXTENDED_HEADERS",
}  # fmt: skip
REPLIES = {1: "ACK", 2: "SERVER", 3: "INFO", 4: "META_CONTEXT"}
COMMANDS = {
    0: "READ", 1: "WRITE", 2: "DISC", 3: "FLUSH", 4: "TRIM", 5: "CACHE", 6: "WRITE_ZEROES", 7: "BLOCK_STATUS",
}  # fmt: skip
CHUNKS = {0: "NONE", 1: "OFFSET_DATA", 2: "OFFSET_HOLE", 5: "BLOCK_STATUS", 6: "BLOCK_STATUS_EXT"}

OPTION_REPLY = struct.pack(">Q", 0x3E889045565A9)
SIMPLE, STRUCTURED, EXTENDED = 0x67446698, 0x668E33EF, 0x6E8A278C
REQUEST, EXTENDED_REQUEST = 0x25609513, 0x21E41C71
TLS_HANDSHAKE = 0x16

# A payload that goes on to the end of the connection.
ENDLESS = None


class Unparsable(Exception):
    """What came is no NBD."""


@dataclass(frozen=True)
class Unit:
    """One message: its name, its header, and how many bytes follow it."""

    name: str
    header: bytes
    payload: int | None = 0


class Conversation:
    """What the two directions of one connection must know of each other, and how each is parsed.

    `need(n)` of a direction gives its next n bytes. Whoever takes a unit moves its payload on before asking
    for the next. The two generators may run in two threads.
    """

    def __init__(self):
        self.no_zeroes = False
        self.commands = {}  # cookie: (name, length)

    def to_server(self, need):
        flags = need(4)
        self.no_zeroes = bool(flags[3] & 2)
        yield Unit("flags", flags)
        while (magic := need(4)) == b"IHAV":
            header = magic + need(12)
            option, length = struct.unpack(">8xII", header)
            yield Unit(f"option {OPTIONS.get(option, option)}", header, length)
        if magic[0] == TLS_HANDSHAKE:
            yield Unit("encrypted", magic, ENDLESS)
        while True:
            yield self._command(magic, need)
            magic = need(4)

    def _command(self, magic, need):
        found = int.from_bytes(magic, "big")
        if found not in (REQUEST, EXTENDED_REQUEST):
            raise Unparsable(f"request magic {found:#x}")
        extended = found == EXTENDED_REQUEST
        header = magic + need(28 if extended else 24)
        kind, cookie, length = struct.unpack(">6xHQ8xQ" if extended else ">6xHQ8xI", header)
        name = COMMANDS.get(kind, kind)
        self.commands[cookie] = (name, length)
        return Unit(f"command {name}", header, length if name == "WRITE" else 0)

    def to_client(self, need):
        yield Unit("greeting", need(18))
        while (start := need(8)) == OPTION_REPLY:
            header = start + need(12)
            option, kind, length = struct.unpack(">8xIII", header)
            option = OPTIONS.get(option, option)
            reply = REPLIES.get(kind, "ERROR")
            yield Unit(f"reply {option} {reply}", header, length)
            if (option, reply) == ("STARTTLS", "ACK"):
                yield Unit("encrypted", b"", ENDLESS)
            if (option, reply) == ("GO", "ACK"):
                break
        else:  # NBD_OPT_EXPORT_NAME is answered without a header
            yield Unit("export", start + need(2 if self.no_zeroes else 126))
        while True:
            yield self._reply(need)

    def _reply(self, need):
        header = need(4)
        magic = int.from_bytes(header, "big")
        if magic == SIMPLE:
            header += need(12)
            error, cookie = struct.unpack(">4xIQ", header)
            name, length = self.commands.pop(cookie, ("?", 0))
            return Unit(f"simple {'ERROR' if error else name}", header,
                        length if name == "READ" and not error else 0)  # fmt: skip
        if magic == STRUCTURED:
            header += need(16)
            kind, length = struct.unpack(">6xH8xI", header)
        elif magic == EXTENDED:
            header += need(28)
            kind, length = struct.unpack(">6xH16xQ", header)
        else:
            raise Unparsable(f"reply magic {magic:#x}")
        return Unit(f"chunk {CHUNKS.get(kind, 'ERROR')}", header, length)
