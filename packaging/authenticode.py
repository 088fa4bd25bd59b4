# SPDX-License-Identifier: LGPL-2.1-or-later
"""What of a PE file Authenticode signs: all but the checksum, the entry of the certificate table and
that table itself ("Windows Authenticode Portable Executable Signature Format", Microsoft 2008)."""

import hashlib
import struct

PE32_PLUS = 0x20B
CERTIFICATE_TABLE = 4
# A certificate table begins at a multiple of this; an image that has none yet counts as if padded.
TABLE_ALIGNMENT = 8


class NotAnImage(ValueError):
    """The file is not a PE file, or its headers point out of it."""


def is_image(data):
    return data[:2] == b"MZ"


def signed_parts(data):
    """The parts of an image that its hash covers, in order. Headers may be anything."""
    try:
        (pe,) = struct.unpack_from("<I", data, 0x3C)
        if data[pe : pe + 4] != b"PE\0\0":
            raise NotAnImage("no PE signature")
        optional = pe + 24
        (magic,) = struct.unpack_from("<H", data, optional)
        directories = optional + (112 if magic == PE32_PLUS else 96)
        entry = directories + 8 * CERTIFICATE_TABLE
        offset, size = struct.unpack_from("<II", data, entry)
    except struct.error as error:
        raise NotAnImage("headers are cut off") from error
    checksum = optional + 64
    end = offset if size else len(data)
    if size and (offset + size != len(data) or offset < entry + 8):
        raise NotAnImage("the certificate table is not the end of the file")
    padding = b"" if size else bytes(-len(data) % TABLE_ALIGNMENT)
    return data[:checksum], data[checksum + 4 : entry], data[entry + 8 : end], padding


def image_hash(data, algorithm="sha256"):
    digest = hashlib.new(algorithm)
    for part in signed_parts(data):
        digest.update(part)
    return digest.digest()
