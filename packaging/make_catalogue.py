#!/usr/bin/python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes the catalogue of a driver package, not yet signed.

A catalogue is PKCS#7 signed data (RFC 2315) whose content is a certificate trust list ([MS-CAESO]'s
CTL): one entry for each file with its SHA-256 hash, which for a PE file is the Authenticode hash, so
that an embedded signature does not change it. This is the second version of the format, which Windows
knows since Windows 8.
"""

import argparse
import datetime
import hashlib
import pathlib
import sys

from asn1crypto import algos, core
from authenticode import NotAnImage, image_hash, is_image

MICROSOFT = "1.3.6.1.4.1.311."
SIGNED_DATA = "1.2.840.113549.1.7.2"
CTL = MICROSOFT + "10.1"
CATALOGUE_LIST = MICROSOFT + "12.1.1"
CATALOGUE_MEMBER_V2 = MICROSOFT + "12.1.3"
NAME_VALUE = MICROSOFT + "12.2.1"
MEMBER_INFORMATION_V2 = MICROSOFT + "12.2.3"
INDIRECT_DATA = MICROSOFT + "2.1.4"
IMAGE_DATA = MICROSOFT + "2.1.15"
FLAT_FILE_DATA = MICROSOFT + "2.1.25"

# What wincrypt and mscat.h call CRYPTCAT_ATTR_AUTHENTICATED | NAMEASCII | DATAASCII.
NAME_VALUE_FLAGS = 0x10010001

# The names by which Windows knows itself in catalogues: 10 and later.
OS_ATTRIBUTE = "2:10.0"
OS_OF_CATALOGUE = "_v100_X64"

# The link of an image's indirect data stands for page hashes, which are not used; this text is what all
# signers write there.
OBSOLETE = "<<<Obsolete>>>"


class NameValue(core.Sequence):
    _fields = [("tag", core.BMPString), ("flags", core.Integer), ("value", core.OctetString)]


class SpcString(core.Choice):
    _alternatives = [
        ("unicode", core.BMPString, {"implicit": 0}),
        ("ascii", core.IA5String, {"implicit": 1}),
    ]


class SpcLink(core.Choice):
    _alternatives = [
        ("url", core.IA5String, {"implicit": 0}),
        ("moniker", core.OctetString, {"implicit": 1}),
        ("file", SpcString, {"explicit": 2}),
    ]


class SpcImageData(core.Sequence):
    _fields = [("flags", core.BitString), ("file", SpcLink, {"explicit": 0})]


class SpcAttribute(core.Sequence):
    _fields = [("type", core.ObjectIdentifier), ("value", core.Any)]


class SpcIndirectData(core.Sequence):
    _fields = [("data", SpcAttribute), ("message_digest", algos.DigestInfo)]


class AttributeValues(core.SetOf):
    _child_spec = core.Any


class Attribute(core.Sequence):
    _fields = [("type", core.ObjectIdentifier), ("values", AttributeValues)]


class Attributes(core.SetOf):
    _child_spec = Attribute


class Entry(core.Sequence):
    _fields = [("tag", core.OctetString), ("attributes", Attributes)]


class Entries(core.SequenceOf):
    _child_spec = Entry


class Usage(core.SequenceOf):
    _child_spec = core.ObjectIdentifier


class Member(core.Sequence):
    _fields = [("algorithm", core.ObjectIdentifier), ("parameters", core.Null)]


class Extension(core.Sequence):
    _fields = [("id", core.ObjectIdentifier), ("value", core.OctetString)]


class Extensions(core.SequenceOf):
    _child_spec = Extension


class TrustList(core.Sequence):
    _fields = [
        ("usage", Usage),
        ("list_identifier", core.OctetString),
        ("this_update", core.UTCTime),
        ("subject_algorithm", Member),
        ("entries", Entries),
        ("extensions", Extensions, {"explicit": 0}),
    ]


class TrustListContent(core.Sequence):
    _fields = [("type", core.ObjectIdentifier), ("content", TrustList, {"explicit": 0})]


class EmptySet(core.SetOf):
    _child_spec = core.Any


class SignedData(core.Sequence):
    _fields = [
        ("version", core.Integer),
        ("digest_algorithms", EmptySet),
        ("content", TrustListContent),
        ("signers", EmptySet),
    ]


class SignedDataContent(core.Sequence):
    _fields = [("type", core.ObjectIdentifier), ("content", SignedData, {"explicit": 0})]


def name_value(name, value):
    return NameValue(
        {"tag": name, "flags": NAME_VALUE_FLAGS, "value": value.encode("utf-16-le") + b"\0\0"}
    )


def attribute(kind, value):
    return Attribute({"type": kind, "values": [core.Any(value)]})


def file_hash(data):
    return image_hash(data) if is_image(data) else hashlib.sha256(data).digest()


def indirect_data(data):
    """The hash, and of what kind of file it is."""
    if is_image(data):
        obsolete = SpcLink("file", SpcString("unicode", OBSOLETE))
        # The flags, too, are what all signers write; verifiers ignore them.
        flags = core.BitString((1, 0, 1))
        kind, value = IMAGE_DATA, SpcImageData({"flags": flags, "file": obsolete})
    else:
        kind, value = FLAT_FILE_DATA, SpcLink("file", SpcString("unicode", ""))
    digest = {"digest_algorithm": {"algorithm": "sha256", "parameters": core.Null()},
              "digest": file_hash(data)}
    return SpcIndirectData({"data": {"type": kind, "value": core.Any(value)},
                            "message_digest": digest})


def entry(path):
    data = path.read_bytes()
    attributes = [
        attribute(NAME_VALUE, name_value("File", path.name.lower())),
        attribute(NAME_VALUE, name_value("OSAttr", OS_ATTRIBUTE)),
        attribute(INDIRECT_DATA, indirect_data(data)),
        attribute(MEMBER_INFORMATION_V2, core.Primitive(class_=2, tag=0, contents=b"")),
    ]
    # DER: the elements of a SET OF stand in the order of their encodings.
    attributes.sort(key=lambda one: one.dump())
    return Entry({"tag": file_hash(data), "attributes": attributes})


def catalogue(paths, hardware_ids, when):
    """The catalogue's bytes. `when` is the time it says it was made."""
    entries = Entries(sorted((entry(path) for path in paths), key=lambda one: one["tag"].native))
    labels = [("OS", OS_OF_CATALOGUE)]
    labels += [(f"HWID{i}", text.lower()) for i, text in enumerate(hardware_ids, start=1)]
    trust_list = {
        "usage": [CATALOGUE_LIST],
        # Any 16 bytes that name the list: of what it lists, so that one input has one catalogue.
        "list_identifier": hashlib.sha256(entries.dump()).digest()[:16],
        "this_update": core.UTCTime(when),
        "subject_algorithm": {"algorithm": CATALOGUE_MEMBER_V2, "parameters": core.Null()},
        "entries": entries,
        "extensions": [
            {"id": NAME_VALUE, "value": name_value(name, value).dump()} for name, value in labels
        ],
    }
    signed = {
        "version": 1,
        "digest_algorithms": [],
        "content": {"type": CTL, "content": trust_list},
        "signers": [],
    }
    return SignedDataContent({"type": SIGNED_DATA, "content": signed}).dump()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--time", type=int, required=True, help="seconds since 1970")
    parser.add_argument("--hardware-id", action="append", default=[])
    parser.add_argument("-o", "--output", type=pathlib.Path, required=True)
    parser.add_argument("files", nargs="+", type=pathlib.Path)
    arguments = parser.parse_args()
    when = datetime.datetime.fromtimestamp(arguments.time, datetime.timezone.utc)
    try:
        made = catalogue(arguments.files, arguments.hardware_id, when)
        arguments.output.write_bytes(made)
    except (OSError, NotAnImage) as error:
        sys.exit(f"make_catalogue: {error}")


if __name__ == "__main__":
    main()
