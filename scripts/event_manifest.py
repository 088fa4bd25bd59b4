# SPDX-License-Identifier: LGPL-2.1-or-later
"""Reads an event manifest (the part of the EventManifest schema that WNBD's own uses) and checks it: what is not
understood is refused, never skipped."""
import re
import uuid
import xml.etree.ElementTree as ElementTree
from dataclasses import dataclass, field

NAMESPACE = "{http://schemas.microsoft.com/win/2004/08/events}"

# winmeta.xml's own values, with the texts that the system shows for them.
LEVELS = {
    "win:Critical": (1, "Critical"),
    "win:Error": (2, "Error"),
    "win:Warning": (3, "Warning"),
    "win:Informational": (4, "Information"),
    "win:Verbose": (5, "Verbose"),
}
OPCODES = {"win:Info": (0, "Info"), "win:Start": (1, "Start"), "win:Stop": (2, "Stop")}
# Channels that Windows declares: their numbers, and the keyword by which a session asks for their events.
IMPORTED_CHANNELS = {"System": 8, "Application": 9, "Security": 10}
FIRST_CHANNEL_KEYWORD = 1 << 63
# The upper 16 bits of a keyword are the system's.
OWN_KEYWORDS = (1 << 48) - 1


@dataclass(frozen=True)
class InType:
    """How a field lies in an event: TDH's input and output type, the C++ type of its value."""

    in_type: int
    out_type: int
    cpp: str
    size: int | None  # bytes; None: a string with its terminator


IN_TYPES = {
    "win:UnicodeString": InType(1, 1, "const WCHAR*", None),
    "win:AnsiString": InType(2, 1, "const char*", None),
    "win:UInt8": InType(4, 4, "const UCHAR&", 1),
    "win:UInt16": InType(6, 6, "const USHORT&", 2),
    "win:UInt32": InType(8, 8, "const ULONG&", 4),
    "win:UInt64": InType(10, 10, "const ULONGLONG&", 8),
}


class ManifestError(Exception):
    """The manifest says something that is wrong, or that this compiler does not understand."""


@dataclass
class Channel:
    identifier: str
    name: str
    value: int
    keyword: int


@dataclass
class Keyword:
    name: str
    symbol: str
    mask: int
    message: str


@dataclass
class Field:
    name: str
    type: InType


@dataclass
class Template:
    identifier: str
    fields: list[Field]


@dataclass
class Event:
    value: int
    version: int
    symbol: str
    channel: Channel | None
    level: str
    opcode: str
    keywords: list[Keyword]
    template: Template
    message: str

    @property
    def keyword_mask(self):
        mask = self.channel.keyword if self.channel else 0
        for keyword in self.keywords:
            mask |= keyword.mask
        return mask


@dataclass
class Provider:
    name: str
    guid: uuid.UUID
    symbol: str
    channels: list[Channel] = field(default_factory=list)
    keywords: list[Keyword] = field(default_factory=list)
    templates: list[Template] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)


def attributes(element, required, optional=()):
    """An element's attributes as a dictionary; any other name is an error."""
    tag = element.tag.removeprefix(NAMESPACE)
    missing = [name for name in required if name not in element.attrib]
    unknown = [name for name in element.attrib if name not in (*required, *optional)]
    if missing or unknown:
        raise ManifestError(f"<{tag}>: missing {missing}, not understood {unknown}")
    return dict(element.attrib)


def children(element, *tags):
    """An element's children; any other tag is an error."""
    for child in element:
        if child.tag.removeprefix(NAMESPACE) not in tags:
            raise ManifestError(f"<{child.tag.removeprefix(NAMESPACE)}> is not understood here")
    return list(element)


def only(element, path):
    found = element.findall("/".join(NAMESPACE + part for part in path.split("/")))
    if len(found) != 1:
        raise ManifestError(f"{path}: {len(found)} of them, not one")
    return found[0]


def named(things, attribute, wanted, what):
    for thing in things:
        if getattr(thing, attribute) == wanted:
            return thing
    raise ManifestError(f"no {what} is called {wanted}")


def unique(things, attribute):
    values = [getattr(thing, attribute) for thing in things]
    if len(set(values)) != len(values):
        raise ManifestError(f"a {attribute} is used twice: {values}")


