# SPDX-License-Identifier: LGPL-2.1-or-later
"""Initiator, target or backend goes away in the middle of the work: nobody crashes, and nothing is lost
that was acknowledged and flushed."""

import os
import pathlib
import subprocess
import tempfile
import threading
import time
import unittest

from tests.iscsi.burst import CHUNK, Burst, Failed, connect
from tests.iscsi.initiator import CHECK_CONDITION, GOOD, Closed
from tests.iscsi.target import Target
from tests.lab.servers import Nbdkit

CHUNKS = 128


class Kills(unittest.TestCase):
    def setUp(self):
        self.folder = pathlib.Path(self.enterContext(tempfile.TemporaryDirectory()))
        self.disk = self.folder / "disk"

    def test_an_initiator_that_is_cut_off_loses_nothing_acknowledged(self):
        burst = Burst(CHUNKS)
        words = ("--file", self.disk, "--size", CHUNKS * CHUNK)
        with Target(*words) as target:
            for round_number in range(6):
                disk = connect(target)
                burst.run(disk, lambda done, enough=40 + round_number: done >= enough)
                # Half of a write is still to come when the line goes dead.
                victim = disk.command_pdu(disk.write_cdb(0, CHUNK // disk.block_size), CHUNK, bytes(4096))
                disk.send_bytes(victim.encode()[: 48 + 1000 * round_number])
                disk.cut() if round_number % 2 else disk.close()
                target.wait_for_log(rf"{disk.peer}\b.*")
            with connect(target) as disk:
                self.assertEqual(burst.lost(disk, burst.acknowledged), [])
                disk.logout()
            self.assertEqual(target.stop(), 0, target.log())

    def killed_in_a_burst(self, target, burst, kill, after=200):
        """Kills in the middle of a burst; what the initiator saw."""
        disk = connect(target)
        killed = threading.Event()

        def stop(done):
            if done >= after and not killed.is_set():
                killed.set()
                kill()
            return done > 20 * after

        with disk:
            try:
                burst.run(disk, stop)
            except (Closed, Failed) as end:
                self.assertTrue(killed.is_set(), f"{end} before the kill:\n{target.log()}")
                return end, disk
        raise AssertionError("the burst came to its end")

    def test_a_target_that_is_killed_and_started_again_has_what_was_flushed(self):
        burst = Burst(CHUNKS)
        with Target("--file", self.disk, "--size", CHUNKS * CHUNK) as target:
            for _ in range(3):
                end, _ = self.killed_in_a_burst(target, burst, target.kill)
                self.assertIsInstance(end, Closed)
                target.start()
                with connect(target) as disk:
                    self.assertEqual(burst.lost(disk, burst.flushed), [])
                    disk.logout()
            self.assertEqual(target.stop(), 0, target.log())

    def test_a_backend_that_is_killed_with_unwritten_data_has_what_was_flushed(self):
        # The server's cache is lost with it, as a machine's memory is with its power.
        burst = Burst(CHUNKS)
        self.disk.touch()
        os.truncate(self.disk, CHUNKS * CHUNK)
        unflushed = 0
        for _ in range(3):
            with Nbdkit("file", self.disk, filters=["cache"]) as server:
                with Target(server.uri + "?reconnect-timeout=0") as target:
                    end, _ = self.killed_in_a_burst(target, burst, server.stop)
                    self.assertIsInstance(end, Failed)
                    self.assertEqual((end.status, end.response), (CHECK_CONDITION, 0))
                    # The session is alive, and says each time what is wrong.
                    with connect(target, check=False) as disk:
                        failed = disk.command(disk.read_cdb(0, 1), room=disk.block_size)
                        self.assertEqual(failed.status, CHECK_CONDITION)
                        self.assertEqual(disk.command(bytes([0x12, 0, 0, 0, 36, 0]), room=36).status, GOOD)
                        disk.logout()
                    target.wait_for_log("a disk has lost its storage: ")
                    self.assertNotEqual(target.stop(), 0)
                    self.assertIn("Could not flush a disk", target.log())
            unflushed += burst.acknowledged != burst.flushed
            burst.forget_unflushed()
            with Nbdkit("file", self.disk) as server, Target(server.uri) as target:
                with connect(target) as disk:
                    self.assertEqual(burst.lost(disk, burst.flushed), [])
                    disk.logout()
        self.assertTrue(unflushed, "everything was flushed: the test shows nothing")

    def test_a_copy_goes_on_when_the_target_comes_back(self):
        image = self.folder / "image"
        image.write_bytes(os.urandom(64 << 20))
        with Target("--file", self.disk, "--size", "64M") as target:
            copy = subprocess.Popen(
                ["qemu-img", "convert", "-n", "-r", "100M", "-f", "raw", "-O", "raw", image, target.url()],
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            )  # fmt: skip
            kills = 0
            while copy.poll() is None and kills < 2:
                time.sleep(0.15)
                target.kill()
                target.start()
                kills += 1
            self.assertTrue(kills)
            said, _ = copy.communicate(timeout=120)
            self.assertEqual(copy.returncode, 0, f"{said}\n{target.log()}")
            subprocess.run(["qemu-img", "compare", "-f", "raw", "-F", "raw", image, target.url()],
                           check=True, stdout=subprocess.DEVNULL, timeout=120)


if __name__ == "__main__":
    unittest.main()
