# SPDX-License-Identifier: LGPL-2.1-or-later
"""A disk's life as Windows leads it: removal and its veto, resets and time-outs, the adapter off and on."""
import re
import unittest

from tests.lab.lab import Lab
from tests.lab.servers import Nbdkit

VETOED = 0x17  # CR_REMOVE_VETOED
TIMED_OUT = 121  # ERROR_SEM_TIMEOUT, as Windows names a disk's time-out


def instance_of(shown):
    """The PnP instance path that `show` printed."""
    return re.search(r"^PNPDeviceID\s*: (.*)$", shown, re.M).group(1).strip()


class Life(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())
        cls.lab.install()

    def state(self):
        lines = self.lab.run("labctl.exe", "state").check().stdout.splitlines()
        return {name: int(value) for name, value in (line.split(": ") for line in lines)}

    def unmap(self, name, child):
        self.lab.client("unmap", name).check()
        self.assertEqual(child.wait(timeout=30), 0, child.output())

    def test_mapped_listed_shown_removed(self):
        child, number = self.lab.map("life", "--memory", "16M")
        self.assertIn("life", self.lab.client("list").check().stdout)
        shown = self.lab.client("show", "life").check().stdout
        units = self.lab.run("labctl.exe", "units").check().stdout
        self.assertIn(instance_of(shown).upper(), units.upper())
        self.assertIn("length: 16777216", self.lab.disktool("info", number).check().stdout)
        self.unmap("life", child)
        self.assertNotIn("life", self.lab.client("list").check().stdout)
        self.assertNotEqual(self.lab.disktool("info", number).code, 0)

    def test_the_same_name_again_and_again(self):
        for _ in range(5):
            child, _number = self.lab.map("again", "--memory", "8M")
            self.unmap("again", child)

    def test_an_open_disk_vetoes_its_removal(self):
        child, number = self.lab.map("busy", "--memory", "16M")
        instance = instance_of(self.lab.client("show", "busy").check().stdout)
        load = self.lab.start("disktool.exe", "load", number, "--ios", 20000)
        while self.state()["outstanding-max"] < 2 and load.poll() is None:
            pass
        self.assertEqual(self.lab.run("labctl.exe", "remove", instance).code, VETOED)
        self.assertIsNone(load.poll(), "the load ended before the removal was tried")
        load.kill()
        load.wait(timeout=30)
        self.unmap("busy", child)

    def test_resets_under_load_lose_nothing(self):
        child, number = self.lab.map("reset", "--memory", "16M")
        load = self.lab.start("disktool.exe", "load", number, "--ios", 3000, "--depth", 16)
        resets = 0
        while load.poll() is None:
            for kind in ("unit", "target", "bus"):
                self.lab.run("labctl.exe", "reset", kind, 0, 0, 0).check()
                resets += 1
        self.assertEqual(load.returncode, 0, load.output())
        self.assertGreater(resets, 2)
        state = self.state()
        self.assertEqual((state["outstanding"], state["violations"]), (0, 0))
        self.assertEqual(state["issued"], state["completed"])
        self.unmap("reset", child)

    def test_pass_through_gives_data_and_sense(self):
        child, number = self.lab.map("raw", "--memory", "8M")
        for way in ([], ["--direct"]):
            inquiry = self.lab.disktool("scsi", number, "120000002400", "--in", 36, *way).check()
            self.assertIn("574e4244", inquiry.stdout.replace(" ", "").lower())  # "WNBD"
            unknown = self.lab.disktool("scsi", number, "ff0000000000", *way)
            sense = re.search(r"(?i)sense: *((?:7[02]|f0)[0-9a-f ]*)", unknown.stdout)
            self.assertEqual(len(bytes.fromhex(sense[1])), 18, unknown.stdout)
            # Data-in into a buffer for data-out: the verifier would tell if a byte of it changed.
            mismatched = self.lab.disktool("scsi", number, "120000002400", "--out", "5a" * 36, *way)
            self.assertIn("status: 00", mismatched.stdout)
        self.unmap("raw", child)

    def test_the_adapter_off_and_on(self):
        self.lab.run("labctl.exe", "disable").check()
        self.assertNotEqual(self.lab.client("list").code, 0)
        self.lab.run("labctl.exe", "enable").check()
        child, _number = self.lab.map("after", "--memory", "8M")
        self.unmap("after", child)


class TimeOuts(unittest.TestCase):
    def test_a_slow_server_ends_in_an_error_and_no_lost_request(self):
        with Lab(environment={"WNBD_LAB_TIMEOUT_MS": "300"}) as lab:
            lab.install()
            with Nbdkit("memory", "16M", "delay-read=5", filters=["delay"]) as server:
                child, number = lab.map("slow", server.uri)
                back = lab.windows_path(lab.place / "back")
                failed = lab.disktool("read", number, back, "--length", 4096)
                self.assertEqual(failed.code, TIMED_OUT, failed.stderr)
                state = lab.run("labctl.exe", "state").check().stdout
                self.assertRegex(state, r"timed-out: [1-9]")
                self.assertRegex(state, r"(?m)^outstanding: 0$")
                lab.client("unmap", "slow", "--hard-disconnect").check()
                child.wait(timeout=60)


if __name__ == "__main__":
    unittest.main()
