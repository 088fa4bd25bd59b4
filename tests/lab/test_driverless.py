# SPDX-License-Identifier: LGPL-2.1-or-later
"""Driverless disks: the real client and its target, over the lab's stand-in for Windows's initiator."""
import json
import re
import shutil
import subprocess
import time
import unittest

from tests.lab.lab import Lab
from tests.lab.servers import Nbdkit

LIST = r"HKLM\SOFTWARE\WNBD Driverless"
NO_MODULE, SERVICE_DISABLED, NO_SERVICE = 126, 1058, 1060
NOT_SUPPORTED, INVALID_PARAMETER, OPEN_FAILED, ALREADY_EXISTS = 50, 87, 110, 183
ABORTED, TIMEOUT = 1236, 1460
AUTHENTICATION_FAILURE = 0xEFFF0009


class DriverlessLab(Lab):
    def wine(self, *words):
        return subprocess.run(["wine", *words], env=self.environment() | {"WINEDEBUG": "-all"},
                              stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
                              timeout=120, check=False)

    def install_initiator(self):
        shutil.copy(self._built("iscsidsc.dll"), self.prefix / "drive_c/windows/system32")

    def install_service(self, start="demand"):
        program = self.windows_path(self._built("msiscsi.exe"))
        self.wine("sc", "create", "MSiSCSI", "binPath=", program, "start=", start).check_returncode()

    def tell_initiator(self, name, value):
        # Seen to fail once, and nobody had listened to why.
        done = subprocess.run(["wine", "reg", "add", r"HKLM\SOFTWARE\WNBD Lab", "/v", name, "/t", "REG_DWORD", "/d",
                               str(value), "/f"], env=self.environment(), stdin=subprocess.DEVNULL,
                              capture_output=True, timeout=120, check=False)  # fmt: skip
        if done.returncode != 0:
            raise AssertionError(f"reg add {name}: exit code {done.returncode}: {done.stdout!r} {done.stderr!r}")

    def announced(self):
        """The entries of processes that serve driverless disks."""
        return re.findall(rb"^ +(\d+-[0-9a-f]{16}) ", self.wine("reg", "query", LIST).stdout, re.MULTILINE)

    def wait_for(self, child, seconds=30):
        try:
            return child.wait(timeout=seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError("the client did not end\n" + child.output()) from None


class WithoutInitiator(unittest.TestCase):
    """What is missing is said in one line, and nothing is left behind."""

    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(DriverlessLab())

    def refused(self, code, says):
        image = self.lab.place / "disk.img"
        done = self.lab.client("map", "d", "--file", self.lab.windows_path(image), "--disk-size", "1M",
                               "--driverless")
        self.assertEqual(done.code, code & 0xFF, done)
        self.assertEqual(done.stdout, "")
        self.assertRegex(done.stderr, rf"\Awnbd-client: Could not map the disk 'd': [^\n]*{says}[^\n]*\n\Z")
        self.assertIn(f"(error {code})", done.stderr)
        self.assertFalse(image.exists())
        self.assertEqual(self.lab.announced(), [])

    def test_what_is_missing_is_one_line(self):
        self.refused(NO_MODULE, r"no iSCSI initiator \(iscsidsc.dll is missing\)")
        self.lab.install_initiator()
        self.refused(NO_SERVICE, r"no iSCSI initiator \(the service MSiSCSI is missing\)")
        self.lab.install_service("disabled")
        self.refused(SERVICE_DISABLED, r"disabled; `sc config MSiSCSI start= demand`")


class WithInitiator(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(DriverlessLab(files=[Lab._built("pipe_abuser.exe")]))
        cls.lab.install_initiator()
        cls.lab.install_service()

    def json(self, *words):
        done = self.lab.client(*words, "--format", "json").check()
        return json.loads(done.stdout)

    def fails(self, code, says, *words):
        done = self.lab.client(*words)
        self.assertEqual(done.code, code & 0xFF, done)
        self.assertRegex(done.stderr.splitlines()[-1], rf"\Awnbd-client: .*\(error {code}\).*{says}")

    def test_1_a_disk_is_like_any_other_without_a_driver(self):
        lab = self.lab
        child, number = lab.map("d", "--memory", "8M", "--block-size", "4096", "--driverless")
        self.assertGreaterEqual(number, 100)
        disk, = self.json("list")
        self.assertEqual(disk | {"Pid": 0}, {"Pid": 0, "DiskNumber": number, "Nbd": False,
                                             "Owner": "wnbd-driverless", "InstanceName": "d"})
        header, row = lab.client("list").check().stdout.splitlines()
        self.assertEqual(header.split(), list(disk))
        self.assertEqual(row.split(), [str(disk["Pid"]), str(number), "false", "wnbd-driverless", "d"])

        shown = self.json("show", "d")
        self.assertEqual((shown["BlockCount"], shown["BlockSize"]), (2048, 4096))
        self.assertEqual((shown["FlushSupported"], shown["UnmapSupported"], shown["ReadOnly"]),
                         (True, True, False))
        self.assertEqual((shown["Pid"], shown["SerialNumber"]), (disk["Pid"], "d"))
        # The initiator has read the first block.
        stats = self.json("stats", "d")
        self.assertGreaterEqual(stats["TotalReceivedIORequests"], 1)
        self.assertEqual(stats["TotalReceivedIOReplies"], stats["TotalReceivedIORequests"])
        self.assertEqual(stats["OutstandingIOCount"], 0)
        self.assertLess(stats["TimeSinceLastReplyMs"], 120_000)

        self.fails(NOT_SUPPORTED, "keeps its size", "resize", "d", "16M")
        self.fails(ALREADY_EXISTS, "Unmap that disk first", "map", "d", "--memory", "8M", "--driverless")
        self.fails(OPEN_FAILED, "not installed", "show", "other")

        lab.client("unmap", "d").check()
        self.assertEqual(lab.wait_for(child), 0, child.output())
        self.assertEqual(lab.announced(), [])
        self.fails(OPEN_FAILED, "not installed", "list")
        self.assertNotRegex(child.output(), "ERROR")

    def test_2_a_disk_in_use_is_removed_softly_later_and_hard_at_once(self):
        lab = self.lab
        child, _ = lab.map("d", "--memory", "8M", "--driverless")
        lab.tell_initiator("DisksInUse", 1)
        self.fails(TIMEOUT, "Close the programs", "unmap", "d", "--no-hard-disconnect-fallback",
                   "--soft-disconnect-timeout", "1", "--soft-disconnect-retry-interval", "1")
        self.assertEqual(len(self.json("list")), 1)
        lab.tell_initiator("DisksInUse", 0)
        lab.client("unmap", "d", "--no-hard-disconnect-fallback").check()
        self.assertEqual(lab.wait_for(child), 0, child.output())

        child, _ = lab.map("d", "--memory", "8M", "--driverless")
        lab.tell_initiator("DisksInUse", 1)
        lab.client("unmap", "d", "--hard-disconnect").check()
        self.assertEqual(lab.wait_for(child), 0, child.output())
        lab.tell_initiator("DisksInUse", 0)
        self.assertEqual(lab.announced(), [])

    def test_3_what_is_written_in_a_file_stays_and_a_killed_process_takes_its_disk_along(self):
        lab = self.lab
        image = lab.place / "disk.img"
        child, _ = lab.map("d", "--file", lab.windows_path(image), "--disk-size", "1M", "--driverless")
        self.assertEqual(image.stat().st_size, 1 << 20)
        self.assertEqual(len(lab.announced()), 1)
        pid = self.json("list")[0]["Pid"]
        lab.wine("taskkill", "/f", "/pid", str(pid)).check_returncode()
        lab.wait_for(child)
        # Its entry is still there; whoever finds that nobody answers takes it away.
        self.fails(OPEN_FAILED, "not installed", "list")
        self.assertEqual(lab.announced(), [])
        child, _ = lab.map("d", "--file", lab.windows_path(image), "--read-only", "--driverless")
        self.assertIs(self.json("show", "d")["ReadOnly"], True)
        lab.client("unmap", "d").check()
        self.assertEqual(lab.wait_for(child), 0, child.output())

    def test_4_who_does_not_know_the_secret_gets_no_disk(self):
        lab = self.lab
        lab.tell_initiator("WrongSecret", 1)
        done = lab.client("map", "d", "--memory", "8M", "--driverless")
        lab.tell_initiator("WrongSecret", 0)
        self.assertEqual(done.code, AUTHENTICATION_FAILURE & 0xFF, done)
        self.assertRegex(done.stderr.splitlines()[-1], "does not take the portal")
        self.assertIn(f"0x{AUTHENTICATION_FAILURE:08X}", done.stderr)
        self.assertEqual(lab.announced(), [])

    def test_5_a_session_that_somebody_logs_out_ends_the_disk(self):
        lab = self.lab
        child, _ = lab.map("d", "--memory", "8M", "--driverless")
        lab.tell_initiator("LoggedOut", 1)
        self.assertEqual(lab.wait_for(child), 0, child.output())
        lab.tell_initiator("LoggedOut", 0)
        self.assertEqual(lab.announced(), [])

    def test_6_an_nbd_server_that_goes_ends_the_disk(self):
        lab = self.lab
        with Nbdkit("memory", "8M") as server:
            child, _ = lab.map("n", server.uri + "?reconnect-timeout=0", "--driverless")
            shown = self.json("show", "n")
            self.assertEqual(shown["NbdProperties"]["PortNumber"], server.port)
            server.stop()
            self.assertEqual(lab.wait_for(child), ABORTED & 0xFF, child.output())
        self.assertRegex(child.output(), r"Could not go on serving the disk 'n': .*\(error 1236\)")
        self.assertEqual(lab.announced(), [])

    def test_7_the_control_pipe_takes_abuse_and_impostors_hide_nobody(self):
        lab = self.lab
        child, number = lab.map("d", "--memory", "8M", "--driverless")
        self.assertEqual(lab.run("pipe_abuser.exe", "abuse").check().stdout, "ok\n")
        for kind in ("garbage", "silent"):
            impostor = lab.start("pipe_abuser.exe", "impostor", kind)
            end = time.monotonic() + 30
            while impostor.output() != "listed\n" and time.monotonic() < end:
                time.sleep(0.1)
            listed = lab.client("list", "--format", "json").check()
            self.assertEqual([disk["DiskNumber"] for disk in json.loads(listed.stdout)], [number])
            self.assertIn("could not be asked", listed.stderr)
            impostor.kill()
            impostor.wait(timeout=30)
        lab.client("unmap", "d").check()
        self.assertEqual(lab.wait_for(child), 0, child.output())
        self.fails(OPEN_FAILED, "not installed", "list")
        self.assertEqual(lab.announced(), [])

    def test_8_others_that_come_and_go_hide_no_disk(self):
        lab = self.lab
        child, number = lab.map("d", "--memory", "8M", "--driverless")
        churn = lab.start("pipe_abuser.exe", "churn")
        end = time.monotonic() + 30
        while churn.output() != "listed\n" and time.monotonic() < end:
            time.sleep(0.1)
        for _ in range(12):
            self.assertEqual([disk["DiskNumber"] for disk in self.json("list")], [number])
        churn.kill()
        churn.wait(timeout=30)
        lab.client("unmap", "d").check()
        self.assertEqual(lab.wait_for(child), 0, child.output())

    def test_9_side_by_side_with_the_driver(self):
        lab = self.lab
        lab.install()
        by_driver, _ = lab.map("a", "--memory", "8M")
        driverless, _ = lab.map("b", "--memory", "8M", "--driverless")
        self.assertEqual([(disk["InstanceName"], disk["Owner"]) for disk in self.json("list")],
                         [("a", "wnbd-client"), ("b", "wnbd-driverless")])
        self.fails(ALREADY_EXISTS, "Unmap", "map", "a", "--memory", "8M", "--driverless")
        self.fails(ALREADY_EXISTS, "Unmap", "map", "b", "--memory", "8M")
        for name, child in (("b", driverless), ("a", by_driver)):
            lab.client("stats", name).check()
            lab.client("unmap", name).check()
            self.assertEqual(lab.wait_for(child), 0, child.output())
        self.assertEqual(self.json("list"), [])
        self.fails(2, "wnbd-client list", "unmap", "b")


if __name__ == "__main__":
    unittest.main()
