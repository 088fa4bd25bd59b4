# SPDX-License-Identifier: LGPL-2.1-or-later
"""What tracing sessions got in a lab, decoded: events of the manifest by the manifest, self-describing ones by
themselves. Anything that does not add up to the byte raises."""
import struct
import sys
import uuid
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))
from event_manifest import LEVELS, OPCODES, read_manifest  # noqa: E402

TRACE_GUID = uuid.UUID("E35EAF83-0F07-418A-907C-141CD200F252")
SELF_DESCRIBING = 11  # the channel
PROVIDER_TRAITS, EVENT_METADATA = 2, 1
ANSI_STRING, UINT32, HAS_OUT_TYPE = 2, 8, 0x80

PROVIDER = read_manifest(ROOT / "src/driver/wnbdevents.xml")


@dataclass
class Event:
    session: str
    provider: uuid.UUID
    name: str
    level: int
    channel: int
    fields: dict

    @property
    def message(self):
        return self.fields["Message"]


def take_text(data):
    text, terminator, rest = data.partition(b"\0")
    if not terminator:
        raise ValueError(f"a string without an end: {data!r}")
    return text.decode("utf-8"), rest


def manifest_event(descriptor, parts):
    """(name, fields) of an event that the manifest has."""
    value, version, channel, level, opcode, task, keyword = descriptor
    (event,) = [event for event in PROVIDER.events if event.value == value]
    expected = (event.version, event.channel.value if event.channel else 0, LEVELS[event.level][0],
                OPCODES[event.opcode][0], 0, event.keyword_mask)
    if (version, channel, level, opcode, task, keyword) != expected:
        raise ValueError(f"event {value} is not the manifest's: {descriptor}")
    if len(parts) != len(event.template.fields):
        raise ValueError(f"event {value} has {len(parts)} fields")
    fields = {}
    for field, (kind, data) in zip(event.template.fields, parts):
        if kind != 0:
            raise ValueError(f"{field.name} is metadata")
        if field.type.size is None:
            fields[field.name], rest = take_text(data)
            if rest:
                raise ValueError(f"{field.name}: something behind its end")
        else:
            fields[field.name] = int.from_bytes(data, "little")
            if len(data) != field.type.size:
                raise ValueError(f"{field.name} has {len(data)} bytes")
    return event.symbol, fields


def sized(part, kind):
    """The body of a blob of metadata, which begins with its own size."""
    if part[0] != kind or struct.unpack_from("<H", part[1])[0] != len(part[1]):
        raise ValueError(f"metadata {part} is malformed")
    return part[1][2:]


def self_described_event(parts):
    provider, rest = take_text(sized(parts[0], PROVIDER_TRAITS))
    if provider != "WNBD.Trace" or rest:
        raise ValueError(f"the traits are {parts[0]}")
    metadata = sized(parts[1], EVENT_METADATA)
    if metadata[0] != 0:
        raise ValueError("tags")
    name, metadata = take_text(metadata[1:])
    payload = b"".join(data for _, data in parts[2:])
    fields = {}
    while metadata:
        field, metadata = take_text(metadata)
        kind, metadata = metadata[0], metadata[1:]
        if kind & HAS_OUT_TYPE:
            metadata = metadata[1:]
        if kind & ~HAS_OUT_TYPE == ANSI_STRING:
            fields[field], payload = take_text(payload)
        elif kind == UINT32:
            fields[field], payload = struct.unpack_from("<I", payload)[0], payload[4:]
        else:
            raise ValueError(f"field {field} of type {kind}")
    if payload:
        raise ValueError(f"{len(payload)} bytes that no field describes")
    return name, fields


def parse(line):
    session, guid, *rest = line.split(" ")
    descriptor = [int(number) for number in rest[:6]] + [int(rest[6], 16)]
    parts = [(int(kind), bytes.fromhex(data))
             for kind, data in (part.split(":") for part in rest[7:])]
    provider = uuid.UUID(guid)
    if descriptor[2] == SELF_DESCRIBING:
        name, fields = self_described_event(parts)
    else:
        if provider != PROVIDER.guid:
            raise ValueError(f"provider {guid} has no manifest")
        name, fields = manifest_event(descriptor, parts)
    return Event(session, provider, name, descriptor[3], descriptor[2], fields)


class EventLog:
    """The events of a lab since the last look, by session."""

    def __init__(self, lab):
        self.path = lab.prefix / "drive_c/windows/temp/wnbd-events.txt"
        self.seen = 0

    def new(self):
        """{session: [Event]}; each event once."""
        text = self.path.read_text(encoding="ascii") if self.path.exists() else ""
        whole = text[: text.rfind("\n") + 1]
        lines, self.seen = whole[self.seen:].splitlines(), len(whole)
        events = {}
        for line in lines:
            event = parse(line)
            events.setdefault(event.session, []).append(event)
        return events
