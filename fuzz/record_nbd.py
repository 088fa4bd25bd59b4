#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Records what real servers say to the fuzzer's session, as input of nbd_fuzz.

usage: record_nbd.py FUZZER RECORDER CORPUS

Runs RECORDER (nbd_record) against nbdkit, qemu-nbd and nbd-server in many ways, and then adds to
CORPUS what FUZZER (nbd_fuzz) finds to be new.
"""
import struct
import subprocess
import sys
import tempfile
import time
from pathlib import Path

MEBIBYTE = 1 << 20
EXTENDED = 5  # a plan's first byte: extended replies, and no negotiation
OFFSETS = {1: 4096, 2: 8192, 5: 4 * MEBIBYTE, 7: 2 * MEBIBYTE, 8: 4096, 10: 65536, 12: 16384}
# Plans (nbd_session.h): goals, TLS asked for or not, extensions; and which requests are in flight.
GOALS = (1, 2, 3)
FEATURES = (0x00, 0x20, 0x40, 0x60, 0x80, 0xE0)
TLS_PREFERRED = 1 << 3
SMALL, LARGE, ALL = 0x0DFF, 0x0208, 0x1FFF
PLANS = (
    [(features, SMALL) for features in FEATURES]
    + [(features | TLS_PREFERRED, LARGE) for features in (0x00, 0x60)]
    + [(0, ALL)] + [(0, 1 << job) for job in range(13)]
    + [(goal << 1, 0) for goal in GOALS]
    + [(goal << 1 | 0x60, 0) for goal in GOALS])


def plans():
    for first, jobs in PLANS:
        yield bytes([first, jobs & 0xFF, jobs >> 8, 0])


def sparse_disk(folder):
    """8 GiB with some bytes of data where the session reads."""
    path = folder / "disk"
    with open(path, "wb") as disk:
        disk.truncate(8192 * MEBIBYTE)
        for start, length in ((0, 4096), (65536 - 512, 700), (32768, 16384), (3 * MEBIBYTE, 4096)):
            disk.seek(start)
            disk.write(bytes(i & 0xFF for i in range(length)))
    return str(path)


def nbd_server_config(folder, socket, disk):
    config = folder / "nbd-server.conf"
    config.write_text(f"[generic]\n    unixsock = {socket}\n    allowlist = true\n"
                      f"[disk]\n    exportname = {disk}\n    trim = true\n    fua = true\n"
                      f"    flush = true\n")
    return str(config)


def servers(folder, socket, disk):
    nbdkit = ["nbdkit", "--foreground", "--exit-with-parent", "-U", socket]
    qemu = ["qemu-nbd", "--persistent", "--shared=4", "--format=raw", "--discard=unmap",
            "--export-name=disk", "--socket", socket]
    yield "memory", nbdkit + ["memory", "8G"]
    yield "file", nbdkit + ["file", disk]
    yield "error", nbdkit + ["--filter=error", "file", disk, "error=ENOSPC", "error-rate=60%"]
    yield "no-sr", nbdkit + ["--no-sr", "file", disk]
    yield "newstyle", nbdkit + ["--mask-handshake=0", "memory", "8G"]
    yield "zeroes", nbdkit + ["--mask-handshake=1", "--no-sr", "memory", "8G"]
    yield "oldstyle", nbdkit + ["--oldstyle", "memory", "8G"]
    yield "policy", nbdkit + ["--filter=blocksize-policy", "memory", "8G",
                              "blocksize-minimum=512", "blocksize-maximum=4K",
                              "blocksize-error-policy=error"]
    yield "read-only", nbdkit + ["--readonly", "file", disk]
    yield "listing", nbdkit + ["--filter=exportname", "memory", "8G", "exportname=one",
                               "exportname=disk", "exportdesc=script:echo about $name"]
    yield "qemu", qemu + [disk]
    yield "qemu-bitmap-depth", qemu + ["--allocation-depth", "--description=a disk", disk]
    yield "qemu-other-name", qemu[:-3] + ["--export-name=other", "--socket", socket, disk]
    yield "nbd-server", ["nbd-server", "-d", "-C",
                         nbd_server_config(folder, socket, disk)]


def chunk(job, kind, payload=b"", done=True):
    """An extended reply to a job of the session, when it is the only one: slot 0, used once."""
    return struct.pack(">IHHQQQ", 0x6E8A278C, int(done), kind, 1 << 32, OFFSETS.get(job, 0),
                       len(payload)) + payload


def extended_replies():
    """Only QEMU has extended headers, from 8.2 on, and for block status it uses one form: these are made by hand."""
    yield 0, chunk(0, 1, bytes(8) + bytes(512))
    yield 0, (chunk(0, 2, struct.pack(">QI", 256, 256), done=False)
              + chunk(0, 1, bytes(8) + bytes(256), done=False) + chunk(0, 0))
    yield 0, chunk(0, 0x8001, struct.pack(">IH", 5, 3) + b"bad")
    yield 1, chunk(1, 0x8002, struct.pack(">IHQ", 28, 0, 4096))
    for job in (2, 4, 5, 7, 8, 12):
        yield job, chunk(job, 0)
    yield 6, chunk(6, 6, struct.pack(">IIQQQQ", 1, 2, 4096, 0, 1 << 40, 3))
    yield 10, chunk(10, 6, struct.pack(">IIQQ", 1, 0, 1 << 34, 3))
    yield 10, chunk(10, 5, struct.pack(">III", 1, 4096, 0))


def wait_for(path, process):
    for _ in range(100):
        if path.exists():
            return
        if process.poll() is not None:
            raise RuntimeError(f"{process.args[0]} ended at once")
        time.sleep(0.05)
    raise RuntimeError(f"{process.args[0]} does not listen")


def record_session(command, recorder, plan, socket, recording):
    """Each has a server of its own: nbd-server serves only one while we can end it."""
    socket.unlink(missing_ok=True)
    server = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                              stderr=subprocess.DEVNULL)
    try:
        wait_for(socket, server)
        subprocess.run([recorder, str(socket), plan.hex(), str(recording)], check=True,
                       stdout=subprocess.DEVNULL)
    finally:
        server.terminate()
        server.wait()


def main():
    if len(sys.argv) != 4:
        sys.exit(__doc__)
    fuzzer, recorder, corpus = sys.argv[1:]
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        recordings = folder / "recordings"
        recordings.mkdir()
        socket = folder / "socket"
        disk = sparse_disk(folder)
        for server, command in servers(folder, str(socket), disk):
            for plan in plans():
                record_session(command, recorder, plan, socket,
                               recordings / f"{server}-{plan.hex()}")
        for number, (job, words) in enumerate(extended_replies()):
            plan = bytes([EXTENDED, (1 << job) & 0xFF, 1 << job >> 8, 0])
            (recordings / f"extended-{number}").write_bytes(plan + words)
        print(f"{len(list(recordings.iterdir()))} recordings")
        subprocess.run([fuzzer, "-set_cover_merge=1", "-verbosity=0", corpus, str(recordings)],
                       check=True)


if __name__ == "__main__":
    main()
