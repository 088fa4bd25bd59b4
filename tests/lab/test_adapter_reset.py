# SPDX-License-Identifier: LGPL-2.1-or-later
"""The adapter's reset: its limits are in force afterwards, new mappings are refused meanwhile and allowed
again whatever happened."""
import time
import unittest

from tests.lab.lab import Lab
from tests.lab.servers import Nbdkit

BUSY = 170
SHUTDOWN_IN_PROGRESS = 1115


class Reset(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.lab.install()

    def tearDown(self):
        self.lab.client("reset-adapter", "--hard-disconnect-mappings").check()
        for child in self.lab.children[1:]:
            child.wait(timeout=60)
        for option in ("NewMappingsAllowed", "MaxIOReqPerAdapter", "MaxIOReqPerLun"):
            self.lab.client("reset-opt", option, "--persistent").check()

    # --- Helpers

    def mapping_allowed(self):
        value = self.lab.client("get-opt", "NewMappingsAllowed").check().stdout
        return "true" in value

    def assert_maps(self):
        child, _ = self.lab.map("again", "--memory", "8M")
        self.lab.client("unmap", "again").check()
        self.assertEqual(child.wait(timeout=30), 0, child.output())

    def limits(self, name):
        fields = dict(line.split(":", 1) for line in
                      self.lab.client("show", name).check().stdout.splitlines() if ":" in line)
        fields = {label.strip(): value.strip() for label, value in fields.items()}
        return int(fields["MaxIOReqPerLun"]), int(fields["MaxIOReqPerAdapter"])

    def state(self):
        lines = self.lab.run("labctl.exe", "state").check().stdout.splitlines()
        return {name: int(value) for name, value in (line.split(": ") for line in lines)}

    def await_outstanding(self, reader):
        """A read has arrived at the disk, and the server lets it wait."""
        end = time.monotonic() + 30
        while self.state()["outstanding"] == 0:
            self.assertIsNone(reader.poll(), reader.output())
            self.assertLess(time.monotonic(), end, "the read never came")
            time.sleep(0.1)

    def read(self, drive):
        return self.lab.start("disktool.exe", "read", drive, self.lab.windows_path(self.lab.place / "back"),
                              "--length", 4096)

    # --- Claims

    def test_queue_limits_are_in_force_after_a_reset_and_not_before(self):
        child, _ = self.lab.map("before", "--memory", "8M")
        self.lab.client("set-opt", "MaxIOReqPerLun", "6", "--persistent").check()
        self.lab.client("set-opt", "MaxIOReqPerAdapter", "9", "--persistent").check()
        self.assertEqual(self.limits("before"), (255, 1000))
        self.lab.client("reset-adapter").check()
        self.assertEqual(child.wait(timeout=30), 0, child.output())
        drives = [self.lab.map(name, "--memory", "16M")[1] for name in ("one", "two")]
        self.assertEqual(self.limits("one"), (6, 9))
        loads = [self.lab.start("disktool.exe", "load", drive, "--ios", 400, "--depth", 32)
                 for drive in drives]
        for load in loads:
            self.assertEqual(load.wait(timeout=120), 0, load.output())
        state = self.state()
        self.assertEqual(state["unit-outstanding-max"], 6)
        self.assertEqual(state["outstanding-max"], 9)
        self.assertEqual(state["busy"], 0, "the driver has room for what it promised")

    def test_a_disk_never_gets_more_than_the_adapter(self):
        self.lab.client("set-opt", "MaxIOReqPerAdapter", "4", "--persistent").check()
        # However long it would wait, new mappings are refused no longer than the driver lets them be.
        self.lab.client("reset-adapter", "--reset-retry-interval", 600).check()
        self.lab.map("small", "--memory", "8M")
        self.assertEqual(self.limits("small"), (4, 4))

    def test_a_disk_in_use_vetoes_until_the_time_out_and_mappings_go_on(self):
        with Nbdkit("memory", "16M", "delay-read=4", filters=["delay"]) as server:
            _, drive = self.lab.map("slow", server.uri)
            reader = self.read(drive)
            self.await_outstanding(reader)
            done = self.lab.client("reset-adapter", "--reset-timeout", 1)
            self.assertEqual(done.code, BUSY, done)
            self.assertRegex(done.stderr, r"\Awnbd-client: Could not reset the adapter: .*hard-disconnect")
            self.assert_maps()
            # Tried again and again, it succeeds as soon as the read is over.
            self.lab.client("reset-adapter", "--reset-timeout", 60).check()
            reader.wait(timeout=60)
            self.assertIsNone(self.lab.disk_number("slow"))
            self.assert_maps()

    def test_mappings_are_removed_hard_and_new_ones_allowed_afterwards(self):
        with Nbdkit("memory", "16M", "delay-read=30", filters=["delay"]) as server:
            slow, drive = self.lab.map("slow", server.uri)
            idle, _ = self.lab.map("idle", "--memory", "8M")
            reader = self.read(drive)
            self.await_outstanding(reader)
            begun = time.monotonic()
            done = self.lab.client("reset-adapter", "--hard-disconnect-mappings").check()
            self.assertIn("Forcefully removing WNBD disk mappings.", done.stderr)
            self.assertNotEqual(reader.wait(timeout=60), 0, "the read has failed")
            self.assertLess(time.monotonic() - begun, 25, "nobody waited for the server")
            self.assertEqual(len(self.lab.client("list").check().stdout.splitlines()), 1)
            self.assert_maps()
        for child in (slow, idle):
            child.wait(timeout=60)

    def test_a_killed_reset_leaves_nothing_behind(self):
        with Nbdkit("memory", "16M", "delay-read=40", filters=["delay"]) as server:
            slow, drive = self.lab.map("slow", server.uri)
            reader = self.read(drive)
            self.await_outstanding(reader)
            reset = self.lab.start("wnbd-client.exe", "reset-adapter", "--reset-timeout", 0)
            while self.mapping_allowed():
                self.assertIsNone(reset.poll(), reset.output())
            refused = self.lab.client("map", "meanwhile", "--memory", "8M")
            self.assertEqual(refused.code, SHUTDOWN_IN_PROGRESS & 0xFF, refused)
            self.assertIn("during a reset", refused.stderr)
            reset.kill()
            reset.wait(timeout=30)
            self.lab.client("unmap", "slow", "--hard-disconnect").check()
            slow.wait(timeout=60)
        end = time.monotonic() + 60
        while not self.mapping_allowed():
            self.assertLess(time.monotonic(), end, "new mappings stay refused")
            time.sleep(0.5)
        self.assert_maps()

    def test_an_administrators_prohibition_survives_a_reset(self):
        self.lab.client("set-opt", "NewMappingsAllowed", "false", "--persistent").check()
        self.lab.client("reset-adapter", "--hard-disconnect-mappings").check()
        self.assertFalse(self.mapping_allowed())
        refused = self.lab.client("map", "no", "--memory", "8M")
        self.assertEqual(refused.code, SHUTDOWN_IN_PROGRESS & 0xFF, refused)

    def test_a_disabled_adapter_is_enabled(self):
        for arguments in ((), ("--hard-disconnect-mappings",)):
            self.lab.run("labctl.exe", "disable").check()
            self.assertIn("reset-adapter", self.lab.client("ping").stderr)
            self.lab.client("reset-adapter", *arguments).check()
            self.lab.client("ping").check()
        self.assert_maps()


if __name__ == "__main__":
    unittest.main()
