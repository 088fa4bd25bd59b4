# SPDX-License-Identifier: LGPL-2.1-or-later
"""The installer: its tables say what they must, and Wine's msiexec installs, replaces and uninstalls by
them, with the driver started in the lab."""

import re
import shutil
import subprocess
import tempfile
import unittest
from pathlib import Path

from tests.lab.lab import Lab, clean
from tests.package.package import Package, run, table

UPGRADE_CODE = "{3D0E4C1B-6E0B-4B2B-9C4C-0E6B0D3A8F51}"
COMPONENT_64_BIT = 0x100
ROLLBACK = 0x100
DEFERRED_AS_SYSTEM = 0x400 | 0x800
PROGRAM_OF_THE_PRODUCT = 18
PROGRAM_IN_A_FOLDER = 34
VERSION_MAX_INCLUSIVE = 0x200

NODES = r"HKLM\System\CurrentControlSet\Enum\Root\SCSIADAPTER"
MACHINE_ENVIRONMENT = r"HKLM\System\CurrentControlSet\Control\Session Manager\Environment"

FILES = {"LICENSE", "bin/wnbd-client.exe", "bin/libwnbd.dll", "driver/wnbd.sys", "driver/wnbd.inf",
         "driver/wnbd.cat", "events/wnbdevents.xml", "include/wnbd.h", "include/wnbd_ioctl.h", "lib/libwnbd.dll.a",
         "lib/libwnbd.lib"}


def files_below(folder):
    return {str(path.relative_to(folder)): path.read_bytes()
            for path in Path(folder).rglob("*") if path.is_file()}


