# SPDX-License-Identifier: LGPL-2.1-or-later
"""Data goes through the whole path, in every manner of I/O, and nothing acknowledged is lost."""
import hashlib
import os
import random
import subprocess
import tempfile
import time
import unittest
from pathlib import Path

from tests.lab.lab import Lab, LabError
from tests.lab.servers import Nbdkit

MIB = 1 << 20


class Serving(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.lab.install()
        cls.work = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))

    def unmap(self, name, child):
        self.lab.client("unmap", name).check()
        self.assertEqual(child.wait(timeout=30), 0, child.output())

    def file_of(self, data, name="data"):
        path = self.work / name
        path.write_bytes(data)
        return self.lab.windows_path(path)

    def read_back(self, drive, offset, length, *options):
        path = self.work / "back"
        self.lab.disktool("read", drive, self.lab.windows_path(path), "--offset", offset,
                          "--length", length, *options).check()
        return path.read_bytes()

    def test_buffered_unbuffered_and_write_through(self):
        child, drive = self.lab.map("modes", "--memory", "32M")
        for number, options in enumerate(([], ["--unbuffered"], ["--write-through"],
                                          ["--unbuffered", "--write-through"])):
            data = os.urandom(256 * 1024)
            offset = number * MIB
            self.lab.disktool("write", drive, self.file_of(data), "--offset", offset,
                              *options).check()
            self.assertEqual(self.read_back(drive, offset, len(data), "--unbuffered"), data)
        self.unmap("modes", child)

    def test_transfers_beyond_the_limit_are_split(self):
        child, drive = self.lab.map("large", "--memory", "64M")
        data = os.urandom(9 * MIB + 4096)
        self.lab.disktool("write", drive, self.file_of(data), "--offset", 512, "--chunk",
                          len(data), "--unbuffered").check()
        self.assertEqual(self.read_back(drive, 512, len(data), "--chunk", len(data)), data)
        self.unmap("large", child)

    def test_4k_sectors(self):
        child, drive = self.lab.map("big", "--memory", "32M", "--block-size", "4096")
        self.assertIn("bytes-per-sector: 4096", self.lab.disktool("info", drive).check().stdout)
        data = os.urandom(3 * 4096)
        self.lab.disktool("write", drive, self.file_of(data), "--offset", 4096).check()
        self.assertEqual(self.read_back(drive, 4096, len(data)), data)
        unaligned = self.lab.disktool("read", drive, self.lab.windows_path(self.work / "no"),
                                      "--offset", 512, "--length", 512)
        self.assertNotEqual(unaligned.code, 0)
        self.unmap("big", child)

    def test_512e_is_told_to_windows_and_changes_no_data(self):
        child, drive = self.lab.map("plain", "--memory", "16M")
        self.assertRegex(self.lab.disktool("info", drive).check().stdout,
                         r"logical-sector: 512\nphysical-sector: 512\n")
        self.unmap("plain", child)
        child, drive = self.lab.map("512e", "--memory", "16M", "--physical-block-size", 4096)
        self.assertRegex(self.lab.disktool("info", drive).check().stdout,
                         r"logical-sector: 512\nphysical-sector: 4096\n")
        # READ CAPACITY(16): 2^3 blocks per physical block. Block Limits: granularity 8 blocks.
        capacity = self.lab.disktool("scsi", drive, "9e10" + "00" * 11 + "200000", "--in", 32)
        self.assertRegex(capacity.check().stdout.replace(" ", ""), "00007fff00000200" + "0003")
        limits = self.lab.disktool("scsi", drive, "1201b0004000", "--in", 64)
        self.assertRegex(limits.check().stdout.replace(" ", ""), "00b0003c....0008")
        data = os.urandom(512)
        self.lab.disktool("write", drive, self.file_of(data), "--offset", 512).check()
        self.assertEqual(self.read_back(drive, 512, 512), data)
        self.unmap("512e", child)

    def test_a_write_through_write_reaches_the_server_with_fua(self):
        log = self.work / "nbdkit.log"
        with Nbdkit("memory", "16M", f"logfile={log}", filters=["log"]) as server:
            child, drive = self.lab.map("fua", server.uri)
            self.lab.disktool("write", drive, self.file_of(os.urandom(4096)), "--offset", 8192,
                              "--unbuffered", "--write-through").check()
            self.lab.disktool("flush", drive).check()
            self.unmap("fua", child)
            text = log.read_text()
        self.assertRegex(text, r"Write .*offset=0x2000 .*fua=1")
        self.assertIn("Flush", text)

    def test_a_file_backend_keeps_what_was_flushed(self):
        path = self.work / "backing"
        file = ("--file", self.lab.windows_path(path))
        child, drive = self.lab.map("file", *file, "--disk-size", 5 * 1024 * MIB)
        # Below and above 4 GiB, where offsets take more than 32 bits.
        blocks = {offset: os.urandom(MIB) for offset in (5 * MIB, 4101 * MIB)}
        for offset, data in blocks.items():
            self.lab.disktool("write", drive, self.file_of(data), "--offset", offset, "--flush").check()
        with open(path, "rb") as kept:
            for offset, data in blocks.items():
                self.assertEqual(os.pread(kept.fileno(), MIB, offset), data, offset)
                self.assertEqual(self.read_back(drive, offset, MIB, "--unbuffered"), data, offset)
        # Nobody else writes to it meanwhile.
        self.assertEqual(self.lab.client("map", "other", *file).code, 161)  # ERROR_BAD_PATHNAME
        self.unmap("file", child)
        self.assertEqual(path.stat().st_size, 5 * 1024 * MIB)

    def test_a_read_only_export_refuses_writes(self):
        with Nbdkit("-r", "memory", "16M") as server:
            child, drive = self.lab.map("ro", server.uri)
            refused = self.lab.disktool("write", drive, self.file_of(b"x" * 512), "--unbuffered")
            self.assertEqual(refused.code, 19, refused)  # ERROR_WRITE_PROTECT
            self.unmap("ro", child)

    def test_counters_add_up_after_a_load(self):
        child, drive = self.lab.map("count", "--memory", "32M")
        self.lab.disktool("load", drive, "--ios", 2000, "--depth", 16).check()
        counters = {}
        for line in self.lab.client("stats", "count").check().stdout.splitlines():
            label, _, value = line.partition(":")
            if value.strip().lstrip("-").isdigit():
                counters[label.strip()] = int(value)
        self.assertGreaterEqual(counters["TotalReceivedIORequests"], 2000)
        self.assertEqual(counters["TotalReceivedIORequests"],
                         counters["TotalSubmittedIORequests"] + counters["UnsubmittedIORequests"]
                         + counters["AbortedUnsubmittedIORequests"])
        self.assertEqual(counters["TotalSubmittedIORequests"],
                         counters["TotalReceivedIOReplies"]
                         + counters["PendingSubmittedIORequests"]
                         + counters["AbortedSubmittedIORequests"])
        self.unmap("count", child)

    def test_two_disks_do_not_mix(self):
        first, one = self.lab.map("one", "--memory", "16M")
        second, two = self.lab.map("two", "--memory", "16M")
        self.assertNotEqual(one, two)
        data = {one: os.urandom(MIB), two: os.urandom(MIB)}
        for drive, content in data.items():
            self.lab.disktool("write", drive, self.file_of(content, f"d{drive}")).check()
        for drive, content in data.items():
            got = self.read_back(drive, 0, MIB, "--unbuffered")
            self.assertEqual(hashlib.sha256(got).hexdigest(), hashlib.sha256(content).hexdigest())
        self.unmap("one", first)
        self.unmap("two", second)


