# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads what Windows would read of a driver's events: the WEVT_TEMPLATE resource and the message table, as strictly
as it goes. Written from the formats' descriptions alone; shares nothing with the compiler that makes them."""
import struct
import uuid
from dataclasses import dataclass, field

NO_MESSAGE = 0xFFFFFFFF


class Malformed(Exception):
    """The bytes are not what the format asks for."""


def expect(holds, text):
    if not holds:
        raise Malformed(text)


@dataclass
class Event:
    value: int
    version: int
    channel: int
    level: int
    opcode: int
    task: int
    keyword: int
    message: int
    template: int
    opcode_at: int
    level_at: int
    keyword_at: list[int]


@dataclass
class Provider:
    guid: uuid.UUID
    channels: dict = field(default_factory=dict)  # number -> (name, flags)
    levels: dict = field(default_factory=dict)  # offset -> (number, name, message)
    opcodes: dict = field(default_factory=dict)
    keywords: dict = field(default_factory=dict)
    templates: dict = field(default_factory=dict)  # offset -> [(name, in type, out type)]
    documents: dict = field(default_factory=dict)  # offset -> XML text with {n} for field n
    events: list = field(default_factory=list)


def read_messages(data):
    """{number: text} of an RT_MESSAGETABLE resource, without the line ends."""
    messages = {}
    (blocks,) = struct.unpack_from("<I", data)
    last = -1
    for block in range(blocks):
        low, high, offset = struct.unpack_from("<III", data, 4 + 12 * block)
        expect(last < low <= high, "the blocks are not in order")
        last = high
        for number in range(low, high + 1):
            length, flags = struct.unpack_from("<HH", data, offset)
            expect(length % 4 == 0 and offset + length <= len(data), f"message {number:#x}: its length")
            expect(flags == 1, f"message {number:#x} is not UTF-16")
            text = data[offset + 4 : offset + length].decode("utf-16-le")
            expect("\0" in text and not text.strip("\0").count("\0"), f"message {number:#x}: its end")
            messages[number] = text.rstrip("\0").removesuffix("\r\n")
            offset += length
    return messages


class Reader:
    """Offsets count from the resource's beginning; each element's bytes must lie in the element."""

    def __init__(self, data):
        self.data = data

    def take(self, form, offset):
        expect(offset + struct.calcsize(form) <= len(self.data), f"{offset:#x} is beyond the end")
        return struct.unpack_from(form, self.data, offset)

    def sized_string(self, offset):
        (size,) = self.take("<I", offset)
        expect(size >= 6 and size % 2 == 0 and offset + size <= len(self.data), f"the string at {offset:#x}")
        text = self.data[offset + 4 : offset + size].decode("utf-16-le")
        name, terminator, padding = text.partition("\0")
        expect(terminator and not padding.strip("\0"), f"the string at {offset:#x} does not end")
        return name

    def manifest(self):
        signature, size, major, minor, count = self.take("<4sIHHI", 0)
        expect((signature, major, minor) == (b"CRIM", 3, 1), "no CRIM 3.1")
        expect(size == len(self.data), f"it says {size} bytes and has {len(self.data)}")
        expect(count == 1, f"{count} providers")
        raw, offset = self.take("<16sI", 16)
        return self.provider(uuid.UUID(bytes_le=raw), offset)

    def provider(self, guid, offset):
        signature, size, message, count, _ = self.take("<4sIIII", offset)
        expect(signature == b"WEVT" and size == 20 + 8 * count, "WEVT")
        expect(message == NO_MESSAGE, "the provider's own message")
        provider = Provider(guid)
        read = {b"CHAN": self.channels, b"TTBL": self.templates, b"OPCO": self.opcodes,
                b"LEVL": self.levels, b"KEYW": self.keywords, b"EVNT": self.events}
        end = offset + size
        for index in range(count):
            start, _ = self.take("<II", offset + 20 + 8 * index)
            signature, size = self.take("<4sI", start)
            expect(signature in read, f"a second {signature} or an unknown one")
            expect(end <= start < end + 8 and start % 8 == 0, f"{signature} begins at {start:#x}")
            read.pop(signature)(provider, start)
            end = start + size
        expect(not read, f"no {sorted(read)}")
        expect(end <= len(self.data) < end + 8, "something lies behind the last element")
        return provider

    def rows(self, start, form):
        """(offset, values) of each row of a table, and the table's end."""
        _, size, count = self.take("<4sII", start)
        step = struct.calcsize(form)
        expect(12 + step * count <= size, f"the table at {start:#x} is too small")
        return [(start + 12 + step * i, self.take(form, start + 12 + step * i)) for i in range(count)]

    def channels(self, provider, start):
        for _, (number, name, flags, _) in self.rows(start, "<IIII"):
            provider.channels[number] = (self.sized_string(name), flags)

    def levels(self, provider, start):
        for place, (number, message, name) in self.rows(start, "<III"):
            provider.levels[place] = (number, self.sized_string(name), message)

    def opcodes(self, provider, start):
        for place, (number, message, name) in self.rows(start, "<III"):
            provider.opcodes[place] = (number >> 16, self.sized_string(name), message)

    def keywords(self, provider, start):
        for place, (mask, message, name) in self.rows(start, "<QII"):
            provider.keywords[place] = (mask, self.sized_string(name), message)

    def templates(self, provider, start):
        _, table, count = self.take("<4sII", start)
        place = start + 12
        for _ in range(count):
            signature, size, items, names, first, one = self.take("<4sIIIII", place)
            expect(signature == b"TEMP" and items == names and one == 1, f"TEMP at {place:#x}")
            fields = []
            for index in range(items):
                zero, in_type, out_type, zero2, zero3, zero4, name = self.take(
                    "<IBBHIII", first + 20 * index)
                expect(not any((zero, zero2, zero3, zero4)), "a field's empty values")
                fields.append((self.sized_string(name), in_type, out_type))
            provider.templates[place] = fields
            provider.documents[place] = Xml(self.data[place + 40 : first]).document(fields)
            place += size
        expect(place == start + table, "the templates do not fill their table")

    def events(self, provider, start):
        _, size, count, _ = self.take("<4sIII", start)
        for index in range(count):
            values = self.take("<HBBBBHQIIIIIIII", start + 16 + 48 * index)
            *head, message, template, opcode, level, task, keywords, place, flags = values
            expect(task == 0 and flags == 0, "tasks and flags")
            expect(place == 0 or start <= place <= start + size - 4 * keywords, "keywords")
            at = [self.take("<I", place + 4 * i)[0] for i in range(keywords)]
            provider.events.append(Event(*head, message, template, opcode, level, at))


