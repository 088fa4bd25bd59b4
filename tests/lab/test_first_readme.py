# SPDX-License-Identifier: LGPL-2.1-or-later
"""What the first implementation's README shows, done here as it says (docs/parity.md)."""
import os
import re
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from tests.lab.lab import Lab
from tests.lab.servers import free_port

MIB = 1 << 20


def listens(port):
    """Looked up, not tried: nbd-server in the foreground serves one connection and ends."""
    wanted = f" 0100007F:{port:04X} 00000000:0000 0A "
    return wanted in Path("/proc/net/tcp").read_text(encoding="ascii")


class Server:
    """A server's process, from the moment it listens."""

    def __init__(self, command, port):
        self.process = subprocess.Popen(command, stdin=subprocess.DEVNULL,
                                        stderr=subprocess.DEVNULL)
        end = time.monotonic() + 30
        while not listens(port):
            if self.process.poll() is not None or time.monotonic() > end:
                self.process.kill()
                raise AssertionError(f"{command} did not start")
            time.sleep(0.05)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.wait(timeout=30)


class FirstReadme(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.lab.install()
        cls.work = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))

    def image(self):
        path = self.work / "path.img"
        path.write_bytes(os.urandom(4 * MIB))
        return path

    def read(self, drive):
        path = self.work / "back"
        self.lab.disktool("read", drive, self.lab.windows_path(path)).check()
        return path.read_bytes()

    def write(self, drive, data, offset):
        path = self.work / "data"
        path.write_bytes(data)
        self.lab.disktool("write", drive, self.lab.windows_path(path), "--offset", offset,
                          "--flush").check()

    def unmap(self, name, child):
        self.lab.client("unmap", name).check()
        self.assertEqual(child.wait(timeout=60), 0, child.output())

    def test_its_nbd_server_configuration_becomes_a_disk(self):
        image, port = self.image(), free_port()
        before = image.read_bytes()
        configuration = self.work / "config"
        configuration.write_text(f"[generic]\nport = {port}\nlistenaddr = 127.0.0.1\n"
                                 f"[foo]\nexportname = {image}\ncopyonwrite = true\n")
        with Server(["nbd-server", "-d", "-C", str(configuration)], port):
            child, drive = self.lab.map("foo", "127.0.0.1", "--port", port)
            self.assertEqual(self.read(drive), before)
            data = os.urandom(MIB)
            self.write(drive, data, 2 * MIB)
            self.assertEqual(self.read(drive), before[:2 * MIB] + data + before[3 * MIB:])
            self.unmap("foo", child)
        self.assertEqual(image.read_bytes(), before, "copy on write: the image stays")

    def test_an_export_of_qemu_becomes_a_disk(self):
        image, port = self.image(), free_port()
        before = image.read_bytes()
        with Server(["qemu-nbd", "-t", "-b", "127.0.0.1", "-p", str(port), "-x", "test_100gb",
                     "-f", "raw", "--cache=none", str(image)], port):
            child, drive = self.lab.map("qemu", "127.0.0.1", "--port", port, "--export-name",
                                        "test_100gb")
            self.assertEqual(self.read(drive), before)
            self.write(drive, bytes(MIB), MIB)
            self.unmap("qemu", child)
        self.assertEqual(image.read_bytes(), before[:MIB] + bytes(MIB) + before[2 * MIB:])

    def test_the_disk_names_itself_and_its_mapping(self):
        child, drive = self.lab.map("foo", "--memory", "256M")
        standard = self.lab.disktool("scsi", drive, "120000002400", "--in", 36).check().stdout
        serial = self.lab.disktool("scsi", drive, "12018000ff00", "--in", 255).check().stdout
        data = [bytes.fromhex(re.search(r"(?m)^data: ?(.*)$", text)[1])
                for text in (standard, serial)]
        self.assertEqual(data[0][8:32], b"WNBD    WNBD_DISK       ")
        self.assertEqual(data[1][4:].strip(), b"foo")
        listed = self.lab.client("list").check().stdout
        self.assertRegex(listed, r"\APid +DiskNumber +Nbd +Owner +InstanceName\n"
                                 rf"\d+ +{drive} +false +wnbd-client +foo\n\Z")
        self.unmap("foo", child)

    def test_three_versions_are_told_and_agree(self):
        lines = self.lab.client("-v").check().stdout.splitlines()
        self.assertEqual([line.split(": ")[0] for line in lines],
                         ["wnbd-client.exe", "libwnbd.dll", "wnbd.sys"])
        self.assertEqual(len({line.split(": ")[1] for line in lines}), 1, lines)


if __name__ == "__main__":
    unittest.main()
