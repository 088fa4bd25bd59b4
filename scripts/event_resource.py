# SPDX-License-Identifier: LGPL-2.1-or-later
"""A manifest's provider as the resources that Windows reads: WEVT_TEMPLATE, described in libfwevt's "Windows Event
manifest binary format" and, for the binary XML, in [MS-EVEN6] 2.2.12; and a message table ([MS] RT_MESSAGETABLE)."""
import struct
import uuid

from event_manifest import LEVELS, OPCODES

NO_MESSAGE = 0xFFFFFFFF
CHANNEL_IMPORTED = 1

# Tokens of binary XML.
END_OF_STREAM, CLOSE_START, END_ELEMENT, VALUE, ATTRIBUTE = 0x00, 0x02, 0x04, 0x05, 0x06
SUBSTITUTION, FRAGMENT_HEADER, OPEN_START, HAS_ATTRIBUTES = 0x0D, 0x0F, 0x01, 0x40
STRING_TYPE = 0x01
NO_DEPENDENCY = 0xFFFF


class Messages:
    """The message table under construction. Numbers as mc.exe gives them: the kind in the upper bits."""

    def __init__(self):
        self.texts = {}

    def add(self, number, text):
        if self.texts.setdefault(number, text) != text:
            raise ValueError(f"message {number:#x} is given two texts")
        return number

    def level(self, name):
        value, text = LEVELS[name]
        return self.add(0x50000000 | value, text)

    def opcode(self, name):
        value, text = OPCODES[name]
        return self.add(0x30000000 | value << 16, text)

    def keyword(self, keyword):
        return self.add(0x10000000 | keyword.mask.bit_length(), keyword.message)

    def event(self, event):
        return self.add(0xB0000000 | event.version << 16 | event.value, event.message)

    def table(self):
        """Blocks of consecutive numbers, each with its texts in UTF-16, terminated and padded."""
        blocks = []
        for number in sorted(self.texts):
            if blocks and blocks[-1][-1] == number - 1:
                blocks[-1].append(number)
            else:
                blocks.append([number])
        offset = 4 + 12 * len(blocks)
        head, body = struct.pack("<I", len(blocks)), b""
        for block in blocks:
            head += struct.pack("<III", block[0], block[-1], offset + len(body))
            for number in block:
                text = pad(wide(self.texts[number] + "\r\n"), 4)
                body += struct.pack("<HH", 4 + len(text), 1) + text
        return head + body


def wide(text):
    return text.encode("utf-16-le") + b"\0\0"


def pad(data, alignment):
    return data + bytes(-len(data) % alignment)


def sized_string(text):
    data = pad(wide(text), 4)
    return struct.pack("<I", 4 + len(data)) + data


def xml_name(name):
    """A name stands where it is used: its hash, its length, itself."""
    code = 0
    for unit in struct.unpack(f"<{len(name)}H", name.encode("utf-16-le")):
        code = (code * 65599 + unit) & 0xFFFFFFFF
    return struct.pack("<HH", code & 0xFFFF, len(name)) + wide(name)


def xml_element(name, content, attribute=None):
    """`attribute`: a pair of name and text."""
    body = xml_name(name)
    token = OPEN_START
    if attribute:
        token |= HAS_ATTRIBUTES
        text = attribute[1].encode("utf-16-le")
        one = (struct.pack("<B", ATTRIBUTE) + xml_name(attribute[0])
               + struct.pack("<BBH", VALUE, STRING_TYPE, len(attribute[1])) + text)
        body += struct.pack("<I", len(one)) + one
    body += struct.pack("<B", CLOSE_START) + content + struct.pack("<B", END_ELEMENT)
    return struct.pack("<BHI", token, NO_DEPENDENCY, len(body)) + body


def event_data_xml(template):
    """<EventData><Data Name="first">%1</Data>...</EventData>"""
    data = b"".join(
        xml_element("Data", struct.pack("<BHB", SUBSTITUTION, index, field.type.in_type),
                    ("Name", field.name))
        for index, field in enumerate(template.fields))
    return (struct.pack("<BBBB", FRAGMENT_HEADER, 1, 1, 0) + xml_element("EventData", data)
            + struct.pack("<B", END_OF_STREAM))


