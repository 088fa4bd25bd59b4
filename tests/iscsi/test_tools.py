# SPDX-License-Identifier: LGPL-2.1-or-later
"""Other people's programs read and write a disk: QEMU's tools and libiscsi's."""

import os
import pathlib
import re
import subprocess
import tempfile
import unittest

from tests.iscsi.target import Target
from tests.lab.servers import Nbdkit


def run(*command, timeout=120):
    finished = subprocess.run(
        [str(word) for word in command],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=timeout,
        check=False,
    )
    text = finished.stdout.decode("utf-8", "replace")
    if finished.returncode:
        raise AssertionError(f"{command} ended with {finished.returncode}:\n{text}")
    return text


class Tools(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))

    def target(self, *words):
        return self.enterContext(Target(*words))

    def on_each_backend(self, size, use):
        """Calls `use` with a target of `size` over each kind of backend."""
        with self.subTest(backend="memory"), Target("--memory", size) as target:
            use(target)
        disk = self.folder / "disk"
        with self.subTest(backend="file"), Target("--file", disk, "--size", size) as target:
            use(target)
        with self.subTest(backend="nbd"), Nbdkit("memory", size) as server:
            with Target(server.uri) as target:
                use(target)

    def image(self, size):
        path = self.folder / "image"
        with open(path, "wb") as image:
            # Data, a hole, data: what is not there has to read as zeroes on the disk.
            image.write(os.urandom(size // 4))
            image.seek(size // 2)
            image.write(os.urandom(size // 4))
            image.truncate(size)
        return path

    def test_qemu_img_copies_an_image_there_and_back(self):
        image = self.image(32 << 20)
        back = self.folder / "back"

        def there_and_back(target):
            run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", image, target.url())
            same = run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, target.url())
            self.assertIn("identical", same)
            run("qemu-img", "convert", "-f", "raw", "-O", "raw", target.url(), back)
            self.assertTrue(image.read_bytes() == back.read_bytes(), "another image came back")

        self.on_each_backend("32M", there_and_back)

    def test_qemu_img_compare_sees_one_wrong_byte(self):
        image = self.image(8 << 20)
        target = self.target("--memory", "8M")
        run("qemu-img", "convert", "-n", "-f", "raw", "-O", "raw", image, target.url())
        with open(image, "r+b") as changed:
            changed.seek(5 << 20)
            byte = changed.read(1)[0]
            changed.seek(5 << 20)
            changed.write(bytes([byte ^ 1]))
        with self.assertRaisesRegex(AssertionError, "Content mismatch at offset 5242880"):
            run("qemu-img", "compare", "-f", "raw", "-F", "raw", image, target.url())

    def io(self, target, *commands):
        """qemu-io in write-back mode, so that it sends FUA and flushes where it is told to."""
        words = [word for command in commands for word in ("-c", command)]
        return run("qemu-io", "-f", "raw", "-t", "writeback", "-d", "unmap", *words, target.url())

    def test_qemu_io_finds_its_patterns_after_fua_flush_and_discard(self):
        def patterns(target):
            text = self.io(
                target,
                "write -P 0x11 0 1M",
                "write -P 0x22 -f 1M 64k",
                "write -P 0x33 4607k 513k",
                "flush",
                "read -P 0x11 0 1M",
                "read -P 0x22 1M 64k",
                "discard 64k 128k",
                "read -P 0x11 0 64k",
                "read -P 0 64k 128k",
                "read -P 0x11 192k 832k",
                "write -z 4608k 64k",
                "write -z -u 4672k 64k",
                "flush",
            )
            text += self.io(
                target,
                "read -P 0x33 4607k 1k",
                "read -P 0 4608k 128k",
                "read -P 0x33 4736k 384k",
                "aio_write -P 0x44 8M 1M",
                "aio_write -P 0x55 16M 1M",
                "aio_write -P 0x66 -f 24M 1M",
                "aio_flush",
                "read -P 0x44 8M 1M",
                "read -P 0x55 16M 1M",
                "read -P 0x66 24M 1M",
                "write -P 0x77 32M 4M",
                "read -P 0x77 32M 4M",
            )
            self.assertNotIn("failed", text)

        self.on_each_backend("64M", patterns)

    def test_fua_and_flush_of_qemu_io_reach_the_backend(self):
        log = self.folder / "log"
        with Nbdkit("memory", "8M", f"logfile={log}", filters=["log"]) as server:
            target = self.target(server.uri)
            self.io(target, "write -P 1 -f 64k 4k", "write -P 2 128k 4k", "flush", "discard 1M 64k")
            text = log.read_text()
        self.assertRegex(text, r" Write id=\d+ offset=0x10000 [^\n]*fua=1")
        self.assertRegex(text, r" Write id=\d+ offset=0x20000 [^\n]*fua=0")
        self.assertRegex(text, r" Trim id=\d+ offset=0x100000 ")
        written = re.search(r" Write id=\d+ offset=0x20000 ", text)
        self.assertIn(" Flush id=", text[written.end() :])

    def test_qemu_img_bench_and_iscsi_perf_keep_it_busy(self):
        target = self.target("--memory", "64M")
        for words in (("-d", 32, "-s", 4096), ("-w", "-d", 32, "-s", 4096), ("-w", "-d", 4, "-s", "1M")):
            run("qemu-img", "bench", "-f", "raw", "-c", 2000 if 4096 in words else 200, *words, target.url())
        text = run("iscsi-perf", "-m", 32, "-b", 8, "-r", "-t", 1, target.url())
        self.assertRegex(text, r"iops average \d{3,}")
        text = run("iscsi-perf", "-m", 16, "-b", 512, "-t", 1, target.url())
        self.assertRegex(text, r"iops average \d{2,}")


if __name__ == "__main__":
    unittest.main()