class Tables(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.package = Package()
        cls.place = Path(cls.enterClassContext(tempfile.TemporaryDirectory()))

    def rows(self, name, key):
        return {row[key]: row for row in table(self.package.msi, name)}

    def test_it_contains_the_files_of_the_zip(self):
        run("msiextract", "-C", self.place / "msi", self.package.msi)
        (installed,) = (self.place / "msi").rglob("WNBD")
        zipped = files_below(self.package.unpack(self.place))
        del zipped[self.package.msi.name], zipped["wnbd-test.cer"]
        found = files_below(installed)
        self.assertEqual(set(found), FILES)
        self.assertTrue(found == zipped)

    def test_it_is_a_64_bit_installer_for_the_machine(self):
        said = run("msiinfo", "suminfo", self.package.msi).stdout
        self.assertIn("Template: x64;1033", said)
        self.assertEqual(self.rows("Property", "Property")["ALLUSERS"]["Value"], "1")
        for row in self.rows("Component", "Component").values():
            self.assertTrue(int(row["Attributes"]) & COMPONENT_64_BIT, row)

    def test_versions_are_those_of_the_build(self):
        properties = self.rows("Property", "Property")
        self.assertEqual(properties["ProductVersion"]["Value"], self.package.version)
        self.assertIn(f",{self.package.version}\r".encode(),
                      (self.package.driver / "wnbd.inf").read_bytes())
        files, hashes = self.rows("File", "File"), self.rows("MsiFileHash", "File_")
        for name, row in files.items():
            versioned = row["FileName"].endswith((".exe", ".dll", ".sys"))
            self.assertEqual(row["Version"], self.package.version if versioned else "")
            self.assertEqual(name not in hashes, versioned)

    def test_what_was_there_is_replaced_and_newer_is_refused(self):
        self.assertEqual(self.rows("Property", "Property")["UpgradeCode"]["Value"], UPGRADE_CODE)
        rows = self.rows("Upgrade", "ActionProperty")
        older, newer = rows["WIX_UPGRADE_DETECTED"], rows["WIX_DOWNGRADE_DETECTED"]
        self.assertEqual({older["UpgradeCode"], newer["UpgradeCode"]}, {UPGRADE_CODE})
        self.assertEqual(older["VersionMax"], self.package.version)
        self.assertTrue(int(older["Attributes"]) & VERSION_MAX_INCLUSIVE)
        self.assertEqual((newer["VersionMin"], newer["Attributes"]), (self.package.version, "2"))
        conditions = " ".join(self.rows("LaunchCondition", "Condition"))
        self.assertIn("NOT WIX_DOWNGRADE_DETECTED", conditions)
        self.assertIn("WINDOWSBUILD >= 17763", conditions)

    def test_the_driver_is_installed_last_uninstalled_first_and_both_roll_back(self):
        order = {name: int(row["Sequence"])
                 for name, row in self.rows("InstallExecuteSequence", "Action").items()}
        steps = ("InstallInitialize", "RemoveExistingProducts", "ReinstallDriver", "UninstallDriver",
                 "RemoveFiles", "InstallFiles", "WriteEnvironmentStrings", "InstallDriver",
                 "UndoInstallDriver", "InstallFinalize")
        self.assertEqual(sorted(steps, key=order.get), list(steps))
        actions = self.rows("CustomAction", "Action")
        for name, rolls_back in (("InstallDriver", False), ("UninstallDriver", False),
                                 ("UndoInstallDriver", True), ("ReinstallDriver", True)):
            kind = int(actions[name]["Type"])
            self.assertEqual(kind & 0x3F, PROGRAM_OF_THE_PRODUCT)
            self.assertEqual(kind & DEFERRED_AS_SYSTEM, DEFERRED_AS_SYSTEM)
            self.assertEqual(bool(kind & ROLLBACK), rolls_back, name)
            self.assertEqual(actions[name]["Source"], "client")

    def test_the_event_manifest_is_registered_and_unregistered(self):
        actions = self.rows("CustomAction", "Action")
        order = {name: int(row["Sequence"])
                 for name, row in self.rows("InstallExecuteSequence", "Action").items()}
        for name, does, after, before in (
            ("RegisterEvents", "im", "InstallFiles", "InstallFinalize"),
            ("UndoRegisterEvents", "um", "InstallFiles", "RegisterEvents"),
            ("UnregisterEvents", "um", "UninstallDriver", "RemoveFiles"),
            ("UndoUnregisterEvents", "im", "UninstallDriver", "UnregisterEvents"),
        ):
            self.assertEqual(actions[name]["Target"],
                             rf'"[System64Folder]wevtutil.exe" {does} "[EVENTSDIR]wnbdevents.xml"')
            self.assertEqual(int(actions[name]["Type"]) & 0x3F, PROGRAM_IN_A_FOLDER)
            self.assertEqual(bool(int(actions[name]["Type"]) & ROLLBACK), name.startswith("Undo"))
            self.assertLess(order[after], order[name])
            self.assertLess(order[name], order[before])

    def test_the_client_is_put_on_the_path(self):
        (row,) = self.rows("Environment", "Environment").values()
        self.assertEqual((row["Name"], row["Value"], row["Component_"]),
                         ("=-*PATH", "[~];[BINDIR]", "Client"))


class InWine(unittest.TestCase):
    def setUp(self):
        self.lab = self.enterContext(Lab())
        self.msi = self.lab.place / "wnbd.msi"
        shutil.copy(Package().msi, self.msi)
        self.programs = self.lab.prefix / "drive_c/Program Files/WNBD"

    def wine(self, *arguments, timeout=600):
        done = subprocess.run(["wine", *map(str, arguments)], cwd=self.lab.place,
                              env=self.lab.environment() | {"WINEDEBUG": "-all"}, timeout=timeout,
                              stdin=subprocess.DEVNULL, capture_output=True, check=False)
        return done.returncode, clean(done.stdout.decode(errors="replace"))

    def msiexec(self, *arguments):
        return self.wine("msiexec", *arguments, "/qn")[0]

    def client(self, *arguments):
        return self.wine(r"C:\Program Files\WNBD\bin\wnbd-client.exe", *arguments)

    def key(self, name):
        """What the registry holds below a key, or None when there is none."""
        code, said = self.wine("reg", "query", name, "/s")
        return said if code == 0 else None

    def test_it_installs_a_working_driver_and_uninstalls_all_of_it(self):
        self.assertEqual(self.msiexec("/i", "wnbd.msi"), 0)
        installed, given = files_below(self.programs), files_below(Package().unpack(self.lab.place))
        self.assertEqual(set(installed), FILES)
        self.assertEqual([name for name in FILES if installed[name] != given[name]], [])
        code, said = self.client("version")
        self.assertEqual(code, 0, said)
        self.assertEqual(len(set(re.findall(r": (\S+)", said))), 1, said)
        self.assertIn("wnbd.sys: ", said)
        self.assertIn("0000", self.key(NODES))
        self.assertIn(Package().version, self.key(r"HKLM\Software\WNBD"))
        self.assertIn(r"C:\Program Files\WNBD\bin", self.key(MACHINE_ENVIRONMENT))

        # A disk in use does not keep it: disks go first.
        self.lab.programs = self.programs / "bin"
        child, _ = self.lab.map("left", "--memory", "16M")
        self.assertEqual(self.msiexec("/x", "wnbd.msi"), 0)
        child.wait(timeout=60)
        self.assertFalse(self.programs.exists())
        self.assertIsNone(self.key(NODES))
        self.assertIsNone(self.key(r"HKLM\Software\WNBD"))
        self.assertNotIn("WNBD", self.key(MACHINE_ENVIRONMENT))
        infs = self.lab.prefix / "drive_c/windows/inf"
        self.assertEqual([*infs.glob("oem*.inf"), *infs.glob("wnbd.inf")], [])

    def test_the_driver_folder_installs_with_the_client_alone(self):
        self.lab.client("install-driver", self.lab.windows_path(Package().driver / "wnbd.inf")).check()
        self.assertEqual((self.lab.prefix / "drive_c/windows/system32/drivers/wnbd.sys").read_bytes(),
                         (Package().driver / "wnbd.sys").read_bytes())
        self.lab.map("disk", "--memory", "16M")
        self.lab.client("uninstall-driver").check()
        self.assertIsNone(self.key(NODES))

    def test_without_the_driver_only_files_are_installed(self):
        self.assertEqual(self.msiexec("/i", "wnbd.msi", "ADDLOCAL=Program,Sdk"), 0)
        self.assertEqual({name for name in FILES if not name.startswith(("driver/", "events/"))},
                         set(files_below(self.programs)))
        self.assertIsNone(self.key(NODES))
        self.assertEqual(self.msiexec("/x", "wnbd.msi"), 0)
        self.assertFalse(self.programs.exists())

    def test_a_newer_one_replaces_it_and_an_older_one_is_refused(self):
        newer = self.lab.place / "newer.msi"
        shutil.copy(self.msi, newer)
        for query in (
            "UPDATE `Property` SET `Value` = '1.0.1.0' WHERE `Property` = 'ProductVersion'",
            "UPDATE `Property` SET `Value` = '{01234567-89AB-4DEF-8123-456789ABCDEF}' "
            "WHERE `Property` = 'ProductCode'",
            "DELETE FROM `Upgrade` WHERE `ActionProperty` = 'WIX_UPGRADE_DETECTED'",
            "INSERT INTO `Upgrade` (`UpgradeCode`, `VersionMax`, `Attributes`, `ActionProperty`) "
            f"VALUES ('{UPGRADE_CODE}', '1.0.1.0', 513, 'WIX_UPGRADE_DETECTED')",
        ):
            run("msibuild", newer, "-q", query)
        run("msibuild", newer, "-s", "newer", "WNBD", "x64;1033",
            "{01234567-89AB-4DEF-8123-456789ABCDEE}")
        self.assertEqual(self.msiexec("/i", "wnbd.msi"), 0)
        self.assertEqual(self.msiexec("/i", "newer.msi"), 0)
        products = r"HKLM\Software\Microsoft\Windows\CurrentVersion\Uninstall"
        self.assertEqual(self.key(products).count("DisplayName    REG_SZ    WNBD"), 1)
        self.assertEqual(set(files_below(self.programs)), FILES)
        self.assertEqual(self.client("list")[0], 0)
        self.assertNotEqual(self.msiexec("/i", "wnbd.msi"), 0)
        self.assertEqual(self.client("list")[0], 0)

    def test_old_windows_is_refused_before_anything_is_installed(self):
        self.wine("reg", "add", r"HKLM\Software\Microsoft\Windows NT\CurrentVersion", "/v",
                  "CurrentBuildNumber", "/d", "17134", "/f")
        self.assertNotEqual(self.msiexec("/i", "wnbd.msi"), 0)
        self.assertFalse(self.programs.exists())


if __name__ == "__main__":
    unittest.main()
