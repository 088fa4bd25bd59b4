#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records what libiscsi's conformance suite says to our target, as input of iscsi_session_fuzz.

usage: record_iscsi.py FUZZER CLIENT CORPUS [TEST...]

Runs each test of iscsi-test-cu through a relay against `CLIENT serve`, on a disk of 512-byte
blocks, one of 4096 and one that is read only, and then adds to CORPUS what FUZZER finds to be new.
"""
import asyncio
import re
import struct
import subprocess
import sys
import tempfile
from pathlib import Path

HEADER = 48
LOGIN, DATA_OUT = 0x03, 0x05
TARGET = "iqn.2026-11.org.example:disk"  # the fuzzer's
INPUT_MAX = 4096  # bytes: more is cut off
PARALLEL = 2
TEST_SECONDS = 40
# As the fuzzer's first byte has them, and for the client.
KINDS = ((0, []), (4, ["--block-size", "4096"]), (2, ["--read-only"]))


class Recording:
    """The PDUs of all connections of one test, in the order they came."""

    def __init__(self, kind):
        self.stream = bytearray([kind])
        self.connections = 0

    def connect(self):
        """Two initiators are enough: the third connection takes the first one's place."""
        peer = self.connections & 1
        if self.connections > 1:
            self.stream += bytes([peer << 7 | 0x3F, 7])
        self.connections += 1
        return peer

    def add(self, peer, pdu):
        self.stream += bytes([pdu[0] & 0x7F | peer << 7]) + pdu[1:]


class Connection:
    """One initiator's bytes, taken apart. Nothing in them is digested: the suite asks for none."""

    def __init__(self, recording):
        self.recording = recording
        self.peer = recording.connect()
        self.pending = b""
        self.command_sn = None

    def feed(self, data):
        self.pending += data
        while len(self.pending) >= HEADER:
            lengths = struct.unpack_from(">I", self.pending, 4)[0]
            segments = HEADER + (lengths >> 24) * 4
            end = segments + ((lengths & 0xFFFFFF) + 3 & ~3)
            if len(self.pending) < end:
                return
            self.take(bytearray(self.pending[:segments]),
                      self.pending[segments:segments + (lengths & 0xFFFFFF)])
            self.pending = self.pending[end:]

    def take(self, header, data):
        opcode = header[0] & 0x3F
        number = struct.unpack_from(">I", header, 24)[0]
        if opcode == LOGIN:
            self.command_sn = number
        elif opcode != DATA_OUT and self.command_sn is not None:
            off = (number - self.command_sn + 0x80000000 & 0xFFFFFFFF) - 0x80000000
            if off:  # on purpose: the fuzzer is told to leave it so
                header[24:28] = bytes([0xEE, 0, 0, max(0, min(255, off + 128))])
            elif not header[0] & 0x40:
                self.command_sn = self.command_sn + 1 & 0xFFFFFFFF
        self.recording.add(self.peer, bytes(header) + data + bytes(-len(data) % 4))


async def relay(portal, recording, reader, writer):
    host, port = portal.rsplit(":", 1)
    connection = Connection(recording)
    target_reader, target_writer = await asyncio.open_connection(host, int(port))

    async def pump(source, sink, note):
        try:
            while data := await source.read(1 << 16):
                note(data)
                sink.write(data)
                await sink.drain()
        except ConnectionError:
            pass
        finally:
            sink.close()

    await asyncio.gather(pump(reader, target_writer, connection.feed),
                         pump(target_reader, writer, lambda data: None))


async def record(kind, test, folder, client, arguments, turns):
    """One test on a disk of its own."""
    async with turns:
        target = await asyncio.create_subprocess_exec(
            client, "serve", TARGET, "--memory", "16M", "--listen", "127.0.0.1:0", *arguments,
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
        said = ""
        while not (found := re.search(r"127\.0\.0\.1:[1-9]\d*", said)):
            line = await target.stdout.readline()
            if not line:
                raise RuntimeError(f"{client} serve ended at once")
            said += line.decode()
        recording = Recording(kind)
        server = await asyncio.start_server(
            lambda r, w: relay(found[0], recording, r, w), "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        url = f"iscsi://127.0.0.1:{port}/{TARGET}/0"
        suite = await asyncio.create_subprocess_exec(
            "iscsi-test-cu", "-d", "-t", test, url, url,
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            await asyncio.wait_for(suite.wait(), TEST_SECONDS)
        except asyncio.TimeoutError:
            suite.kill()
        server.close()
        target.terminate()
        await target.wait()
        (folder / f"{test}-{kind}").write_bytes(recording.stream[:INPUT_MAX])


async def record_all(client, folder, tests):
    turns = asyncio.Semaphore(PARALLEL)
    await asyncio.gather(*(record(kind, test, folder, client, arguments, turns)
                           for kind, arguments in KINDS for test in tests))


def all_tests():
    listed = subprocess.run(["iscsi-test-cu", "-l"], capture_output=True, text=True).stdout
    return re.findall(r"^(ALL\.\w+\.\w+)$", listed, re.M)


def main():
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    fuzzer, client, corpus = sys.argv[1:4]
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(record_all(client, Path(folder), sys.argv[4:] or all_tests()))
        print(f"{len(list(Path(folder).iterdir()))} recordings")
        subprocess.run([fuzzer, "-set_cover_merge=1", f"-max_len={INPUT_MAX}", "-verbosity=0",
                        corpus, folder], check=True)


if __name__ == "__main__":
    main()
