# SPDX-License-Identifier: LGPL-2.1-or-later
"""Programs written in C from the headers and the API guide, its two examples among them."""
import os
import re
import shlex
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from tests.lab.lab import ROOT, Lab
from tests.lab.test_serving import kill_windows_process

MIB = 1 << 20
GUIDE = ROOT / "docs/api.md"
EXAMPLES = {name: ROOT / f"examples/{name}.c" for name in ("ram_disk", "file_disk")}


def build_command(name):
    """The guide's own command line for an example."""
    found = re.search(rf"^ *(x86_64-w64-mingw32-gcc .*-o {name}\.exe .*)$", GUIDE.read_text(),
                      re.M)
    if found is None:
        raise AssertionError(f"{GUIDE} does not tell how to build {name}")
    return shlex.split(found.group(1))


def build(name, folder, result=None, extra=()):
    program = folder / f"{result or name}.exe"
    command = [str(program) if word == f"{name}.exe" else word for word in build_command(name)]
    subprocess.run([*command, *extra, "-Wall", "-Wextra", "-Werror", "-pedantic"], cwd=ROOT,
                   check=True)
    return program


def build_with(command, name, folder):
    """A C11 program of this folder, by a compiler of the caller's choice."""
    program = folder / f"{name}.exe"
    subprocess.run([*command, "-std=c11", "-Wall", "-Wextra", "-Werror", "-pedantic", "-Iinclude",
                    "-o", str(program), "tests/lab/two_disks.c", "out/windows/libwnbd.dll.a"],
                   cwd=ROOT, check=True)
    return program


class Text(unittest.TestCase):
    def test_the_ram_disk_has_fewer_than_80_lines(self):
        self.assertLess(len(EXAMPLES["ram_disk"].read_text().splitlines()), 80)

    def test_every_snippet_of_the_guide_is_in_the_examples(self):
        code = "\n".join(path.read_text() for path in EXAMPLES.values())
        lines = {line.strip() for line in code.splitlines()}
        snippets = re.findall(r"^```c\n(.*?)^```", GUIDE.read_text(), re.M | re.S)
        self.assertGreater(len(snippets), 3)
        for snippet in snippets:
            for line in snippet.splitlines():
                if line.strip():
                    self.assertIn(line.strip(), lines, f"{GUIDE}:\n{snippet}")

    def test_clang_takes_them_too(self):
        for path in EXAMPLES.values():
            subprocess.run(["clang-19", "-target", "x86_64-w64-windows-gnu", "-std=c11", "-Wall",
                            "-Wextra", "-Werror", "-pedantic", "-fsyntax-only", "-Iinclude",
                            str(path)], cwd=ROOT, check=True)


