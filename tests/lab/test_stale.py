# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk that nobody serves any more is found out and removed, or left, as the options say; one that is merely
idle or slow never is."""
import os
import signal
import threading
import time
import unittest

from tests.lab.lab import Lab
from tests.lab.servers import Nbdkit, Scripted, go

# Windows sends a request nine times before it gives up: longer than the connection may be silent.
SRB_TIMEOUT_MS = 300
REQUEST_TIMEOUT_MS = 200
CONNECTION_TIMEOUT_MS = 1500


class Stale(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab(environment={"WNBD_LAB_TIMEOUT_MS": str(SRB_TIMEOUT_MS)}))
        cls.lab.install()
        cls.lab.client("set-opt", "StaleReqTimeoutMs", REQUEST_TIMEOUT_MS).check()
        cls.lab.client("set-opt", "StaleConnTimeoutMs", CONNECTION_TIMEOUT_MS).check()

    def read(self, drive):
        """Starts a read, which Windows sends anew some times after its time-outs."""
        return self.lab.start("disktool.exe", "read", drive,
                              self.lab.windows_path(self.lab.place / "back"), "--length", 512)

    def assert_removed(self, name, reader):
        end = time.monotonic() + 60
        while self.lab.disk_number(name) is not None:
            self.assertLess(time.monotonic(), end, "the disk outlives its backend")
            time.sleep(0.1)
        self.assertNotEqual(reader.wait(timeout=60), 0, reader.output())
        self.assertIn("is stale: removing its disk", self.lab.driver_log())

    def test_a_server_that_stops_answering_loses_its_disk(self):
        with Nbdkit("memory", "8M") as server:
            child, drive = self.lab.map("stopped", server.uri)
            self.assertEqual(self.read(drive).wait(timeout=60), 0)
            server.process.send_signal(signal.SIGSTOP)
            self.assert_removed("stopped", self.read(drive))
        child.wait(timeout=60)

    def test_a_serving_process_that_stops_loses_its_disk(self):
        child, drive = self.lab.map("frozen", "--memory", "8M")
        self.assertEqual(self.read(drive).wait(timeout=60), 0)
        os.kill(child.pid, signal.SIGSTOP)
        try:
            self.assert_removed("frozen", self.read(drive))
        finally:
            os.kill(child.pid, signal.SIGCONT)
        child.wait(timeout=60)

    def test_one_that_never_answered_loses_its_disk_too(self):
        over = threading.Event()

        def shake_hands_only(connection):
            go(connection, 8 << 20)
            over.wait(120)

        with Scripted(shake_hands_only) as server:
            child, drive = self.lab.map("mute", server.uri + "?reconnect-timeout=0")
            self.assert_removed("mute", self.read(drive))
            over.set()
            child.wait(timeout=60)

    def test_the_option_leaves_the_disk(self):
        self.lab.client("set-opt", "RemoveStaleConnections", "false").check()
        try:
            with Nbdkit("memory", "8M") as server:
                child, drive = self.lab.map("left", server.uri)
                before = self.lab.driver_log().count("is stale")
                server.process.send_signal(signal.SIGSTOP)
                self.assertNotEqual(self.read(drive).wait(timeout=120), 0)
                self.assertGreater(self.lab.driver_log().count("is stale"), before)
                self.assertEqual(self.lab.disk_number("left"), drive)
                server.process.send_signal(signal.SIGCONT)
                self.assertEqual(self.read(drive).wait(timeout=60), 0)
                self.lab.client("unmap", "left").check()
                child.wait(timeout=60)
        finally:
            self.lab.client("reset-opt", "RemoveStaleConnections").check()

    def test_an_idle_disk_stays_and_so_does_a_slow_one(self):
        before = self.lab.driver_log().count("is stale")
        child, drive = self.lab.map("idle", "--memory", "8M")
        self.assertEqual(self.read(drive).wait(timeout=60), 0)
        # Each answer of this one comes too late for Windows, but it comes.
        with Nbdkit("memory", "8M", f"delay-read={2 * SRB_TIMEOUT_MS}ms",
                    filters=["delay"]) as server:
            late, late_drive = self.lab.map("slow", server.uri)
            begun = time.monotonic()
            self.assertNotEqual(self.read(late_drive).wait(timeout=120), 0)
            self.assertGreater(time.monotonic() - begun, CONNECTION_TIMEOUT_MS / 1000)
            self.assertEqual(self.lab.disk_number("slow"), late_drive)
            self.lab.client("unmap", "slow", "--hard-disconnect").check()
            late.wait(timeout=60)
        # The other one has been idle for all that time.
        self.lab.run("labctl.exe", "reset", "unit", 0, 0, 0).check()
        self.lab.run("labctl.exe", "reset", "bus", 0, 0, 0).check()
        self.assertEqual(self.read(drive).wait(timeout=60), 0)
        self.assertEqual(self.lab.driver_log().count("is stale"), before)
        self.lab.client("unmap", "idle").check()
        child.wait(timeout=60)


if __name__ == "__main__":
    unittest.main()
