// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <cstdio>
#include <memory>

#include "lab/tools/commands.h"
#include "lab/tools/drive.h"

namespace wnbd::disktool {
namespace {

struct FileCloser {
    void operator()(std::FILE* file) const noexcept { std::fclose(file); }
};
using File = std::unique_ptr<std::FILE, FileCloser>;

File open_file(const std::string& path, const char* mode) {
    File file(std::fopen(path.c_str(), mode));
    if (!file) throw std::runtime_error("can't open the file " + path);
    return file;
}

std::uint64_t file_length(std::FILE* file) {
    _fseeki64(file, 0, SEEK_END);
    const auto length = _ftelli64(file);
    _fseeki64(file, 0, SEEK_SET);
    return static_cast<std::uint64_t>(length);
}

/// Where a transfer is to be: a disk has no file position that Wine would keep for us.
OVERLAPPED place(std::uint64_t offset) {
    OVERLAPPED overlapped{};
    overlapped.Offset = static_cast<DWORD>(offset);
    overlapped.OffsetHigh = static_cast<DWORD>(offset >> 32);
    return overlapped;
}

}  // namespace

int read_to_file(const TransferOptions& options) {
    const Drive drive(options.drive, {.unbuffered = options.unbuffered});
    const std::uint64_t length =
        options.length != 0 ? options.length : drive.size() - options.offset;
    const File file = open_file(options.file, "wb");
    const AlignedBuffer buffer = allocate_aligned(options.chunk);
    for (std::uint64_t done = 0; done < length;) {
        const auto wanted =
            static_cast<DWORD>(std::min<std::uint64_t>(options.chunk, length - done));
        DWORD got = 0;
        OVERLAPPED at = place(options.offset + done);
        if (!ReadFile(drive.handle(), buffer.get(), wanted, &got, &at))
            throw Win32Failure("ReadFile at byte " + std::to_string(options.offset + done));
        if (got == 0) throw std::runtime_error("the disk ends at " + std::to_string(done));
        if (std::fwrite(buffer.get(), 1, got, file.get()) != got)
            throw std::runtime_error("can't write the file " + options.file);
        done += got;
    }
    std::printf("read %llu bytes\n", static_cast<unsigned long long>(length));
    return 0;
}

int write_from_file(const TransferOptions& options) {
    const Drive drive(
        options.drive,
        {.write = true, .unbuffered = options.unbuffered, .write_through = options.write_through});
    const File file = open_file(options.file, "rb");
    const std::uint64_t length = options.length != 0 ? options.length : file_length(file.get());
    const AlignedBuffer buffer = allocate_aligned(options.chunk);
    for (std::uint64_t done = 0; done < length;) {
        const auto wanted =
            static_cast<DWORD>(std::min<std::uint64_t>(options.chunk, length - done));
        if (std::fread(buffer.get(), 1, wanted, file.get()) != wanted)
            throw std::runtime_error("the file ends before " + std::to_string(length) + " bytes");
        DWORD put = 0;
        OVERLAPPED at = place(options.offset + done);
        if (!WriteFile(drive.handle(), buffer.get(), wanted, &put, &at) || put != wanted)
            throw Win32Failure("WriteFile at byte " + std::to_string(options.offset + done));
        done += put;
    }
    if (options.flush) drive.flush();
    std::printf("wrote %llu bytes%s\n", static_cast<unsigned long long>(length),
                options.flush ? ", flushed" : "");
    return 0;
}

int flush(unsigned drive_number) {
    const Drive drive(drive_number, {.write = true});
    drive.flush();
    std::printf("flushed\n");
    return 0;
}

}  // namespace wnbd::disktool
