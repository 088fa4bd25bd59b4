// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/disk_text.h"

#include <vector>

#include "client/fields.h"
#include "client/text.h"

namespace wnbd::client {
namespace {

constexpr std::size_t show_label_width = 25;
constexpr std::size_t stats_label_width = 30;
constexpr std::uint64_t interrupt_time_units_per_ms = 10000;

Value number(std::int64_t value) {
    return value;
}
Value count(std::uint64_t value) {
    return value;
}

bool is_nbd(const WNBD_FLAGS& flags) {
    return flags.UseKernelNbd != 0 || flags.UseUserspaceNbd != 0;
}

std::string list_row(std::string_view pid, std::string_view disk_number, std::string_view nbd,
                     std::string_view owner, std::string_view name) {
    return padded(pid, 10) + "  " + padded(disk_number, 10) + "  " + padded(nbd, 5) + "  " +
           padded(owner, 15) + "  " + std::string(name) + "\n";
}

Record nbd_record(const NBD_CONNECTION_PROPERTIES& nbd) {
    return {
        {"Hostname", bounded_text(nbd.Hostname)},
        {"PortNumber", count(nbd.PortNumber)},
        {"ExportName", bounded_text(nbd.ExportName)},
        {"SkipNegotiation", Switch{nbd.Flags.SkipNegotiation != 0}},
    };
}

Record show_record(const WNBD_CONNECTION_INFO& disk, const IoLimits& limits) {
    const WNBD_PROPERTIES& properties = disk.Properties;
    const WNBD_FLAGS& flags = properties.Flags;
    return {
        {"InstanceName", bounded_text(properties.InstanceName)},
        {"SerialNumber", bounded_text(properties.SerialNumber)},
        {"Owner", bounded_text(properties.Owner)},
        {"ReadOnly", Switch{flags.ReadOnly != 0}},
        {"FlushSupported", Switch{flags.FlushSupported != 0}},
        {"FUASupported", Switch{flags.FUASupported != 0}},
        {"UnmapSupported", Switch{flags.UnmapSupported != 0}},
        {"UnmapAnchorSupported", Switch{flags.UnmapAnchorSupported != 0}},
        {"UseUserspaceNbd", Switch{flags.UseUserspaceNbd != 0}},
        {"BlockCount", count(properties.BlockCount)},
        {"BlockSize", count(properties.BlockSize)},
        {"MaxUnmapDescCount", count(properties.MaxUnmapDescCount)},
        {"Pid", number(properties.Pid)},
        {"DiskNumber", number(disk.DiskNumber)},
        {"PNPDeviceID", utf8_from_utf16(std::span<const WCHAR>(disk.PNPDeviceID))},
        {"BusNumber", count(disk.BusNumber)},
        {"TargetId", count(disk.TargetId)},
        {"Lun", count(disk.Lun)},
        {"MaxIOReqPerLun", number(limits.per_lun)},
        {"MaxIOReqPerAdapter", number(limits.per_adapter)},
    };
}

Value time_since_ms(std::uint64_t timestamp, std::uint64_t now_ms) {
    if (timestamp == 0) return Never{};
    const std::uint64_t then_ms = timestamp / interrupt_time_units_per_ms;
    return count(now_ms > then_ms ? now_ms - then_ms : 0);
}

}  // namespace

std::string list_text(std::span<const WNBD_CONNECTION_INFO> disks, OutputFormat format) {
    std::vector<Record> records;
    std::string table = list_row("Pid", "DiskNumber", "Nbd", "Owner", "InstanceName");
    for (const WNBD_CONNECTION_INFO& disk : disks) {
        const WNBD_PROPERTIES& properties = disk.Properties;
        const bool nbd = is_nbd(properties.Flags);
        const std::string owner = bounded_text(properties.Owner);
        const std::string name = bounded_text(properties.InstanceName);
        table += list_row(std::to_string(properties.Pid), std::to_string(disk.DiskNumber),
                          nbd ? "true" : "false", owner, name);
        records.push_back({
            {"Pid", number(properties.Pid)},
            {"DiskNumber", number(disk.DiskNumber)},
            {"Nbd", Switch{nbd}},
            {"Owner", owner},
            {"InstanceName", name},
        });
    }
    return format == OutputFormat::json ? json_text(records) : table;
}

std::string show_text(const WNBD_CONNECTION_INFO& disk, const IoLimits& limits,
                      OutputFormat format) {
    Record record = show_record(disk, limits);
    const bool served_by_nbd = disk.Properties.Flags.UseUserspaceNbd != 0;
    const Record nbd = nbd_record(disk.Properties.NbdProperties);
    if (format == OutputFormat::json) {
        if (served_by_nbd) record.push_back({"NbdProperties", nbd});
        return json_text(record);
    }
    std::string text = table_text("Connection info", record, show_label_width);
    if (served_by_nbd) text += table_text("Nbd properties", nbd, show_label_width);
    return text;
}

std::string stats_text(const WNBD_DRV_STATS& stats, std::uint64_t now_ms, OutputFormat format) {
    const Record record{
        {"TotalReceivedIORequests", number(stats.TotalReceivedIORequests)},
        {"TotalSubmittedIORequests", number(stats.TotalSubmittedIORequests)},
        {"TotalReceivedIOReplies", number(stats.TotalReceivedIOReplies)},
        {"UnsubmittedIORequests", number(stats.UnsubmittedIORequests)},
        {"PendingSubmittedIORequests", number(stats.PendingSubmittedIORequests)},
        {"AbortedSubmittedIORequests", number(stats.AbortedSubmittedIORequests)},
        {"AbortedUnsubmittedIORequests", number(stats.AbortedUnsubmittedIORequests)},
        {"CompletedAbortedIORequests", number(stats.CompletedAbortedIORequests)},
        {"OutstandingIOCount", number(stats.OutstandingIOCount)},
        {"TimeSinceLastReceivedReqMs", time_since_ms(stats.LastReceivedReqTimestamp, now_ms)},
        {"TimeSinceLastSubmittedReqMs", time_since_ms(stats.LastSubmittedReqTimestamp, now_ms)},
        {"TimeSinceLastReplyMs", time_since_ms(stats.LastReplyTimestamp, now_ms)},
    };
    return format == OutputFormat::json ? json_text(record)
                                        : table_text("Disk stats", record, stats_label_width);
}

}  // namespace wnbd::client