class Endurance(unittest.TestCase):
    """20,000 checked I/Os in one run while everything happens to their disk at random moments."""

    IOS = 20000

    def test_nothing_is_lost_under_aborts_resets_removals_and_killed_servers(self):
        seed = int(os.environ.get("WNBD_STRESS_SEED", random.randrange(1, 1 << 31)))
        print(f"seed {seed}", flush=True)
        self.random = random.Random(seed)
        with tempfile.TemporaryDirectory() as work, Lab() as lab:
            lab.install()
            backing = lab.windows_path(Path(work) / "backing")
            serve = ("--file", backing, "--disk-size", 64 * MIB)
            child, _ = lab.map("endure", *serve)
            load = lab.start("disktool.exe", "endure", "endure", "--ios", self.IOS, "--seed", seed)
            departures = [self.kill, self.remove]
            counts = [0, 0]
            while self.disturb(lab, load):
                kind = sum(counts) % 2
                departures[kind](lab)
                counts[kind] += 1
                child.wait(timeout=60)
                child = self.map_again(lab, "endure", *serve)
            self.assertEqual(load.returncode, 0, load.output())
            state = dict(line.split(": ") for line in
                         lab.run("labctl.exe", "state").check().stdout.splitlines())
            print(f"{load.output().strip()}; {state['aborts']} aborts, {state['resets']} resets, "
                  f"{counts[0]} servers killed, {counts[1]} removals", flush=True)
            self.assertGreater(min(counts), 0, "killed and removed at least once")
            self.assertGreater(int(state["aborts"]), 0)
            self.assertGreater(int(state["resets"]), 0)
            self.assertEqual(state["outstanding"], "0")
            lab.client("unmap", "endure").check()
            child.wait(timeout=60)
            lab.client("uninstall-driver").check()

    def disturb(self, lab, load):
        """Aborts and resets until the disk that is there now has served its part. False: the load
        is done."""
        end = time.monotonic() + 60
        enough = self.random.randrange(500, 3000)
        while load.poll() is None:
            lab.run("labctl.exe", "disturb", self.random.randrange(4, 24), self.random.randrange(5, 80),
                    self.random.randrange(1 << 30)).check()
            if self.replies(lab) > enough or time.monotonic() > end:
                break
        return load.poll() is None

    @staticmethod
    def map_again(lab, name, *arguments):
        """A killed server's disk holds its name until the last request in it has ended."""
        end = time.monotonic() + 60
        while True:
            try:
                return lab.map(name, *arguments)[0]
            except LabError as error:
                if "already exists" not in str(error) or time.monotonic() > end:
                    raise
                time.sleep(0.2)

    @staticmethod
    def replies(lab):
        for line in lab.client("stats", "endure").check().stdout.splitlines():
            label, _, value = line.partition(":")
            if label.strip() == "TotalReceivedIOReplies":
                return int(value)
        raise AssertionError("stats shows no replies")

    def kill(self, lab):
        kill_windows_process(lab, "endure")
        end = time.monotonic() + 60
        while lab.disk_number("endure") is not None:
            self.assertLess(time.monotonic(), end, "the disk outlives its server")
            time.sleep(0.1)

    @staticmethod
    def remove(lab):
        lab.client("unmap", "endure", "--hard-disconnect").check()


def kill_windows_process(lab, name):
    """TerminateProcess on the process that serves a disk."""
    for line in lab.client("list").check().stdout.splitlines():
        words = line.split()
        if words and words[-1] == name:
            subprocess.run(["wine", "taskkill", "/f", "/pid", words[0]],
                           env=lab.environment() | {"WINEDEBUG": "-all"}, check=True,
                           capture_output=True, timeout=60)
            return
    raise AssertionError(f"{name} is not listed")


if __name__ == "__main__":
    unittest.main()
