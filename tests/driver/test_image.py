#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""wnbd.sys is a file that a Windows 10 1809 kernel loads: its headers, its sections, and that it
imports exactly what src/driver/*.def name. WNBD_SYS names the file, if it is not the one that
the preset `driver` builds.
"""

import os
import pathlib
import struct
import unittest

from tests.driver import pe_image
from tests.driver.pe_image import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
DRIVER = pathlib.Path(os.environ.get("WNBD_SYS", ROOT / "build/driver/src/driver/wnbd.sys"))
DEFINITIONS = [ROOT / "src/driver/ntoskrnl.def", ROOT / "src/driver/storport.def"]

AMD64 = 0x8664
PE32_PLUS = 0x20B
NATIVE = 1
FILE_IS_DLL = 0x2000


def definitions(paths):
    """{dll: set of names} from .def files."""
    result = {}
    for path in paths:
        names = None
        with open(path, encoding="utf-8") as lines:
            for line in lines:
                words = line.split(";")[0].split()
                if not words or words[0] == "EXPORTS":
                    continue
                if words[0] == "LIBRARY":
                    names = result.setdefault(words[1].lower(), set())
                else:
                    names.add(words[0])
    return result


def faults(data, allowed):
    """What is wrong with the file, as a list of short texts."""
    image = Image(data)
    found = []

    def expect(holds, text):
        if not holds:
            found.append(text)

    expect(image.machine == AMD64 and image.magic == PE32_PLUS, "machine")
    expect(image.subsystem == NATIVE, "subsystem")
    expect(image.os_version == (10, 0) and image.subsystem_version == (10, 0), "version")
    expect(image.checksum == image.computed_checksum(), "checksum")
    expect(not image.characteristics & FILE_IS_DLL, "is a DLL")
    for flag, name in (
        (pe_image.DYNAMIC_BASE, "DYNAMIC_BASE"),
        (pe_image.NX_COMPAT, "NX_COMPAT"),
        (pe_image.HIGH_ENTROPY, "HIGH_ENTROPY_VA"),
    ):
        expect(image.dll_flags & flag, name)
    expect(image.section_alignment == 4096 and image.file_alignment == 512, "alignment")
    for directory, name in (
        (pe_image.EXCEPTION, "unwind data"),
        (pe_image.RELOCATION, "relocations"),
        (pe_image.RESOURCE, "version resource"),
    ):
        expect(image.directories[directory][1], f"no {name}")
    expect(not image.directories[pe_image.TLS][1], "thread-local storage")
    expect(not image.directories[pe_image.EXPORT][1], "exports")

    both = pe_image.SECTION_EXECUTE | pe_image.SECTION_WRITE
    for section in image.sections:
        expect(section.flags & both != both, f"section {section.name} is writable and executable")
    init = [section for section in image.sections if section.name == "INIT"]
    expect(len(init) == 1 and init[0].flags & pe_image.SECTION_DISCARDABLE, "INIT")

    imports = image.imports()
    for dll in sorted(imports.keys() | allowed.keys()):
        for name in sorted(imports.get(dll, set()) - allowed.get(dll, set())):
            found.append(f"imports {dll}!{name}, which no .def names")
        for name in sorted(allowed.get(dll, set()) - imports.get(dll, set())):
            found.append(f"does not import {dll}!{name}, which a .def names")
    return found


class DriverImage(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.data = DRIVER.read_bytes()
        cls.allowed = definitions(DEFINITIONS)

    def test_the_built_driver_loads_on_1809(self):
        self.assertEqual(faults(self.data, self.allowed), [])

    def test_its_properties_tell_the_version(self):
        at = self.data.find("FileVersion\0".encode("utf-16-le"))
        self.assertGreater(at, 0, "no version resource")
        text = self.data[at:at + 200].decode("utf-16-le", errors="replace")
        self.assertRegex(text, r"\AFileVersion\0+\d+\.\d+\.\d+")

    def test_the_driver_makes_no_threads(self):
        """So that none can outlive what it works on, or fail to start halfway through a mapping."""
        names = set().union(*Image(self.data).imports().values())
        self.assertIn("IoQueueWorkItem", names)
        self.assertEqual({name for name in names if "CreateSystemThread" in name}, set())

    # The checker sees what it is there to see.

    def changed(self, offset, form, value):
        data = bytearray(self.data)
        struct.pack_into(form, data, offset, value)
        return bytes(data)

    def test_a_changed_byte_breaks_the_checksum(self):
        self.assertIn("checksum", faults(self.changed(len(self.data) - 512, "<H", 0xA55A), self.allowed))

    def test_a_console_program_is_refused(self):
        offset = Image(self.data).optional + 68
        self.assertIn("subsystem", faults(self.changed(offset, "<H", 3), self.allowed))

    def test_a_fixed_base_is_refused(self):
        image = Image(self.data)
        flags = image.dll_flags & ~pe_image.DYNAMIC_BASE
        found = faults(self.changed(image.optional + 70, "<H", flags), self.allowed)
        self.assertIn("DYNAMIC_BASE", found)

    def test_writable_code_is_refused(self):
        image = Image(self.data)
        (optional_size,) = struct.unpack_from("<H", self.data, image.pe + 20)
        flags = image.sections[0].flags | pe_image.SECTION_WRITE
        found = faults(
            self.changed(image.optional + optional_size + 36, "<I", flags), self.allowed
        )
        self.assertIn("section .text is writable and executable", found)

    def test_missing_unwind_data_is_refused(self):
        offset = Image(self.data).optional + 112 + 8 * pe_image.EXCEPTION
        self.assertIn("no unwind data", faults(self.changed(offset, "<Q", 0), self.allowed))

    def test_an_import_that_no_definition_names_is_refused(self):
        fewer = {dll: set(names) for dll, names in self.allowed.items()}
        fewer["ntoskrnl.exe"].discard("KeSetEvent")
        text = "imports ntoskrnl.exe!KeSetEvent, which no .def names"
        self.assertIn(text, faults(self.data, fewer))

    def test_a_definition_that_nothing_imports_is_refused(self):
        more = {dll: set(names) for dll, names in self.allowed.items()}
        more["storport.sys"].add("StorPortLogError")
        text = "does not import storport.sys!StorPortLogError, which a .def names"
        self.assertIn(text, faults(self.data, more))


if __name__ == "__main__":
    unittest.main()
