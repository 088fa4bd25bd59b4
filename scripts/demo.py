# SPDX-License-Identifier: LGPL-2.1-or-later
"""The main job, on real input: an NBD export becomes a Windows disk.

Runs the binaries that ship, in the lab. With --memory the same disk life without a server.
"""
import argparse
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests/lab"))
from lab import Lab  # noqa: E402

MIB = 1 << 20
IMAGE_SIZE = 64 * MIB
WRITE_AT = 40 * MIB + 8192
WRITE_LENGTH = 3 * MIB + 4096


def step(text):
    print(f"\n== {text}", flush=True)


def sha256(path):
    digest = hashlib.sha256()
    with open(path, "rb") as file:
        while chunk := file.read(MIB):
            digest.update(chunk)
    return digest.hexdigest()


def fail(text):
    raise SystemExit(f"demo failed: {text}")


def make_image(path):
    """A disk with a partition table, a file system and this repository's documents on it."""
    with open(path, "wb") as file:
        file.truncate(IMAGE_SIZE)
    subprocess.run(["sfdisk", "--quiet", path], input=b"label: gpt\nstart=2048, size=62MiB, type=linux\n",
                   check=True)
    subprocess.run(["mkfs.vfat", "-F", "32", "-n", "DEMO", "--offset=2048", path,
                    str((IMAGE_SIZE - 2 * MIB) // 1024)], check=True, capture_output=True)
    files = [ROOT / "README.md", ROOT / "LICENSE", *sorted((ROOT / "docs").glob("*.md"))]
    subprocess.run(["mcopy", "-i", f"{path}@@1M", *map(str, files), "::"], check=True)
    print(f"{IMAGE_SIZE // MIB} MiB, GPT, one FAT32 partition with {len(files)} files")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


def serve(image, port):
    server = subprocess.Popen(["nbdkit", "--foreground", "--ipaddr=127.0.0.1", f"--port={port}",
                               "--exportname=image", "file", f"file={image}"])
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return server
        except OSError:
            time.sleep(0.05)
    server.kill()
    return fail("nbdkit did not start")


def show(lab, program, *arguments):
    """Runs a command as a user would, and prints it as a user would see it."""
    spoken = " ".join(str(a).rsplit("\\", 1)[-1] for a in arguments)
    print(f"\n> {program} {spoken}", flush=True)
    result = lab.run(program, *arguments)
    if output := (result.stdout + result.stderr).rstrip("\n"):
        print(output, flush=True)
    return result.check()


def check_write(lab, drive, before, image, work):
    step(f"Write {WRITE_LENGTH} bytes at {WRITE_AT} through the disk, and flush")
    payload = work / "payload"
    payload.write_bytes(os.urandom(WRITE_LENGTH))
    show(lab, "disktool.exe", "write", drive, lab.windows_path(payload), "--offset", WRITE_AT,
         "--flush")
    expected = bytearray(before)
    expected[WRITE_AT:WRITE_AT + WRITE_LENGTH] = payload.read_bytes()
    if image is not None:
        step("The server's image must have changed exactly there")
        after = image.read_bytes()
        if after != bytes(expected):
            fail("the image differs from what was written")
        print(f"bytes {WRITE_AT}..{WRITE_AT + WRITE_LENGTH - 1} hold the payload, "
              f"the {len(before) - WRITE_LENGTH} others are unchanged")
    step("Read it back through the disk")
    copy = work / "after"
    show(lab, "disktool.exe", "read", drive, lab.windows_path(copy), "--unbuffered")
    if copy.read_bytes() != bytes(expected):
        fail("what was read is not what was written")
    print("the whole disk reads back as expected")


def disk_life(lab, work, image, port):
    step("Install the driver through its INF")
    show(lab, "wnbd-client.exe", "install-driver", lab.inf)
    show(lab, "wnbd-client.exe", "version")

    source = ([f"nbd://127.0.0.1:{port}/image"] if image is not None
              else ["--memory", f"{IMAGE_SIZE // MIB}M"])
    step("Map it: from now on a process of ours serves a Windows disk")
    print(f"\n> wnbd-client.exe map demo {' '.join(source)}", flush=True)
    child, drive = lab.map("demo", *source)
    print(f"\\\\.\\PhysicalDrive{drive}")
    show(lab, "wnbd-client.exe", "list")
    show(lab, "wnbd-client.exe", "show", "demo")
    show(lab, "disktool.exe", "info", drive)

    step(f"Read the whole disk through \\\\.\\PhysicalDrive{drive}")
    copy = work / "before"
    show(lab, "disktool.exe", "read", drive, lab.windows_path(copy))
    before = image.read_bytes() if image is not None else bytes(IMAGE_SIZE)
    expected = hashlib.sha256(before).hexdigest()
    print(f"disk   sha256 {sha256(copy)}\nsource sha256 {expected}")
    if sha256(copy) != expected:
        fail("the checksums differ")
    check_write(lab, drive, before, image, work)

    step("Statistics, and the end")
    show(lab, "wnbd-client.exe", "stats", "demo")
    show(lab, "wnbd-client.exe", "unmap", "demo")
    if child.wait(timeout=30) != 0:
        fail(f"map ended with exit code {child.returncode}\n{child.output()}")
    show(lab, "wnbd-client.exe", "list")
    show(lab, "wnbd-client.exe", "uninstall-driver")


def main():
    parser = argparse.ArgumentParser(prog="./run demo", description=__doc__)
    parser.add_argument("--memory", action="store_true", help="no server: a disk of memory")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    work = Path(tempfile.mkdtemp(prefix="wnbd-demo-"))
    server, image, port = None, None, 0
    try:
        if not options.memory:
            step("Make a disk image with files on it, and serve it with nbdkit")
            image, port = work / "image", free_port()
            make_image(image)
            server = serve(image, port)
            print(f"nbdkit serves it at nbd://127.0.0.1:{port}/image")
        step("Open a lab")
        with Lab() as lab:
            disk_life(lab, work, image, port)
    finally:
        if server is not None:
            server.terminate()
            server.wait(timeout=10)
        shutil.rmtree(work, ignore_errors=True)
    print("\ndemo: passed")


if __name__ == "__main__":
    main()