def read_channels(element):
    channels = []
    for child in children(element, "importChannel"):
        values = attributes(child, ("chid", "name"))
        if values["name"] not in IMPORTED_CHANNELS:
            raise ManifestError(f"Windows has no channel {values['name']} to import")
        channels.append(Channel(values["chid"], values["name"], IMPORTED_CHANNELS[values["name"]],
                                FIRST_CHANNEL_KEYWORD >> len(channels)))
    unique(channels, "identifier")
    return channels


def read_keywords(element, text):
    keywords = []
    for child in children(element, "keyword"):
        values = attributes(child, ("name", "symbol", "mask", "message"))
        mask = int(values["mask"], 0)
        if mask & ~OWN_KEYWORDS or mask.bit_count() != 1:
            raise ManifestError(f"keyword {values['name']}: {mask:#x} is not one bit of a provider's own")
        keywords.append(Keyword(values["name"], values["symbol"], mask, text(values["message"])))
    unique(keywords, "mask")
    return keywords


def read_templates(element):
    templates = []
    for child in children(element, "template"):
        fields = []
        for data in children(child, "data"):
            values = attributes(data, ("name", "inType"))
            if values["inType"] not in IN_TYPES:
                raise ManifestError(f"field {values['name']}: {values['inType']} is not understood")
            fields.append(Field(values["name"], IN_TYPES[values["inType"]]))
        unique(fields, "name")
        templates.append(Template(attributes(child, ("tid",))["tid"], fields))
    unique(templates, "identifier")
    return templates


def read_event(element, provider, text):
    values = attributes(element, ("value", "symbol", "level", "opcode", "template", "message"),
                        ("channel", "keywords", "version"))
    for name, known in (("level", LEVELS), ("opcode", OPCODES)):
        if values[name] not in known:
            raise ManifestError(f"event {values['symbol']}: {name} {values[name]} is not understood")
    event = Event(
        value=int(values["value"], 0),
        version=int(values.get("version", "0"), 0),
        symbol=values["symbol"],
        channel=named(provider.channels, "identifier", values["channel"], "channel")
        if "channel" in values else None,
        level=values["level"],
        opcode=values["opcode"],
        keywords=[named(provider.keywords, "name", name, "keyword")
                  for name in values.get("keywords", "").split()],
        template=named(provider.templates, "identifier", values["template"], "template"),
        message=text(values["message"]))
    if not 0 <= event.value <= 0xFFFF or not 0 <= event.version <= 0xFF:
        raise ManifestError(f"event {event.symbol}: its number is out of range")
    for number in re.findall(r"%(\d+)", event.message):
        if not 1 <= int(number) <= len(event.template.fields):
            raise ManifestError(f"event {event.symbol}: its message has no field %{number}")
    return event


def read_strings(root):
    resources = only(root, "localization/resources")
    if attributes(resources, ("culture",))["culture"] != "en-US":
        raise ManifestError("only en-US strings are understood")
    strings = {}
    for child in children(only(resources, "stringTable"), "string"):
        values = attributes(child, ("id", "value"))
        if values["id"] in strings:
            raise ManifestError(f"string {values['id']} is there twice")
        strings[values["id"]] = values["value"]
    return strings


def read_manifest(path):
    """The one provider of a manifest file. Raises ManifestError."""
    root = ElementTree.parse(path).getroot()
    strings = read_strings(root)
    used = set()

    def text(reference):
        match = re.fullmatch(r"\$\(string\.(.+)\)", reference)
        if not match or match[1] not in strings:
            raise ManifestError(f"{reference}: no such string")
        used.add(match[1])
        return strings[match[1]]

    element = only(root, "instrumentation/events/provider")
    values = attributes(element, ("name", "guid", "symbol", "resourceFileName", "messageFileName"))
    children(element, "channels", "keywords", "templates", "events")
    provider = Provider(values["name"], uuid.UUID(values["guid"]), values["symbol"])
    provider.channels = read_channels(only(element, "channels"))
    provider.keywords = read_keywords(only(element, "keywords"), text)
    provider.templates = read_templates(only(element, "templates"))
    provider.events = [read_event(child, provider, text)
                       for child in children(only(element, "events"), "event")]
    unique(provider.events, "value")
    unique(provider.events, "symbol")
    if unused := set(strings) - used:
        raise ManifestError(f"strings that nothing shows: {sorted(unused)}")
    return provider
