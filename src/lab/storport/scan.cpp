// SPDX-License-Identifier: LGPL-2.1-or-later
// The bus scan: REPORT LUNS to LUN 0 of every target, then INQUIRY and the identification pages of
// each candidate; new units get a physical device, vanished ones are marked missing.
#include <algorithm>
#include <cctype>
#include <cstdio>
#include <cstring>
#include <new>
#include <optional>

#include "lab/storport/devices.h"
#include "lab/storport/host.h"

namespace wnbd::lab {
namespace {

constexpr std::uint8_t kOpInquiry = 0x12;
constexpr std::uint8_t kOpReportLuns = 0xA0;
constexpr std::uint32_t kScanTimeoutSeconds = 4;
constexpr std::uint32_t kInquiryBytes = 255;
constexpr std::uint32_t kReportLunsBytes = 16 + 8 * 255;
constexpr std::uint8_t kProbedLuns = 8;  // 0..7 where REPORT LUNS is not answered
constexpr std::uint8_t kNoLun = 0x7F;    // qualifier 011b, type 1Fh

AttachClass attach_class = nullptr;

/// One command with data in; nothing unless the miniport answers SUCCESS.
std::optional<std::vector<std::uint8_t>> fetch(Adapter& adapter, Address address,
                                               std::vector<std::uint8_t> cdb,
                                               std::uint32_t length) {
    std::vector<std::uint8_t> data(length);
    Request request;
    request.address = address;
    request.cdb_length = static_cast<std::uint8_t>(cdb.size());
    std::copy(cdb.begin(), cdb.end(), request.cdb);
    request.direction = Direction::In;
    request.form = SrbForm::Alternate;
    request.data = data.data();
    request.data_length = length;
    request.timeout_seconds = kScanTimeoutSeconds;
    adapter.execute(request);
    if (request.srb_status != SRB_STATUS_SUCCESS && request.srb_status != SRB_STATUS_DATA_OVERRUN)
        return std::nullopt;
    data.resize(request.transferred);
    return data;
}

std::optional<std::vector<std::uint8_t>> inquiry(Adapter& adapter, Address address) {
    auto data = fetch(adapter, address, {kOpInquiry, 0, 0, 0, kInquiryBytes, 0}, kInquiryBytes);
    if (!data || data->size() < 36) {
        if (data)
            report_violation("short INQUIRY", "%u:%u:%u: %u bytes", address.path, address.target,
                             address.lun, static_cast<unsigned>(data->size()));
        return std::nullopt;
    }
    if (data->front() == kNoLun) return std::nullopt;
    return data;
}

std::vector<std::uint8_t> vital_page(Adapter& adapter, Address address, std::uint8_t page) {
    auto data = fetch(adapter, address, {kOpInquiry, 1, page, 0, kInquiryBytes, 0}, kInquiryBytes);
    if (!data || data->size() < 4 || (*data)[1] != page) return {};
    return *data;
}

std::vector<std::uint8_t> candidates(Adapter& adapter, Address lun0) {
    const std::vector<std::uint8_t> cdb{
        kOpReportLuns, 0, 0, 0, 0, 0, 0, 0, kReportLunsBytes >> 8, kReportLunsBytes & 0xFF, 0, 0};
    std::vector<std::uint8_t> luns;
    if (auto data = fetch(adapter, lun0, cdb, kReportLunsBytes); data && data->size() >= 8) {
        const std::size_t listed = static_cast<std::size_t>((*data)[0]) << 24 | (*data)[1] << 16 |
                                   (*data)[2] << 8 | (*data)[3];
        for (std::size_t at = 8; at + 8 <= data->size() && at + 8 <= listed + 8; at += 8)
            luns.push_back((*data)[at + 1]);
        return luns;
    }
    if (!inquiry(adapter, lun0)) return luns;
    for (std::uint8_t lun = 0; lun < kProbedLuns; ++lun)
        luns.push_back(lun);
    return luns;
}

std::string trimmed(const std::uint8_t* bytes, std::size_t length) {
    std::string text(reinterpret_cast<const char*>(bytes), length);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\0'))
        text.pop_back();
    text.erase(0, text.find_first_not_of(' '));
    return text;
}

/// Windows's form: blanks and what is not printable become '_'.
std::u16string id_part(std::string text) {
    for (char& c : text)
        if (c <= ' ' || c > '~' || c == ',' || c == '\\') c = '_';
    return {text.begin(), text.end()};
}

UnitIdentity identify(FunctionalDevice& device, Address address, std::vector<std::uint8_t> data) {
    UnitIdentity unit;
    unit.adapter = device.adapter;
    unit.address = address;
    unit.inquiry = std::move(data);
    const std::vector<std::uint8_t> pages = vital_page(*unit.adapter, address, 0x00);
    const auto has = [&](std::uint8_t page) {
        return pages.size() > 4 && std::find(pages.begin() + 4, pages.end(), page) != pages.end();
    };
    if (has(0x80)) {
        const std::vector<std::uint8_t> serial = vital_page(*unit.adapter, address, 0x80);
        if (serial.size() > 4) unit.serial = trimmed(serial.data() + 4, serial.size() - 4);
    }
    if (has(0x83)) unit.device_id_page = vital_page(*unit.adapter, address, 0x83);
    unit.device_id =
        u"SCSI\\Disk&Ven_" + id_part(unit.vendor()) + u"&Prod_" + id_part(unit.product());
    char instance[32];
    std::snprintf(instance, sizeof instance, "%x&%08x&0&%02x%02x%02x", 1U,
                  0x2AFD7D00U + device.port_number, address.path, address.target, address.lun);
    unit.instance_id.assign(instance, instance + std::strlen(instance));
    return unit;
}

void add_unit(FunctionalDevice& device, UnitIdentity identity) {
    PDEVICE_OBJECT self = nullptr;
    const NTSTATUS status =
        IoCreateDevice(device.driver->driver, sizeof(PhysicalDevice), nullptr, FILE_DEVICE_DISK,
                       FILE_AUTOGENERATED_DEVICE_NAME, FALSE, &self);
    if (!NT_SUCCESS(status)) {
        DbgPrint("storport: no device object for a unit: %lx\n", status);
        return;
    }
    auto& unit = *new (self->DeviceExtension) PhysicalDevice;
    unit.kind = DeviceKind::Physical;
    unit.self = self;
    unit.parent = &device;
    unit.identity = std::move(identity);
    // Room for the class driver and what a caller puts on top of it.
    self->StackSize = static_cast<CCHAR>(self->StackSize + 1);
    // Windows' PnP manager marks what a bus driver reports; drivers tell units from adapters by it.
    self->Flags |= DO_BUS_ENUMERATED_DEVICE;
    self->Flags &= ~static_cast<ULONG>(DO_DEVICE_INITIALIZING);
    DbgPrint("storport: unit %u:%u:%u arrives\n", unit.identity.address.path,
             unit.identity.address.target, unit.identity.address.lun);
    if (attach_class != nullptr) attach_class(self, unit.identity);
    const std::lock_guard lock(device.units_mutex);
    device.units.push_back(&unit);
}

/// The same device still answers: its INQUIRY strings and serial number are those of the scan
/// before.
bool same_device(const UnitIdentity& before, const UnitIdentity& now) {
    return before.device_id == now.device_id && before.serial == now.serial;
}

}  // namespace

std::string UnitIdentity::vendor() const {
    return trimmed(inquiry.data() + 8, 8);
}

std::string UnitIdentity::product() const {
    return trimmed(inquiry.data() + 16, 16);
}

std::string UnitIdentity::revision() const {
    return trimmed(inquiry.data() + 32, 4);
}

void set_class(AttachClass attach) {
    attach_class = attach;
}

bool unit_answers(Adapter& adapter, Address address) {
    return inquiry(adapter, address).has_value();
}

void scan_bus(FunctionalDevice& device) {
    const std::lock_guard one_at_a_time(device.scan_mutex);
    if (!device.adapter) return;  // stopped
    std::vector<UnitIdentity> found;
    for (unsigned path = 0; path < device.config.NumberOfBuses; ++path) {
        for (unsigned target = 0; target < device.config.MaximumNumberOfTargets; ++target) {
            Address address{static_cast<std::uint8_t>(path), static_cast<std::uint8_t>(target), 0};
            for (const std::uint8_t lun : candidates(*device.adapter, address)) {
                address.lun = lun;
                if (auto data = inquiry(*device.adapter, address))
                    found.push_back(identify(device, address, std::move(*data)));
            }
        }
    }
    std::vector<PhysicalDevice*> known;
    {
        const std::lock_guard lock(device.units_mutex);
        known = device.units;
    }
    for (PhysicalDevice* unit : known) {
        const auto same = std::find_if(found.begin(), found.end(), [&](const UnitIdentity& now) {
            return now.address == unit->identity.address && same_device(unit->identity, now);
        });
        if (same != found.end()) {
            found.erase(same);
            continue;
        }
        DbgPrint("storport: unit %u:%u:%u is gone\n", unit->identity.address.path,
                 unit->identity.address.target, unit->identity.address.lun);
        unit->last_sequence = device.adapter->last_sequence();
        unit->missing = true;
        ++device.removals_due;
    }
    for (UnitIdentity& identity : found)
        add_unit(device, std::move(identity));
}

}  // namespace wnbd::lab
