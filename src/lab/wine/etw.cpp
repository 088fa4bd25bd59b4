// SPDX-License-Identifier: LGPL-2.1-or-later
// Tracing in Wine's kernel process, whose ntoskrnl.exe has none. What sessions get is appended to a
// file of the prefix, a line for each event, for the tests to read.
#include <cstdio>

#include "lab/etw/tracing.h"
#include "lab/storport/host.h"
#include "lab/wine/etw_log.h"

namespace wnbd::lab::wine {
namespace {

/// session guid id version channel level opcode task keyword type:hex type:hex ...
void append_line(std::FILE* file, const etw::Session& session, const etw::Event& event) {
    const GUID& guid = event.provider;
    const EVENT_DESCRIPTOR& about = event.descriptor;
    std::fprintf(file, "%s %08lx-%04x-%04x-", session.name.c_str(), guid.Data1, guid.Data2,
                 guid.Data3);
    for (const unsigned char byte : guid.Data4)
        std::fprintf(file, "%02x", byte);
    std::fprintf(file, " %u %u %u %u %u %u %llx", about.Id, about.Version, about.Channel,
                 about.Level, about.Opcode, about.Task, about.Keyword);
    for (const etw::Part& part : event.parts) {
        std::fprintf(file, " %u:", part.type);
        for (const std::uint8_t byte : part.bytes)
            std::fprintf(file, "%02x", byte);
    }
    std::fputc('\n', file);
}

void record(const etw::Session& session, const etw::Event& event) {
    std::FILE* const file = std::fopen("C:\\windows\\temp\\wnbd-events.txt", "ab");
    if (file == nullptr) return;
    append_line(file, session, event);
    std::fclose(file);
}

}  // namespace

void start_event_log() {
    etw::set_sink(record);
    etw::start_session(etw::system_log_of(etw::manifest_provider()));
}

}  // namespace wnbd::lab::wine

using namespace wnbd::lab;

extern "C" {

NTSTATUS NTAPI EtwRegister(LPCGUID provider, PETWENABLECALLBACK, PVOID, PREGHANDLE handle) {
    *handle = etw::register_provider(*provider);
    return STATUS_SUCCESS;
}

NTSTATUS NTAPI EtwUnregister(REGHANDLE handle) {
    if (etw::unregister_provider(handle)) return STATUS_SUCCESS;
    report_violation("etw handle", "EtwUnregister of %llx, which is not registered", handle);
    return STATUS_INVALID_HANDLE;
}

NTSTATUS NTAPI EtwSetInformation(REGHANDLE handle, EVENT_INFO_CLASS information, PVOID data,
                                 ULONG bytes) {
    if (information != EventProviderSetTraits) return STATUS_INVALID_INFO_CLASS;
    if (etw::set_traits(handle, data, bytes)) return STATUS_SUCCESS;
    report_violation("etw traits", "EtwSetInformation: %lu bytes that are no traits", bytes);
    return STATUS_INVALID_PARAMETER;
}

BOOLEAN NTAPI EtwEventEnabled(REGHANDLE handle, PCEVENT_DESCRIPTOR descriptor) {
    return etw::is_enabled(handle, descriptor->Level, descriptor->Keyword) ? TRUE : FALSE;
}

NTSTATUS NTAPI EtwWrite(REGHANDLE handle, PCEVENT_DESCRIPTOR descriptor, LPCGUID, ULONG count,
                        PEVENT_DATA_DESCRIPTOR data) {
    const std::string fault = etw::write(handle, *descriptor, count, data);
    if (fault.empty()) return STATUS_SUCCESS;
    report_violation("etw event", "EtwWrite: %s", fault.c_str());
    return STATUS_INVALID_PARAMETER;
}
}
