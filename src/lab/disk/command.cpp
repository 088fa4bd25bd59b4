// SPDX-License-Identifier: LGPL-2.1-or-later
// One SCSI command for the disk class: run, retry, and say in NTSTATUS what came of it.
#include <cstring>

#include "base/big_endian.h"
#include "lab/disk/disk.h"

namespace wnbd::lab {
namespace {

constexpr std::uint8_t kServiceActionIn16 = 0x9E;  // READ CAPACITY(16) among others

struct Sense {
    std::uint8_t key = 0;
    std::uint8_t code = 0;
    std::uint8_t qualifier = 0;
};

Sense parse(const Request& request) {
    Sense sense;
    if (request.sense_length < 3) return sense;
    const std::uint8_t form = request.sense[0] & 0x7F;
    if (form == 0x72 || form == 0x73) {
        sense.key = request.sense[1] & 0x0F;
        sense.code = request.sense[2];
        if (request.sense_length > 3) sense.qualifier = request.sense[3];
        return sense;
    }
    sense.key = request.sense[2] & 0x0F;
    if (request.sense_length > 13) {
        sense.code = request.sense[12];
        sense.qualifier = request.sense[13];
    }
    return sense;
}

NTSTATUS illegal_request(const Sense& sense) {
    switch (sense.code) {
        case 0x21: return STATUS_NONEXISTENT_SECTOR;
        case 0x25: return STATUS_NO_SUCH_DEVICE;
        default: return STATUS_INVALID_DEVICE_REQUEST;
    }
}

/// As the sense interpretation of Windows's class driver is documented and commonly observed.
NTSTATUS from_sense(const Request& request, bool& retry) {
    const Sense sense = parse(request);
    switch (sense.key) {
        case 0x0:
            retry = request.sense_length == 0;
            return request.sense_length == 0 ? STATUS_IO_DEVICE_ERROR : STATUS_SUCCESS;
        case 0x1: return STATUS_SUCCESS;
        case 0x2:
            retry = sense.code == 0x04 && sense.qualifier == 0x01;
            return sense.code == 0x3A ? STATUS_NO_MEDIA_IN_DEVICE : STATUS_DEVICE_NOT_READY;
        case 0x3: return STATUS_DEVICE_DATA_ERROR;
        case 0x5: return illegal_request(sense);
        case 0x6: retry = true; return STATUS_IO_DEVICE_ERROR;
        case 0x7:
            return sense.code == 0x27 && sense.qualifier == 0x07 ? STATUS_DISK_FULL
                                                                 : STATUS_MEDIA_WRITE_PROTECTED;
        case 0x8: return STATUS_NO_DATA_DETECTED;
        case 0xB: retry = true; return STATUS_IO_DEVICE_ERROR;
        default: return STATUS_IO_DEVICE_ERROR;
    }
}

}  // namespace

bool tells_new_capacity(const Request& request) {
    if (request.srb_status != SRB_STATUS_ERROR) return false;
    const Sense sense = parse(request);
    return sense.key == 0x6 && sense.code == 0x2A && sense.qualifier == 0x09;
}

NTSTATUS status_of(const Request& request, bool& retry) {
    retry = false;
    switch (request.srb_status) {
        case SRB_STATUS_SUCCESS: return STATUS_SUCCESS;
        case SRB_STATUS_DATA_OVERRUN: return STATUS_SUCCESS;
        case SRB_STATUS_ERROR:
            if (request.scsi_status == SCSISTAT_RESERVATION_CONFLICT) return STATUS_DEVICE_BUSY;
            if (request.scsi_status == SCSISTAT_CHECK_CONDITION || request.sense_length != 0)
                return from_sense(request, retry);
            retry = true;
            return STATUS_IO_DEVICE_ERROR;
        case SRB_STATUS_BUSY: retry = true; return STATUS_DEVICE_BUSY;
        case SRB_STATUS_ABORTED:
        case SRB_STATUS_TIMEOUT: retry = true; return STATUS_IO_TIMEOUT;
        case SRB_STATUS_BUS_RESET:
        case SRB_STATUS_REQUEST_FLUSHED: retry = true; return STATUS_IO_DEVICE_ERROR;
        case SRB_STATUS_INVALID_REQUEST:
        case SRB_STATUS_BAD_FUNCTION: return STATUS_INVALID_DEVICE_REQUEST;
        case SRB_STATUS_NO_DEVICE:
        case SRB_STATUS_NO_HBA:
        case SRB_STATUS_INVALID_LUN:
        case SRB_STATUS_INVALID_TARGET_ID:
        case SRB_STATUS_INVALID_PATH_ID:
        case SRB_STATUS_SELECTION_TIMEOUT: return STATUS_DEVICE_DOES_NOT_EXIST;
        case SRB_STATUS_INTERNAL_ERROR: return STATUS_INSUFFICIENT_RESOURCES;
        default: return STATUS_IO_DEVICE_ERROR;
    }
}

NTSTATUS run_command(Disk& disk, Request& request) {
    NTSTATUS status = STATUS_DEVICE_DOES_NOT_EXIST;
    bool capacity_changed = false;
    for (unsigned tries = 0; tries <= kRetriesMax; ++tries) {
        if (disk.gone) return STATUS_DEVICE_DOES_NOT_EXIST;
        request.address = disk.unit.address;
        request.form = SrbForm::Alternate;
        execute(*disk.unit.adapter, request);
        bool retry = false;
        status = status_of(request, retry);
        capacity_changed = capacity_changed || tells_new_capacity(request);
        if (!retry) break;
    }
    if (capacity_changed && request.cdb[0] != kServiceActionIn16) read_properties(disk);
    return status;
}

bool read_properties(Disk& disk) {
    std::uint8_t capacity[32] = {};
    Request request;
    request.cdb[0] = kServiceActionIn16;
    request.cdb[1] = 0x10;
    request.cdb[13] = sizeof capacity;
    request.cdb_length = 16;
    request.direction = Direction::In;
    request.data = capacity;
    request.data_length = sizeof capacity;
    if (!NT_SUCCESS(run_command(disk, request)) || request.transferred < 12) return false;
    const std::uint64_t last = load_big_endian<std::uint64_t>(capacity);
    const std::uint32_t block_size = load_big_endian<std::uint32_t>(capacity + 8);
    const unsigned exponent = request.transferred > 13 ? capacity[13] & 0x0F : 0;
    if (block_size < 512 || (block_size & (block_size - 1)) != 0 || last == UINT64_MAX)
        return false;

    std::uint8_t mode[64] = {};
    Request sense;
    sense.cdb[0] = 0x1A;  // MODE SENSE(6), caching page
    sense.cdb[2] = 0x08;
    sense.cdb[4] = sizeof mode;
    sense.cdb_length = 6;
    sense.direction = Direction::In;
    sense.data = mode;
    sense.data_length = sizeof mode;
    bool write_protected = false;
    bool write_cache = false;
    if (NT_SUCCESS(run_command(disk, sense)) && sense.transferred >= 4) {
        write_protected = (mode[2] & 0x80) != 0;
        const std::size_t page = 4U + mode[3];
        if (page + 2 < sense.transferred && (mode[page] & 0x3F) == 0x08)
            write_cache = (mode[page + 2] & 0x04) != 0;
    }
    const BlockTraits traits = read_block_traits(disk);
    const std::lock_guard lock(disk.mutex);
    disk.traits = traits;
    disk.blocks = last + 1;
    disk.block_size = block_size;
    disk.physical_block_size = block_size << exponent;
    disk.write_protected = write_protected;
    disk.write_cache = write_cache;
    return true;
}

NTSTATUS disk_flush(Disk& disk) {
    Request request;
    request.cdb[0] = 0x35;  // SYNCHRONIZE CACHE(10), whole disk
    request.cdb_length = 10;
    return run_command(disk, request);
}

}  // namespace wnbd::lab
