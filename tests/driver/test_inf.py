# SPDX-License-Identifier: LGPL-2.1-or-later
"""wnbd.inf installs what it says on Windows and in Wine. WNBD_INF names the file, if it is not the one
that the preset `driver` makes."""

import os
import pathlib
import re
import unittest

ROOT = pathlib.Path(__file__).resolve().parents[2]
INF = pathlib.Path(os.environ.get("WNBD_INF", ROOT / "build/driver/src/driver/wnbd.inf"))


def parse(text):
    """{section in lower case: [(key, value)]}; a line without "=" has an empty key."""
    sections = {}
    lines = None
    for line in text.splitlines():
        line = line.strip()
        if not line or line.startswith(";"):
            continue
        if line.startswith("["):
            lines = sections.setdefault(line.strip("[]").lower(), [])
            continue
        key, equals, value = line.partition("=")
        lines.append((key.strip().lower(), value.strip()) if equals else ("", line))
    return sections


class Inf(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.raw = INF.read_bytes()
        cls.sections = parse(cls.raw.decode("ascii"))

    def value(self, section, key):
        return dict(self.sections[section.lower()])[key.lower()]

    def test_it_is_plain_text_with_windows_line_ends(self):
        self.assertEqual(self.raw.count(b"\n"), self.raw.count(b"\r\n"))
        self.assertNotIn(b"@WNBD", self.raw)

    def test_it_is_a_scsi_adapter_with_a_catalog(self):
        self.assertEqual(self.value("Version", "Class"), "SCSIAdapter")
        self.assertEqual(
            self.value("Version", "ClassGuid"), "{4D36E97B-E325-11CE-BFC1-08002BE10318}"
        )
        self.assertEqual(self.value("Version", "CatalogFile"), "wnbd.cat")
        self.assertEqual(self.value("Version", "PnpLockdown"), "1")

    def test_its_version_has_a_date_and_four_numbers(self):
        self.assertRegex(
            self.value("Version", "DriverVer"), r"^\d\d/\d\d/\d{4},\d+\.\d+\.\d+\.\d+$"
        )

    def test_both_windows_1809_and_wine_find_the_adapter(self):
        models, decoration = self.sections["manufacturer"][0][1].split(",")
        self.assertEqual(decoration, "NTamd64.10.0...17763")
        for suffix in (decoration, "NTamd64"):
            ((_, model),) = self.sections[f"{models}.{suffix}".lower()]
            install, hardware_id = model.split(",")
            self.assertEqual(hardware_id, r"root\wnbd")
            self.assertIn(install.lower() + ".services", self.sections)

    def test_the_service_is_a_kernel_driver_that_starts_on_demand(self):
        name, flags, section = self.value("WnbdInstall.Services", "AddService").split(",")
        self.assertEqual((name, int(flags, 0)), ("wnbd", 2))
        self.assertEqual(self.value(section, "ServiceType"), "1")
        self.assertEqual(self.value(section, "StartType"), "3")
        self.assertEqual(self.value(section, "ServiceBinary"), r"%12%\wnbd.sys")
        self.assertEqual(self.value(section, "LoadOrderGroup"), "SCSI Miniport")

    def test_only_system_and_administrators_open_the_adapter(self):
        hardware = [line for _, line in self.sections["wnbdhardware"]]
        (security,) = [line for line in hardware if ",Security," in line]
        descriptor = re.search(r'"(.*)"', security).group(1)
        self.assertTrue(descriptor.startswith("D:P"), "inherits nothing")
        self.assertEqual(set(re.findall(r"\((.*?)\)", descriptor)), {"A;;GA;;;SY", "A;;GA;;;BA"})

    def test_every_string_it_uses_is_defined(self):
        strings = {key for key, _ in self.sections["strings"]}
        used = set(re.findall(r"%([A-Za-z]+)%", self.raw.decode("ascii")))
        self.assertEqual({name.lower() for name in used} - strings, set())

    def test_every_section_it_names_exists(self):
        for section, key in (
            ("WnbdInstall.HW", "AddReg"),
            ("WnbdService", "AddReg"),
        ):
            self.assertIn(self.value(section, key).lower(), self.sections)
        self.assertEqual(self.value("WnbdInstall", "CopyFiles"), "@wnbd.sys")
        self.assertIn("wnbd.sys", dict(self.sections["sourcedisksfiles"]))


if __name__ == "__main__":
    unittest.main()
