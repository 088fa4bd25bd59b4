# SPDX-License-Identifier: LGPL-2.1-or-later
"""Removal: soft with vetoes named and retried, hard, one as the other's fallback, and right after mapping."""
import os
import re
import signal
import time
import unittest

from tests.lab.lab import Lab
from tests.lab.servers import Nbdkit

SERVED_AT_ONCE = 64  # requests in a serving process
TIMED_OUT = 1460 & 0xFF  # ERROR_TIMEOUT, cut to 8 bits by the host
IN_USE = r'vetoed by an open handle or file on "SCSI\\DISK&VEN_WNBD'


class Removal(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.lab.install()

    def hold(self, drive):
        """Keeps a handle on a disk open."""
        holder = self.lab.start("disktool.exe", "hold", drive)
        while "open" not in holder.output():
            self.assertIsNone(holder.poll(), holder.output())
            time.sleep(0.05)
        self.addCleanup(holder.kill)
        return holder

    def soft_only(self, name, timeout, *options):
        return self.lab.client("unmap", name, "--no-hard-disconnect-fallback",
                               "--soft-disconnect-timeout", timeout,
                               "--soft-disconnect-retry-interval", 1, *options)

    def start_retrying(self, name, interval):
        """An unmap that was vetoed once and goes on."""
        retrying = self.lab.start("wnbd-client.exe", "unmap", name, "--debug",
                                  "--no-hard-disconnect-fallback", "--soft-disconnect-timeout", 60,
                                  "--soft-disconnect-retry-interval", interval)
        while "vetoed" not in retrying.output():
            self.assertIsNone(retrying.poll(), retrying.output())
            time.sleep(0.05)
        return retrying

    def assert_gone(self, name, child):
        self.assertEqual(child.wait(timeout=60), 0, child.output())
        self.assertIsNone(self.lab.disk_number(name))

    def test_a_veto_is_retried_named_and_in_the_end_obeyed(self):
        child, drive = self.lab.map("used", "--memory", "8M")
        holder = self.hold(drive)
        told = self.soft_only("used", 2, "--debug").check(TIMED_OUT)
        self.assertGreaterEqual(told.stderr.count("INFO the removal was vetoed"), 2, told.stderr)
        self.assertRegex(told.stderr.upper(), IN_USE.upper())
        plain = self.soft_only("used", 1).check(TIMED_OUT).stderr.strip()
        self.assertEqual(len(plain.splitlines()), 1, plain)
        self.assertRegex(plain.upper(), IN_USE.upper())
        self.assertIn("Close the programs that use the disk", plain)
        self.assertIsNotNone(self.lab.disk_number("used"), "it was removed all the same")
        # The same call succeeds as soon as nobody objects any more.
        retrying = self.start_retrying("used", 1)
        holder.kill()
        self.assertEqual(retrying.wait(timeout=60), 0, retrying.output())
        self.assert_gone("used", child)

    def test_a_hard_removal_follows_a_soft_one_that_failed(self):
        child, drive = self.lab.map("stuck", "--memory", "8M")
        self.hold(drive)
        told = self.lab.client("unmap", "stuck", "--soft-disconnect-timeout", 1,
                               "--soft-disconnect-retry-interval", 1, "--debug").check()
        self.assertIn("removing it hard", told.stderr)
        self.assert_gone("stuck", child)

    def test_a_hard_removal_asks_nobody(self):
        child, drive = self.lab.map("hard", "--memory", "8M")
        self.hold(drive)
        told = self.lab.client("unmap", "hard", "--hard-disconnect", "--debug").check()
        self.assertNotIn("vetoed", told.stderr)
        self.assert_gone("hard", child)

    def pending(self, name):
        """How many requests the serving process has in hand."""
        told = self.lab.client("stats", name).check().stdout
        return int(re.search(r"PendingSubmittedIORequests +: (\d+)", told)[1])

    def map_held(self, name):
        """A disk on a server that is gone: no more requests are taken from the driver."""
        with Nbdkit("memory", "16M") as server:
            child, drive = self.lab.map(name, server.uri + "?on-timeout=hold")
        load = self.lab.start("disktool.exe", "load", drive, "--ios", 500, "--depth", 100)
        end = time.monotonic() + 60
        while self.pending(name) < SERVED_AT_ONCE:
            self.assertIsNone(load.poll(), load.output())
            self.assertLess(time.monotonic(), end, "the requests never came")
            time.sleep(0.1)
        return child, load

    def test_a_process_whose_requests_are_all_held_hears_of_the_removal(self):
        child, load = self.map_held("held")
        self.lab.client("unmap", "held", "--hard-disconnect").check()
        self.assert_gone("held", child)
        load.wait(timeout=60)

    def test_a_process_whose_adapter_is_lost_ends(self):
        child, load = self.map_held("lost")
        self.lab.run("labctl.exe", "surprise").check()
        self.assertEqual(child.wait(timeout=60), 0, child.output())
        load.wait(timeout=60)
        for command in ("disable", "enable"):
            self.lab.run("labctl.exe", command).check()
        self.lab.client("ping").check()

    def test_removing_right_after_mapping_removes_that_disk_and_nothing_else(self):
        for _ in range(3):
            child = self.lab.start("wnbd-client.exe", "map", "early", "--memory", "8M")
            while (told := self.soft_only("early", 60)).code == 2:
                self.assertIsNone(child.poll(), child.output())
            told.check()
            self.assert_gone("early", child)
        self.lab.client("ping").check()

    def test_a_removal_that_waits_leaves_a_newer_disk_of_its_name_alone(self):
        old, drive = self.lab.map("next", "--memory", "8M")
        self.hold(drive)
        retrying = self.start_retrying("next", 4)
        self.lab.client("unmap", "next", "--hard-disconnect").check()
        self.assertEqual(old.wait(timeout=60), 0, old.output())
        new, _drive = self.lab.map("next", "--memory", "16M")
        self.assertEqual(retrying.wait(timeout=60), 0, retrying.output())
        self.assertIn("32768", self.lab.client("show", "next").check().stdout)
        self.lab.client("unmap", "next").check()
        self.assert_gone("next", new)

    def test_an_old_daemon_leaves_a_newer_disk_of_its_name_alone(self):
        with Nbdkit("memory", "8M") as server:
            old, _drive = self.lab.map("twin", server.uri + "?reconnect-timeout=0")
            os.kill(old.pid, signal.SIGSTOP)
            try:
                self.lab.client("unmap", "twin", "--hard-disconnect").check()
                new, _drive = self.lab.map("twin", "--memory", "16M")
                server.stop()  # the old one's reason to remove what it takes for its disk
            finally:
                os.kill(old.pid, signal.SIGCONT)
            old.wait(timeout=60)
            self.assertIn("32768", self.lab.client("show", "twin").check().stdout)
        self.lab.client("unmap", "twin").check()
        self.assert_gone("twin", new)


if __name__ == "__main__":
    unittest.main()
