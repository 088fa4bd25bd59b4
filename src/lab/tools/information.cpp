// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <cstring>
#include <string>
#include <vector>

#include "lab/tools/commands.h"
#include "lab/tools/drive.h"

// After <windows.h>, which drive.h brings.
#include <ntddscsi.h>

namespace wnbd::disktool {
namespace {

// Not in mingw's headers: StorageDeviceIoCapabilityProperty (48) and its answer.
constexpr int io_capability_property = 48;
struct IoCapability {
    ULONG Version, Size, LunMaxIoCount, AdapterMaxIoCount;
};

std::vector<std::uint8_t> query_property(const Drive& drive, int property, std::size_t room,
                                         const char* name) {
    STORAGE_PROPERTY_QUERY query{};
    query.PropertyId = static_cast<STORAGE_PROPERTY_ID>(property);
    query.QueryType = PropertyStandardQuery;
    std::vector<std::uint8_t> answer(room);
    answer.resize(drive.control(IOCTL_STORAGE_QUERY_PROPERTY, &query, sizeof query, answer.data(),
                                static_cast<DWORD>(answer.size()), name));
    return answer;
}

/// A string of a descriptor, by its offset; empty when it has none.
std::string text_at(const std::vector<std::uint8_t>& descriptor, DWORD offset) {
    if (offset == 0 || offset >= descriptor.size()) return "";
    std::string text;
    for (std::size_t i = offset; i < descriptor.size() && descriptor[i] != 0; ++i)
        text += static_cast<char>(descriptor[i]);
    return text;
}

void print_sizes(const Drive& drive) {
    // What Windows knows; the length is read anew from the disk.
    DISK_GEOMETRY_EX known{};
    drive.control(IOCTL_DISK_GET_DRIVE_GEOMETRY_EX, nullptr, 0, &known, sizeof known,
                  "GET_DRIVE_GEOMETRY_EX");
    std::printf("disk-size: %lld\n", known.DiskSize.QuadPart);
    std::printf("length: %llu\n", static_cast<unsigned long long>(drive.size()));
    DISK_GEOMETRY geometry{};
    drive.control(IOCTL_DISK_GET_DRIVE_GEOMETRY, nullptr, 0, &geometry, sizeof geometry,
                  "GET_DRIVE_GEOMETRY");
    std::printf("bytes-per-sector: %lu\ncylinders: %lld\ntracks: %lu\nsectors: %lu\n",
                geometry.BytesPerSector, geometry.Cylinders.QuadPart, geometry.TracksPerCylinder,
                geometry.SectorsPerTrack);
}

void print_place(const Drive& drive) {
    STORAGE_DEVICE_NUMBER number{};
    drive.control(IOCTL_STORAGE_GET_DEVICE_NUMBER, nullptr, 0, &number, sizeof number,
                  "GET_DEVICE_NUMBER");
    std::printf("device-number: %lu\n", number.DeviceNumber);
    SCSI_ADDRESS address{};
    drive.control(IOCTL_SCSI_GET_ADDRESS, nullptr, 0, &address, sizeof address, "GET_ADDRESS");
    std::printf("scsi-address: port %u path %u target %u lun %u\n", address.PortNumber,
                address.PathId, address.TargetId, address.Lun);
}

void print_device(const Drive& drive) {
    const auto answer = query_property(drive, StorageDeviceProperty, 1024, "device property");
    STORAGE_DEVICE_DESCRIPTOR head{};
    if (answer.size() < offsetof(STORAGE_DEVICE_DESCRIPTOR, RawDeviceProperties))
        throw std::runtime_error("the device property is too short");
    std::memcpy(&head, answer.data(), offsetof(STORAGE_DEVICE_DESCRIPTOR, RawDeviceProperties));
    std::printf("vendor: %s\nproduct: %s\nrevision: %s\nserial: %s\nbus-type: %d\nremovable: %d\n",
                text_at(answer, head.VendorIdOffset).c_str(),
                text_at(answer, head.ProductIdOffset).c_str(),
                text_at(answer, head.ProductRevisionOffset).c_str(),
                text_at(answer, head.SerialNumberOffset).c_str(), head.BusType,
                head.RemovableMedia ? 1 : 0);
}

void print_identifiers(const Drive& drive) {
    const auto answer = query_property(drive, StorageDeviceIdProperty, 1024, "device id property");
    std::printf("device-id:");
    for (const auto byte : answer)
        std::printf(" %02x", byte);
    std::printf("\n");
}

void print_traits(const Drive& drive) {
    DEVICE_TRIM_DESCRIPTOR trim{};
    const auto trims = query_property(drive, StorageDeviceTrimProperty, sizeof trim, "trim");
    std::memcpy(&trim, trims.data(), std::min(trims.size(), sizeof trim));
    DEVICE_SEEK_PENALTY_DESCRIPTOR seek{};
    const auto seeks =
        query_property(drive, StorageDeviceSeekPenaltyProperty, sizeof seek, "seek penalty");
    std::memcpy(&seek, seeks.data(), std::min(seeks.size(), sizeof seek));
    STORAGE_ACCESS_ALIGNMENT_DESCRIPTOR alignment{};
    const auto aligned =
        query_property(drive, StorageAccessAlignmentProperty, sizeof alignment, "alignment");
    std::memcpy(&alignment, aligned.data(), std::min(aligned.size(), sizeof alignment));
    std::printf("logical-sector: %lu\nphysical-sector: %lu\n", alignment.BytesPerLogicalSector,
                alignment.BytesPerPhysicalSector);
    std::printf("trim: %d\nseek-penalty: %d\n", trim.TrimEnabled ? 1 : 0,
                seek.IncursSeekPenalty ? 1 : 0);
}

void print_limits(const Drive& drive) {
    const auto answer =
        query_property(drive, io_capability_property, sizeof(IoCapability), "I/O capability");
    IoCapability capability{};
    if (answer.size() < sizeof capability)
        throw std::runtime_error("the I/O capability is too short");
    std::memcpy(&capability, answer.data(), sizeof capability);
    std::printf("lun-max-io: %lu\nadapter-max-io: %lu\n", capability.LunMaxIoCount,
                capability.AdapterMaxIoCount);
}

}  // namespace

int print_information(unsigned drive_number) {
    const Drive drive(drive_number, {});
    print_sizes(drive);
    print_place(drive);
    print_device(drive);
    print_identifiers(drive);
    print_traits(drive);
    print_limits(drive);
    return 0;
}

int hold(unsigned drive_number) {
    const Drive drive(drive_number, {});
    std::puts("open");
    std::fflush(stdout);
    Sleep(INFINITE);
    return 0;
}

int update_properties(unsigned drive_number) {
    const Drive drive(drive_number, {.write = true});
    drive.control(IOCTL_DISK_UPDATE_PROPERTIES, nullptr, 0, nullptr, 0, "UPDATE_PROPERTIES");
    std::printf("length: %llu\n", static_cast<unsigned long long>(drive.size()));
    return 0;
}

}  // namespace wnbd::disktool
