# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads of a PE32+ file what decides whether a Windows kernel loads it."""

import struct

EXPORT, IMPORT, RESOURCE, EXCEPTION, RELOCATION, TLS = 0, 1, 2, 3, 5, 9

DYNAMIC_BASE = 0x0040
NX_COMPAT = 0x0100
HIGH_ENTROPY = 0x0020

SECTION_DISCARDABLE = 0x02000000
SECTION_EXECUTE = 0x20000000
SECTION_WRITE = 0x80000000


class Section:
    def __init__(self, raw):
        self.name = raw[:8].rstrip(b"\0").decode("ascii")
        self.size, self.address, self.raw_size, self.raw_offset = struct.unpack_from("<4I", raw, 8)
        (self.flags,) = struct.unpack_from("<I", raw, 36)


class Image:
    def __init__(self, data):
        self.data = data
        (self.pe,) = struct.unpack_from("<I", data, 0x3C)
        if data[self.pe : self.pe + 4] != b"PE\0\0":
            raise ValueError("not a PE file")
        self.machine, count = struct.unpack_from("<HH", data, self.pe + 4)
        optional_size, self.characteristics = struct.unpack_from("<HH", data, self.pe + 20)
        self.optional = self.pe + 24
        (self.magic,) = struct.unpack_from("<H", data, self.optional)
        self.section_alignment, self.file_alignment = struct.unpack_from(
            "<II", data, self.optional + 32
        )
        self.os_version = struct.unpack_from("<HH", data, self.optional + 40)
        self.subsystem_version = struct.unpack_from("<HH", data, self.optional + 48)
        (self.checksum,) = struct.unpack_from("<I", data, self.checksum_offset)
        self.subsystem, self.dll_flags = struct.unpack_from("<HH", data, self.optional + 68)
        self.directories = [
            struct.unpack_from("<II", data, self.optional + 112 + 8 * i) for i in range(16)
        ]
        first = self.optional + optional_size
        self.sections = [Section(data[first + 40 * i : first + 40 * i + 40]) for i in range(count)]

    @property
    def checksum_offset(self):
        return self.optional + 64

    def computed_checksum(self):
        """The sum that ImageHlp's CheckSumMappedFile makes, the field itself counting as zero."""
        data = bytearray(self.data)
        data[self.checksum_offset : self.checksum_offset + 4] = bytes(4)
        if len(data) % 2:
            data.append(0)
        total = 0
        for (word,) in struct.iter_unpack("<H", data):
            total += word
            total = (total & 0xFFFF) + (total >> 16)
        return total + len(self.data)

    def offset(self, address):
        for section in self.sections:
            if section.address <= address < section.address + max(section.size, section.raw_size):
                return section.raw_offset + address - section.address
        raise ValueError(f"address {address:#x} lies in no section")

    def text(self, address):
        start = self.offset(address)
        return self.data[start : self.data.index(b"\0", start)].decode("ascii")

    def imports(self):
        """{dll in lower case: set of names}; an import by number appears as "#number"."""
        result = {}
        descriptor = self.offset(self.directories[IMPORT][0])
        while True:
            names, _, _, dll, slots = struct.unpack_from("<5I", self.data, descriptor)
            if dll == 0:
                return result
            entries = result.setdefault(self.text(dll).lower(), set())
            place = self.offset(names or slots)
            while True:
                (entry,) = struct.unpack_from("<Q", self.data, place)
                if entry == 0:
                    break
                by_number = entry >> 63
                entries.add(f"#{entry & 0xFFFF}" if by_number else self.text(entry + 2))
                place += 8
            descriptor += 20

    def resources(self):
        """{(type, name): bytes}; both are numbers or texts. Of several languages, the first."""
        base = self.offset(self.directories[RESOURCE][0])
        found = {}
        for kind, types in self._resource_entries(base, 0):
            for name, names in self._resource_entries(base, types):
                _, place = self._resource_entries(base, names)[0]
                address, size = struct.unpack_from("<II", self.data, base + place)
                start = self.offset(address)
                found[kind, name] = self.data[start : start + size]
        return found

    def _resource_entries(self, base, directory):
        """[(number or text, offset)] of one level of the resource tree."""
        named, numbered = struct.unpack_from("<HH", self.data, base + directory + 12)
        entries = []
        for index in range(named + numbered):
            key, offset = struct.unpack_from("<II", self.data, base + directory + 16 + 8 * index)
            if key >> 31:
                start = base + (key & 0x7FFFFFFF)
                (length,) = struct.unpack_from("<H", self.data, start)
                key = self.data[start + 2 : start + 2 + 2 * length].decode("utf-16-le")
            entries.append((key, offset & 0x7FFFFFFF))
        return entries
