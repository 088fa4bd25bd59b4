#!/usr/bin/env python3
# SPDX-License-Identifier: LGPL-2.1-or-later
"""Makes of an event manifest what the driver is built with:

    compile_manifest.py MANIFEST DIRECTORY

writes into DIRECTORY events.bin (the WEVT_TEMPLATE resource), messages.bin (the message table) and events.h (each
event's descriptor, and for each template a function that lays out its fields), so that the manifest, the resource
and the code say the same."""
import re
import sys
from pathlib import Path

from event_manifest import LEVELS, OPCODES, ManifestError, read_manifest
from event_resource import compile_resources

HEADER = """\
// SPDX-License-Identifier: LGPL-2.1-or-later
// Made by scripts/compile_manifest.py of {source}.
#pragma once

#include "driver/ddk/etw.h"

namespace wnbd::driver::events {{

/// {name}
inline constexpr GUID {symbol} = {guid};

{descriptors}
{templates}
}}  // namespace wnbd::driver::events
"""


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()


def cpp_guid(guid):
    first, second, third = guid.fields[:3]
    rest = ", ".join(f"0x{byte:02X}" for byte in guid.bytes[8:])
    return f"{{0x{first:08X}, 0x{second:04X}, 0x{third:04X}, {{{rest}}}}}"


def descriptor(event):
    channel = event.channel.value if event.channel else 0
    return (f"inline constexpr EVENT_DESCRIPTOR {snake(event.symbol)} = {{{event.value}, "
            f"{event.version}, {channel}, {LEVELS[event.level][0]}, {OPCODES[event.opcode][0]}, 0, "
            f"0x{event.keyword_mask:016X}}};\n")


def layout(template):
    """An inline function that points event data descriptors at the values; they must outlive the descriptors."""
    parameters = "".join(f", {field.type.cpp} {snake(field.name)}" for field in template.fields)
    lines = [f"inline void lay_out_{snake(template.identifier)}("
             f"EVENT_DATA_DESCRIPTOR (&out)[{len(template.fields)}]{parameters}) noexcept {{"]
    for index, field in enumerate(template.fields):
        name = snake(field.name)
        value = f"text_data({name})" if field.type.size is None else f"value_data({name})"
        lines.append(f"    out[{index}] = {value};")
    return "\n".join([*lines, "}\n"])


def header(provider, source):
    return HEADER.format(
        source=source, name=provider.name, symbol=snake(provider.symbol),
        guid=cpp_guid(provider.guid),
        descriptors="".join(descriptor(event) for event in provider.events),
        templates="\n".join(layout(template) for template in provider.templates))


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    manifest, target = Path(sys.argv[1]), Path(sys.argv[2])
    try:
        provider = read_manifest(manifest)
        template, messages = compile_resources(provider)
    except (ManifestError, ValueError) as error:
        sys.exit(f"{manifest}: {error}")
    target.mkdir(parents=True, exist_ok=True)
    (target / "events.bin").write_bytes(template)
    (target / "messages.bin").write_bytes(messages)
    (target / "events.h").write_text(header(provider, manifest.name), encoding="utf-8")


if __name__ == "__main__":
    main()
