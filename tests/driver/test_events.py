# SPDX-License-Identifier: LGPL-2.1-or-later
"""The event manifest, and what wnbd.sys carries of it for Windows to read. WNBD_SYS names the file, if it is not the
one that the preset `driver` builds."""
import os
import pathlib
import re
import sys
import tempfile
import unittest
import uuid

from tests.driver.event_resource import Malformed, read_messages, read_template
from tests.driver.libfwevt import Libfwevt
from tests.driver.pe_image import Image

ROOT = pathlib.Path(__file__).resolve().parents[2]
DRIVER = pathlib.Path(os.environ.get("WNBD_SYS", ROOT / "build/driver/src/driver/wnbd.sys"))
MANIFEST = ROOT / "src/driver/wnbdevents.xml"
HEADER = ROOT / "build/driver/src/driver/events/events.h"
MESSAGE_TABLE = 11
SYSTEM_CHANNEL, IMPORTED = 8, 1
SYSTEM_KEYWORD = 1 << 63

sys.path.insert(0, str(ROOT / "scripts"))
from event_manifest import ManifestError, read_manifest  # noqa: E402


class Resource(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        resources = Image(DRIVER.read_bytes()).resources()
        cls.template = resources["WEVT_TEMPLATE", 1]
        cls.provider = read_template(cls.template)
        cls.messages = read_messages(resources[MESSAGE_TABLE, 1])

    def event(self, value):
        (event,) = [event for event in self.provider.events if event.value == value]
        return event

    def test_the_provider_is_the_known_one(self):
        self.assertEqual(self.provider.guid, uuid.UUID("FFACC4E7-C115-4FE2-9D3C-80FAE73BAB91"))
        self.assertEqual(read_manifest(MANIFEST).name, "WNBD")

    def test_errors_warnings_and_information_go_to_the_system_log(self):
        self.assertEqual(self.provider.channels, {SYSTEM_CHANNEL: ("System", IMPORTED)})
        for value, level, name in ((1, 2, "win:Error"), (2, 3, "win:Warning"), (3, 4, "win:Informational")):
            event = self.event(value)
            self.assertEqual((event.channel, event.level, event.keyword),
                             (SYSTEM_CHANNEL, level, SYSTEM_KEYWORD))
            self.assertEqual(self.provider.levels[event.level_at][:2], (level, name))

    def test_debug_messages_go_to_no_log(self):
        event = self.event(4)
        self.assertEqual((event.channel, event.level, event.keyword & SYSTEM_KEYWORD), (0, 5, 0))
        self.assertNotEqual(event.keyword, 0)  # 0 would reach every session
        self.assertEqual([self.provider.keywords[at][0] for at in event.keyword_at], [event.keyword])

    def test_every_event_has_its_fields_and_its_text(self):
        self.assertEqual(len(self.provider.events), 4)
        for event in self.provider.events:
            self.assertEqual(self.provider.templates[event.template],
                             [("FunctionName", 2, 1), ("LineNumber", 8, 8), ("Message", 2, 1)])
            self.assertEqual(self.messages[event.message], "%1:%2 %3")
            self.assertEqual(
                self.provider.documents[event.template],
                '<EventData><Data Name="FunctionName">{0}</Data><Data Name="LineNumber">{1}</Data>'
                '<Data Name="Message">{2}</Data></EventData>')

    def test_every_level_opcode_and_keyword_has_a_text(self):
        for table in (self.provider.levels, self.provider.opcodes, self.provider.keywords):
            for _, _, message in table.values():
                self.assertTrue(self.messages[message])

    def test_the_code_writes_what_the_resource_describes(self):
        descriptors = re.findall(r"EVENT_DESCRIPTOR \w+ = \{(.*?)\};", HEADER.read_text())
        found = sorted(tuple(int(number, 0) for number in row.split(",")) for row in descriptors)
        described = sorted((e.value, e.version, e.channel, e.level, e.opcode, e.task, e.keyword)
                           for e in self.provider.events)
        self.assertEqual(found, described)

    def test_an_independent_reader_finds_the_same(self):
        other = Libfwevt(self.template)
        self.assertEqual({what: other.count(what) for what in ("channels", "levels", "templates", "events")},
                         {"channels": 1, "levels": 4, "templates": 1, "events": 4})
        for event in self.provider.events:
            self.assertEqual(other.event(event.value), (event.value, event.message, event.template))
            self.assertTrue(other.has_template(event.template))
        self.assertIsNone(other.event(5))

    def test_any_changed_size_or_offset_is_noticed(self):
        noticed = 0
        for offset in (4, 32, 40, 48, 56, 108, 112, 120, 156, 168, 172, 180):
            data = bytearray(self.template)
            data[offset] ^= 0x04
            try:
                read_template(bytes(data))
            except (Malformed, UnicodeDecodeError, IndexError):
                noticed += 1
        self.assertEqual(noticed, 12)


class Manifest(unittest.TestCase):
    def refused(self, old, new):
        text = MANIFEST.read_text(encoding="utf-8")
        self.assertIn(old, text)
        with tempfile.NamedTemporaryFile("w", suffix=".xml", encoding="utf-8") as changed:
            changed.write(text.replace(old, new, 1))
            changed.flush()
            with self.assertRaises(ManifestError) as caught:
                read_manifest(changed.name)
        return str(caught.exception)

    def test_what_is_not_understood_is_refused_by_name(self):
        self.assertIn("color", self.refused('value="1"', 'value="1" color="red"'))
        self.assertIn("win:Pointer", self.refused("win:UInt32", "win:Pointer"))
        self.assertIn("win:Loud", self.refused("win:Error", "win:Loud"))
        self.assertIn("maps", self.refused("<templates>", "<maps/><templates>"))
        self.assertIn("%4", self.refused("%1:%2 %3", "%1:%2 %4"))
        self.assertIn("Other", self.refused('template="LogMessage"', 'template="Other"'))
        self.assertIn("Nothing", self.refused("$(string.Event.Log)", "$(string.Nothing)"))
        self.assertIn("value", self.refused('value="2"', 'value="1"'))
        self.assertIn("one bit", self.refused('mask="0x1"', 'mask="0x3"'))
        self.assertIn("Forward", self.refused('name="System"', 'name="Forward"'))


if __name__ == "__main__":
    unittest.main()
