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


# What an INF of a driver package may not have on any Windows 10: it would act on more than its device.
FORBIDDEN_DIRECTIVES = {"delreg", "updateinis", "updateinifields", "ini2reg", "registerdlls",
                        "unregisterdlls", "logconfig", "profileitems", "runpresetupcommands",
                        "bitreg", "delfiles", "renfiles"}
SYSTEM_SECTIONS = {"version", "destinationdirs", "sourcedisksnames", "sourcedisksfiles", "manufacturer",
                   "strings"}
# For Wine alone; InfVerif may say that nothing refers to it.
UNREFERENCED = {"wnbdmodels.ntamd64"}


def references(sections):
    """The names of all sections that others lead to, in lower case."""
    found = set()
    for _, value in sections.get("manufacturer", []):
        models, *decorations = [part.strip().lower() for part in value.split(",")]
        found |= {f"{models}.{decoration}" for decoration in decorations}
    for name in set(found) & sections.keys():
        for _, value in sections[name]:
            install = value.split(",")[0].strip().lower()
            found |= {install, f"{install}.hw", f"{install}.services"}
    for lines in sections.values():
        for key, value in lines:
            parts = [part.strip().lower() for part in value.split(",")]
            if key == "addservice":
                found |= set(parts[2:])
            elif key in ("addreg", "copyfiles"):
                found |= {part for part in parts if not part.startswith("@")}
    return found


def inf_faults(raw):
    """What the documented rules of InfVerif find wrong, as short texts."""
    text = raw.decode("ascii")
    sections = parse(text)
    strings = {key for key, _ in sections.get("strings", [])}
    faults = []

    def expect(holds, fault):
        if not holds:
            faults.append(fault)

    version = dict(sections.get("version", []))
    expect(version.get("signature", "").upper() == '"$WINDOWS NT$"', "Signature")
    expect(version.get("pnplockdown") == "1", "PnpLockdown")
    expect(re.fullmatch(r"[\w-]+\.cat", version.get("catalogfile", "")), "CatalogFile")
    expect(re.fullmatch(r"%\w+%", version.get("provider", "")), "Provider is no token")
    expect("class" in version and re.fullmatch(r"\{[0-9A-Fa-f-]{36}\}", version.get("classguid", "")),
           "Class")
    date = re.fullmatch(r"(\d\d)/(\d\d)/(\d{4}),(\d+)\.(\d+)\.(\d+)\.(\d+)",
                        version.get("driverver", ""))
    expect(date and 1 <= int(date[1]) <= 12 and 1 <= int(date[2]) <= 31
           and all(int(number) <= 65535 for number in date.groups()[3:]), "DriverVer")
    for _, value in sections.get("manufacturer", []):
        expect(re.search(r",\s*NTamd64\b", value), "Manufacturer without platform")

    for name in sections.keys() - SYSTEM_SECTIONS - references(sections) - UNREFERENCED:
        faults.append(f"nothing refers to [{name}]")
    for name in references(sections) - sections.keys():
        # An installation may do without .HW.
        expect(name.endswith(".hw"), f"no section [{name}]")

    disks = {key for key, _ in sections.get("sourcedisksnames", [])}
    sources = dict(sections.get("sourcedisksfiles", []))
    for file, disk in sources.items():
        expect(disk.split(",")[0] in disks, f"{file} is on no disk")
    copied = set()
    for name, lines in sections.items():
        for key, value in lines:
            if key in FORBIDDEN_DIRECTIVES:
                faults.append(f"{key} in [{name}]")
            if key == "copyfiles":
                copied |= {part.strip()[1:].lower() for part in value.split(",") if "@" in part}
            if key == "" and value.upper().startswith(("HKLM", "HKCR", "HKCU", "HKU")):
                faults.append(f"[{name}] writes outside of the device's keys")
    expect(copied <= sources.keys(), "copies what is on no disk")
    expect(not copied or "defaultdestdir" in dict(sections.get("destinationdirs", [])),
           "no destination")

    for name, lines in sections.items():
        for key, value in lines:
            if key != "addservice":
                continue
            _, flags, section = [part.strip() for part in value.split(",")][:3]
            service = dict(sections.get(section.lower(), []))
            expect(int(flags, 0) & 2, f"[{name}] has no function driver")
            for needed in ("servicetype", "starttype", "errorcontrol", "servicebinary"):
                expect(needed in service, f"service without {needed}")
            folder = dict(sections.get("destinationdirs", [])).get("defaultdestdir")
            expect(service.get("servicebinary", "").startswith(f"%{folder}%\\"),
                   "the service runs a file that is not copied there")
    used = set(re.findall(r"%([A-Za-z]\w*)%", text))
    for name in {one.lower() for one in used} - strings:
        faults.append(f"no string {name}")
    return sorted(faults)


class Rules(unittest.TestCase):
    """What InfVerif demands, as far as it is documented; the checker sees what it is there to see."""

    @classmethod
    def setUpClass(cls):
        cls.raw = INF.read_bytes()

    def test_the_built_inf_breaks_none(self):
        self.assertEqual(inf_faults(self.raw), [])

    def test_each_rule_is_checked(self):
        for old, new, fault in (
            ("PnpLockdown = 1", "PnpLockdown = 0", "PnpLockdown"),
            ("CatalogFile = wnbd.cat", "", "CatalogFile"),
            ("Provider    = %Provider%", "Provider = WNBD", "Provider is no token"),
            (re.search(r"DriverVer .*", self.raw.decode()).group().strip(),
             "DriverVer = 2026-01-01,1.0", "DriverVer"),
            ("ClassGuid   = {4D36E97B-", "ClassGuid = {4D36E97B", "Class"),
            ("WnbdModels,NTamd64.10.0...17763", "WnbdModels", "Manufacturer without platform"),
            ("[DestinationDirs]\r\nDefaultDestDir = 12", "", "no destination"),
            ("%12%\\wnbd.sys", "%13%\\wnbd.sys", "the service runs a file that is not copied there"),
            ("wnbd.sys = 1", "wnbd.sys = 2", "wnbd.sys is on no disk"),
            ("CopyFiles = @wnbd.sys", "CopyFiles = @other.sys", "copies what is on no disk"),
            ("ErrorControl   = 1\r\n", "", "service without errorcontrol"),
            ("AddService = wnbd,0x00000002", "AddService = wnbd,0x00000000",
             "[wnbdinstall.services] has no function driver"),
            ('HKR,"Parameters"', 'HKLM,"Parameters"', "[wnbdparameters] writes outside of the device's keys"),
            ("AddReg = WnbdHardware", "DelReg = WnbdHardware", "delreg in [wnbdinstall.hw]"),
            ("AddReg         = WnbdParameters", "AddReg = WnbdOther", "no section [wnbdother]"),
            ("AddReg         = WnbdParameters", "", "nothing refers to [wnbdparameters]"),
            ("DiskName   =", "Other =", "no string diskname"),
        ):
            with self.subTest(fault):
                self.assertIn(old.encode(), self.raw)
                self.assertIn(fault, inf_faults(self.raw.replace(old.encode(), new.encode())))


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