class Xml:
    """Binary XML with the names where they are used ([MS-EVEN6])."""

    def __init__(self, data):
        self.data = data
        self.at = 0

    def take(self, form):
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values if len(values) > 1 else values[0]

    def token(self, wanted):
        found = self.take("B")
        expect(found == wanted, f"token {found:#x}, not {wanted:#x}, at {self.at - 1}")

    def text(self, length):
        raw = self.data[self.at : self.at + 2 * length]
        self.at += 2 * length
        return raw.decode("utf-16-le")

    def name(self):
        hashed, length = self.take("HH")
        name = self.text(length)
        code = 0
        for character in name:
            code = code * 65599 + ord(character)
        expect(hashed == code & 0xFFFF, f"the hash of {name}")
        expect(self.take("H") == 0, f"the end of {name}")
        return name

    def document(self, fields):
        expect(self.take("4B") == (0x0F, 1, 1, 0), "fragment header")
        text = self.element(fields)
        self.token(0)
        expect(not any(self.data[self.at :]) and len(self.data) - self.at < 4, "behind the document")
        return text

    def element(self, fields):
        token, dependency, size = self.take("BHI")
        end = self.at + size
        expect(token in (0x01, 0x41) and dependency == 0xFFFF, "element")
        name, attribute = self.name(), ""
        if token & 0x40:
            length = self.take("I")
            attribute_end = self.at + length
            self.token(0x06)
            attribute = " " + self.name()
            self.token(0x05)
            self.token(0x01)
            attribute += f'="{self.text(self.take("H"))}"'
            expect(self.at == attribute_end, f"the attributes of {name}")
        self.token(0x02)
        content = ""
        while self.data[self.at] != 0x04:
            if self.data[self.at] != 0x0D:
                content += self.element(fields)
                continue
            self.token(0x0D)
            index, kind = self.take("HB")
            expect(index < len(fields) and fields[index][1] == kind, f"substitution {index}")
            content += f"{{{index}}}"
        self.token(0x04)
        expect(self.at == end, f"the size of {name}")
        return f"<{name}{attribute}>{content}</{name}>"


def read_template(data):
    """The provider of a WEVT_TEMPLATE resource."""
    return Reader(data).manifest()