class Examples(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.work = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))
        programs = [build(name, cls.work) for name in EXAMPLES]
        # Wine lacks the call that trims, and nobody sees a flush: this one is lent both calls.
        programs.append(build("file_disk", cls.work, "file_disk_with_trim",
                              ["-DDeviceIoControl=LabDeviceIoControl",
                               "-DFlushFileBuffers=LabFlushFileBuffers",
                               "tests/lab/file_calls.c"]))
        programs.append(build_with(["x86_64-w64-mingw32-gcc"], "two_disks_gcc", cls.work))
        clang = ["clang-19", "-target", "x86_64-w64-windows-gnu", "-fuse-ld=lld"]
        programs.append(build_with(clang, "two_disks_clang", cls.work))
        cls.lab = cls.enterClassContext(Lab(files=programs))
        cls.lab.install()

    def start(self, name, *arguments):
        """Starts an example; returns it and its disk's number."""
        child = self.lab.start(f"{name}.exe", *arguments)
        end = time.monotonic() + 60
        while time.monotonic() < end and child.poll() is None:
            number = self.lab.disk_number(arguments[0])
            if number is not None and number >= 0:
                return child, number
            time.sleep(0.2)
        raise AssertionError(f"{name} gave no disk (exit code {child.poll()})\n{child.output()}")

    def stop(self, name, child, number):
        self.lab.client("unmap", name).check()
        self.assertEqual(child.wait(timeout=60), 0, child.output())
        self.assertIsNone(self.lab.disk_number(name))
        self.assertNotEqual(self.lab.disktool("info", number).code, 0)

    def write(self, drive, data, offset, *options):
        path = self.work / "data"
        path.write_bytes(data)
        self.lab.disktool("write", drive, self.lab.windows_path(path), "--offset", offset,
                          *options).check()

    def read(self, drive, offset, length):
        path = self.work / "back"
        self.lab.disktool("read", drive, self.lab.windows_path(path), "--offset", offset,
                          "--length", length, "--unbuffered").check()
        return path.read_bytes()

    def test_the_ram_disk_is_a_disk(self):
        child, drive = self.start("ram_disk", "example-ram", 16)
        self.assertIn(f"length: {16 * MIB}", self.lab.disktool("info", drive).check().stdout)
        data = os.urandom(3 * MIB + 512)
        self.write(drive, data, 5 * MIB + 512)
        self.assertEqual(self.read(drive, 5 * MIB + 512, len(data)), data)
        self.assertEqual(self.read(drive, 0, 4096), bytes(4096))
        self.lab.disktool("load", drive, "--ios", 100, "--depth", 8).check()
        self.stop("example-ram", child, drive)

    def test_the_ram_disk_goes_with_its_process(self):
        child, _drive = self.start("ram_disk", "example-killed", 1)
        kill_windows_process(self.lab, "example-killed")
        child.wait(timeout=30)
        end = time.monotonic() + 30
        while self.lab.disk_number("example-killed") is not None:
            self.assertLess(time.monotonic(), end, "the disk outlives its process")
            time.sleep(0.1)

    def test_wrong_use_is_refused_in_one_line(self):
        for arguments in ((), ("name", "70000"), ("n" * 256, "1")):
            refused = self.lab.run("ram_disk.exe", *arguments)
            self.assertEqual(refused.code, 87)
            self.assertEqual(len(refused.stderr.splitlines()), 1, refused.stderr)

    def test_the_file_disk_flushes_trims_and_keeps_its_data(self):
        image = self.work / "image"
        windows_image = self.lab.windows_path(image)
        child, drive = self.start("file_disk_with_trim", "example-file", windows_image, 64)
        self.assertIn("bytes-per-sector: 4096", self.lab.disktool("info", drive).check().stdout)
        data = bytearray(os.urandom(4 * MIB))
        self.write(drive, data, 8 * MIB, "--unbuffered")
        before = child.output().count("lab: flush")
        self.lab.disktool("flush", drive).check()
        self.assertGreater(child.output().count("lab: flush"), before)
        self.assertEqual(image.read_bytes()[8 * MIB:12 * MIB], data)
        self.assertEqual(self.read(drive, 8 * MIB, len(data)), data)

        self.unmap_range(drive, 9 * MIB, MIB)
        data[MIB:2 * MIB] = bytes(MIB)
        self.assertEqual(self.read(drive, 8 * MIB, len(data)), data)
        self.stop("example-file", child, drive)
        self.assertEqual(image.stat().st_size, 64 * MIB)
        self.assertEqual(image.read_bytes()[8 * MIB:12 * MIB], data)

        # The same file again, without a size, where a trim is a hint that nothing comes of.
        child, drive = self.start("file_disk", "example-file", windows_image)
        self.unmap_range(drive, 10 * MIB, MIB)
        self.assertEqual(self.read(drive, 8 * MIB, len(data)), data)
        self.lab.disktool("load", drive, "--ios", 100, "--depth", 8).check()
        self.stop("example-file", child, drive)

    def unmap_range(self, drive, offset, length):
        """UNMAP (SBC-3 5.28) of one range, in bytes."""
        descriptor = ((offset // 4096).to_bytes(8, "big") + (length // 4096).to_bytes(4, "big")
                      + bytes(4))
        listed = bytes([0, 22, 0, 16, 0, 0, 0, 0]) + descriptor
        cdb = bytes([0x42, 0, 0, 0, 0, 0, 0, 0, len(listed), 0])
        answer = self.lab.disktool("scsi", drive, cdb.hex(), "--out", listed.hex()).check()
        self.assertIn("status: 00", answer.stdout)

    def test_a_consumer_serves_two_disks_whichever_compiler_built_it(self):
        for name in ("two_disks_gcc.exe", "two_disks_clang.exe"):
            done = self.lab.run(name, timeout=300)
            self.assertEqual(done.code, 0, f"{name}\n{done.stdout}{done.stderr}")

    def test_what_cannot_be_a_disk_is_refused_in_one_line(self):
        odd = self.work / "odd"
        odd.write_bytes(bytes(5000))
        for arguments in (("example-odd", self.lab.windows_path(odd)),
                          ("example-odd", self.lab.windows_path(self.work / "missing"))):
            refused = self.lab.run("file_disk.exe", *arguments)
            self.assertNotEqual(refused.code, 0)
            self.assertRegex(refused.stderr, r"\Afile_disk: .*: error \d+\n\Z")


if __name__ == "__main__":
    unittest.main()