class Resource:
    """The WEVT_TEMPLATE resource, written front to back; offsets count from its beginning."""

    def __init__(self, provider, messages):
        self.provider = provider
        self.messages = messages
        self.data = bytearray()
        self.templates = {}  # tid -> offset
        self.levels = {}
        self.opcodes = {}
        self.keywords = {}
        self.build()

    def build(self):
        writers = [self.channels, self.template_table, self.opcode_table, self.level_table,
                   self.keyword_table, self.event_table]
        self.data += struct.pack("<4sIHHI", b"CRIM", 0, 3, 1, 1)
        self.data += self.provider.guid.bytes_le + struct.pack("<I", 36)
        self.data += struct.pack("<4sIIII", b"WEVT", 0, NO_MESSAGE, len(writers), 0)
        directory = len(self.data)
        self.data += bytes(8 * len(writers))
        for index, writer in enumerate(writers):
            self.align()
            struct.pack_into("<II", self.data, directory + 8 * index, len(self.data), 0)
            self.sized(writer)
        self.align()
        struct.pack_into("<I", self.data, 40, directory + 8 * len(writers) - 36)
        struct.pack_into("<I", self.data, 4, len(self.data))

    def align(self):
        self.data += bytes(-len(self.data) % 8)

    def sized(self, writer):
        """Runs a writer whose output begins with a signature and its size."""
        start = len(self.data)
        writer()
        struct.pack_into("<I", self.data, start + 4, len(self.data) - start)

    def definitions(self, signature, form, rows):
        """A table of fixed-size rows, the last column the offset of a name that follows the table. Gives the offset
        of each row. A row's `None` stands for that offset."""
        size = struct.calcsize(form)
        start = len(self.data)
        self.data += struct.pack("<4sII", signature, 0, len(rows)) + bytes(size * len(rows))
        offsets = []
        for index, (name, row) in enumerate(rows):
            place = start + 12 + size * index
            filled = [len(self.data) if value is None else value for value in row]
            struct.pack_into(form, self.data, place, *filled)
            self.data += sized_string(name)
            offsets.append(place)
        return offsets

    def channels(self):
        self.definitions(b"CHAN", "<IIII", [
            (channel.name, (channel.value, None, CHANNEL_IMPORTED, NO_MESSAGE))
            for channel in self.provider.channels])

    def opcode_table(self):
        names = sorted({event.opcode for event in self.provider.events}, key=OPCODES.get)
        offsets = self.definitions(b"OPCO", "<III", [
            (name, (OPCODES[name][0] << 16, self.messages.opcode(name), None)) for name in names])
        self.opcodes = dict(zip(names, offsets))

    def level_table(self):
        names = sorted({event.level for event in self.provider.events}, key=LEVELS.get)
        offsets = self.definitions(b"LEVL", "<III", [
            (name, (LEVELS[name][0], self.messages.level(name), None)) for name in names])
        self.levels = dict(zip(names, offsets))

    def keyword_table(self):
        keywords = self.provider.keywords
        offsets = self.definitions(b"KEYW", "<QII", [
            (keyword.name, (keyword.mask, self.messages.keyword(keyword), None))
            for keyword in keywords])
        self.keywords = {keyword.name: offset for keyword, offset in zip(keywords, offsets)}

    def template_table(self):
        self.data += struct.pack("<4sII", b"TTBL", 0, len(self.provider.templates))
        for template in self.provider.templates:
            self.templates[template.identifier] = len(self.data)
            self.sized(lambda template=template: self.template(template))

    def template(self, template):
        xml = event_data_xml(template)
        items = len(self.data) + 40 + len(pad(xml, 4))
        count = len(template.fields)
        identity = uuid.uuid5(self.provider.guid, xml.hex())
        self.data += struct.pack("<4sIIIII", b"TEMP", 0, count, count, items, 1)
        self.data += identity.bytes_le + pad(xml, 4) + bytes(20 * count)
        for index, field in enumerate(template.fields):
            struct.pack_into("<IBBHIII", self.data, items + 20 * index, 0, field.type.in_type,
                             field.type.out_type, 0, 0, 0, len(self.data))
            self.data += sized_string(field.name)

    def event_table(self):
        events = self.provider.events
        start = len(self.data)
        self.data += struct.pack("<4sIII", b"EVNT", 0, len(events), 0) + bytes(48 * len(events))
        for index, event in enumerate(events):
            struct.pack_into(
                "<HBBBBHQIIIIIIII", self.data, start + 16 + 48 * index,
                event.value, event.version, event.channel.value if event.channel else 0,
                LEVELS[event.level][0], OPCODES[event.opcode][0], 0, event.keyword_mask,
                self.messages.event(event), self.templates[event.template.identifier],
                self.opcodes[event.opcode], self.levels[event.level], 0, len(event.keywords),
                len(self.data) if event.keywords else 0, 0)
            for keyword in event.keywords:
                self.data += struct.pack("<I", self.keywords[keyword.name])


def compile_resources(provider):
    """(WEVT_TEMPLATE, message table) as bytes."""
    messages = Messages()
    resource = Resource(provider, messages)
    return bytes(resource.data), messages.table()
