# SPDX-License-Identifier: LGPL-2.1-or-later
"""libfwevt, an independent reader of WEVT_TEMPLATE resources: Debian has it inside libevtx.so.1."""
import ctypes


class Libfwevt:
    """The events of a resource, as (identifier, message identifier, template offset)."""

    def __init__(self, data):
        self.library = ctypes.CDLL("libevtx.so.1")
        self.data = ctypes.create_string_buffer(data, len(data))
        self.size = ctypes.c_size_t(len(data))
        self.manifest = ctypes.c_void_p()
        self.call("manifest_initialize", ctypes.byref(self.manifest))
        self.call("manifest_read", self.manifest, self.data, self.size)
        self.provider = ctypes.c_void_p()
        self.call("manifest_get_provider", self.manifest, 0, ctypes.byref(self.provider))

    def call(self, name, *arguments):
        error = ctypes.c_void_p()
        result = getattr(self.library, "libfwevt_" + name)(*arguments, ctypes.byref(error))
        if result == -1:
            text = ctypes.create_string_buffer(4096)
            self.library.libcerror_error_backtrace_sprint(error, text, len(text))
            raise AssertionError(f"{name}: {text.value.decode()}")
        return result

    def number(self, name, owner, kind=ctypes.c_uint32):
        value = kind()
        self.call(name, owner, ctypes.byref(value))
        return value.value

    def count(self, what):
        return self.number(f"provider_get_number_of_{what}", self.provider, ctypes.c_int)

    def event(self, identifier):
        """None when there is no such event."""
        event = ctypes.c_void_p()
        found = self.call("provider_get_event_by_identifier", self.provider,
                          ctypes.c_uint32(identifier), ctypes.byref(event))
        if found == 0:
            return None
        return tuple(self.number(f"event_get_{name}", event)
                     for name in ("identifier", "message_identifier", "template_offset"))

    def has_template(self, offset):
        template = ctypes.c_void_p()
        return self.call("provider_get_template_by_offset", self.provider, ctypes.c_uint32(offset),
                         ctypes.byref(template)) == 1
