// SPDX-License-Identifier: LGPL-2.1-or-later
// What disktool can do. Each throws Win32Failure, or returns the exit code.
#pragma once

#include <cstdint>
#include <string>

namespace wnbd::disktool {

struct TransferOptions {
    unsigned drive = 0;
    std::uint64_t offset = 0;        // bytes
    std::uint64_t length = 0;        // bytes; 0 = to the end (of the disk, or of the file)
    std::uint32_t chunk = 1U << 20;  // bytes a call
    std::string file;
    bool unbuffered = false;
    bool write_through = false;
    bool flush = false;
};

int read_to_file(const TransferOptions& options);
int write_from_file(const TransferOptions& options);
int flush(unsigned drive);

/// Prints what the disk's ioctls say, a `name: value` a line.
int print_information(unsigned drive);
/// Keeps a handle on the disk open until somebody ends the program; prints `open` at its beginning.
int hold(unsigned drive);
/// Has the disk's capacity read again.
int update_properties(unsigned drive);

struct PassThroughOptions {
    unsigned drive = 0;
    std::string cdb;              // hex
    std::uint32_t in_length = 0;  // data-in bytes
    std::string out_hex;          // data-out bytes
    std::string out_file;         // data-out bytes, too many for a command line
    bool direct = false;          // IOCTL_SCSI_PASS_THROUGH_DIRECT
    std::uint32_t timeout = 30;   // seconds
};
/// Prints `status:`, `sense:` and `data:` in hex.
int pass_through(const PassThroughOptions& options);

struct TrimOptions {
    unsigned drive = 0;
    std::uint64_t offset = 0;  // bytes
    std::uint64_t length = 0;  // bytes
};
/// IOCTL_STORAGE_MANAGE_DATA_SET_ATTRIBUTES with the trim action.
int trim(const TrimOptions& options);
/// IOCTL_DISK_VERIFY.
int verify(const TrimOptions& options);

struct ReserveOptions {
    unsigned drive = 0;
    unsigned action = 0;           // service action
    unsigned type = 0;             // of reservation
    std::uint64_t key = 0;         // reservation key
    std::uint64_t action_key = 0;  // service action reservation key
};
/// IOCTL_STORAGE_PERSISTENT_RESERVE_IN: prints `data:` in hex.
int reserve_in(const ReserveOptions& options);
int reserve_out(const ReserveOptions& options);

struct LoadOptions {
    unsigned drive = 0;
    std::uint64_t ios = 1000;
    std::uint32_t depth = 16;
    std::uint32_t block = 4096;        // bytes
    std::uint64_t region = 16U << 20;  // bytes from the start of the disk
    std::uint64_t seed = 1;
    bool tolerate_errors = false;  // a failed write leaves its block unknown, and the load goes on
};
/// Random overlapped reads and writes; every read is checked against what was written before.
int run_load(const LoadOptions& options);

struct EndureOptions {
    std::string serial;  // of the disk: its name, unless it was mapped with another serial number
    std::uint64_t ios = 20000;  // that must succeed
    std::uint32_t depth = 64;
    std::uint32_t block = 4096;        // bytes, a multiple of 512
    std::uint64_t region = 64U << 20;  // bytes from the start of the disk, zeros in the beginning
    std::uint64_t seed = 1;
    std::uint64_t patience_s = 120;  // without any success
};
/// Random overlapped reads and writes on a disk that may fail, go, and come back with its content.
/// 0 when every read, and all of the region in the end, showed what it must.
int run_endure(const EndureOptions& options);

}  // namespace wnbd::disktool
