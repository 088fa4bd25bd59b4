# SPDX-License-Identifier: LGPL-2.1-or-later
"""install-driver and uninstall-driver: all or nothing, once or twice, and no device node too many."""

import re
import shutil
import subprocess
import unittest

from tests.lab.lab import Lab

NODES = r"HKLM\System\CurrentControlSet\Enum\ROOT"
VERSION = r"HKLM\Software\Microsoft\Windows NT\CurrentVersion"

# What the host leaves of a Win32 status: its last 8 bits.
ERROR_NOT_SUPPORTED = 50
ERROR_DUPLICATE_FOUND = 0xE0000202 & 0xFF
ERROR_DEVICE_NOT_AVAILABLE = 4319 & 0xFF


class InstallLab(unittest.TestCase):
    """What the system keeps of a driver, in the lab of a class."""

    @classmethod
    def setUpClass(cls):
        cls.lab = cls.enterClassContext(Lab())

    def setUp(self):
        self.addCleanup(self.lab.client, "uninstall-driver")

    def reg(self, *arguments):
        return subprocess.run(["wine", "reg", *arguments], stdin=subprocess.DEVNULL, check=False,
                              env=self.lab.environment() | {"WINEDEBUG": "-all"}, text=True,
                              capture_output=True, timeout=120)

    def nodes(self):
        """The device nodes with our hardware id, whatever their class."""
        found, node = set(), None
        for line in self.reg("query", NODES, "/s").stdout.splitlines():
            if line.startswith("HKEY"):
                node = line.strip().upper().split("\\ENUM\\")[1]
            elif re.search(r"HardwareI[Dd]\s+REG_\w+\s+root\\wnbd", line):
                found.add(node)
        return found

    def packages(self):
        folder = self.lab.prefix / "drive_c/windows/inf"
        return [path.name for path in folder.iterdir() if re.fullmatch(r"(oem.*|wnbd)\.inf", path.name)]

    def changed_package(self, name, suffix, change):
        """A folder with the package, in which one file is different; its INF's Windows path."""
        folder = self.lab.programs / name
        folder.mkdir()
        for file in ("wnbd.inf", "wnbd.sys", "wnbd.cat"):
            shutil.copy(self.lab.programs / file, folder)
        path = folder / f"wnbd.{suffix}"
        path.write_bytes(change(path.read_bytes()))
        return self.lab.windows_path(folder / "wnbd.inf")

    def assert_nothing_is_left(self):
        self.assertEqual(self.nodes(), set())
        self.assertEqual(self.packages(), [])
        self.assertNotEqual(self.lab.client("list").code, 0)

    def assert_works(self):
        child, number = self.lab.map("works", "--memory", "16M")
        self.assertIn("16777216", self.lab.disktool("info", number).check().stdout)
        self.lab.client("unmap", "works").check()
        child.wait(timeout=60)


class Install(InstallLab):
    def test_installing_twice_is_installing_once_and_disturbs_no_disk(self):
        self.lab.install()
        child, number = self.lab.map("stays", "--memory", "16M")
        self.lab.install()
        self.assertEqual(len(self.nodes()), 1)
        self.assertEqual(self.lab.disk_number("stays"), number)
        self.lab.client("unmap", "stays").check()
        child.wait(timeout=60)

    def test_installations_at_once_make_one_adapter(self):
        started = [self.lab.start("wnbd-client.exe", "install-driver", self.lab.inf) for _ in range(8)]
        for child in started:
            self.assertEqual(child.wait(timeout=120), 0, child.output())
        self.assertEqual(len(self.nodes()), 1)
        self.assert_works()

    def test_another_package_is_refused_while_one_is_installed(self):
        self.lab.install()
        before = self.nodes()
        for name, suffix, change in (
            ("other-inf", "inf", lambda data: data + b"; another\r\n"),
            ("other-sys", "sys", lambda data: data[:-1] + b"\x01"),
        ):
            with self.subTest(name):
                done = self.lab.client("install-driver", self.changed_package(name, suffix, change))
                self.assertEqual(done.code, ERROR_DUPLICATE_FOUND, done)
                self.assertRegex(done.stderr, "another WNBD driver is installed.*uninstall-driver")
        self.assertEqual(self.nodes(), before)

    def test_uninstalling_removes_disks_first_and_leaves_no_node(self):
        self.lab.install()
        children = [self.lab.map(f"disk{i}", "--memory", "16M")[0] for i in range(3)]
        self.lab.client("uninstall-driver").check()
        for child in children:
            child.wait(timeout=60)
        self.assert_nothing_is_left()

    def test_uninstalling_what_is_not_installed_succeeds(self):
        for _ in range(2):
            self.lab.client("uninstall-driver").check()
        self.assert_nothing_is_left()

    def test_after_uninstalling_it_installs_and_maps_again(self):
        for _ in range(2):
            self.lab.install()
            self.assert_works()
            self.lab.client("uninstall-driver").check()
            self.assert_nothing_is_left()

    def add_node(self, number, hardware_id):
        key = rf"{NODES}\SCSIADAPTER\{number}"
        for name, kind, value in (("HardwareID", "REG_MULTI_SZ", hardware_id),
                                  ("Class", "REG_SZ", "SCSIAdapter"),
                                  ("ClassGUID", "REG_SZ", "{4D36E97B-E325-11CE-BFC1-08002BE10318}")):
            self.reg("add", key, "/v", name, "/t", kind, "/d", value, "/f").check_returncode()
        return key

    def test_nodes_left_behind_are_cleaned_up_and_other_drivers_stay(self):
        for number in ("0007", "0009"):
            self.add_node(number, r"root\wnbd")
        self.assertEqual(len(self.nodes()), 2)
        others_node = self.add_node("0042", r"root\wnbx")
        others_package = self.lab.prefix / "drive_c/windows/inf/oem7.inf"
        self.addCleanup(others_package.unlink, missing_ok=True)
        others_package.write_text('[Version]\r\nSignature="$WINDOWS NT$"\r\nCatalogFile=wnbx.cat\r\n',
                                  encoding="ascii")
        self.lab.install()
        self.assertEqual(len(self.nodes()), 1)
        self.lab.client("uninstall-driver").check()
        self.assertTrue(others_package.exists())
        others_package.unlink()
        self.assert_nothing_is_left()
        self.assertEqual(self.reg("delete", others_node, "/f").returncode, 0, "another driver's node")

    def test_windows_before_1809_is_refused_and_1809_is_not(self):
        for build in ("17134", "17762"):
            self.reg("add", VERSION, "/v", "CurrentBuildNumber", "/d", build, "/f").check_returncode()
            done = self.lab.client("install-driver", self.lab.inf)
            self.assertEqual(done.code, ERROR_NOT_SUPPORTED, done)
            self.assertRegex(done.stderr, rf"Windows 10\.0\.{build} is too old, 10\.0\.17763 is needed")
            self.assert_nothing_is_left()
        self.reg("add", VERSION, "/v", "CurrentBuildNumber", "/d", "17763", "/f").check_returncode()
        self.lab.install()
        self.lab.client("uninstall-driver").check()


class FailedInstall(InstallLab):
    """In a lab of its own: Wine keeps a driver loaded once it ran, and would run that instead."""

    def test_a_driver_that_does_not_start_is_taken_back(self):
        inf = self.changed_package("broken", "sys", lambda data: data[:4096])
        done = self.lab.client("install-driver", inf)
        self.assertEqual(done.code, ERROR_DEVICE_NOT_AVAILABLE, done)
        self.assertRegex(done.stderr, r"wnbd-client: .*ROOT\\SCSIADAPTER\\0000 did not start")
        self.assert_nothing_is_left()
        # Nor does it stand in the way of one that works.
        self.lab.install()
        self.assert_works()


if __name__ == "__main__":
    unittest.main()
