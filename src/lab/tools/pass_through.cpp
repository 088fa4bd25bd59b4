// SPDX-License-Identifier: LGPL-2.1-or-later
#include <algorithm>
#include <cstddef>
#include <cstdio>
#include <fstream>
#include <iterator>
#include <string>
#include <vector>

#include "lab/tools/commands.h"
#include "lab/tools/drive.h"

// After <windows.h>, which drive.h brings.
#include <ntddscsi.h>

namespace wnbd::disktool {
namespace {

constexpr std::size_t sense_room = 32;

std::vector<std::uint8_t> from_hex(const std::string& text) {
    std::vector<std::uint8_t> bytes;
    std::string digits;
    for (const char c : text)
        if (c != ' ' && c != ':') digits += c;
    if (digits.size() % 2 != 0) throw std::runtime_error("odd number of hex digits: " + text);
    for (std::size_t i = 0; i < digits.size(); i += 2) {
        std::size_t used = 0;
        bytes.push_back(static_cast<std::uint8_t>(std::stoul(digits.substr(i, 2), &used, 16)));
        if (used != 2) throw std::runtime_error("not hex: " + text);
    }
    return bytes;
}

std::vector<std::uint8_t> data_out(const PassThroughOptions& options) {
    if (options.out_file.empty()) return from_hex(options.out_hex);
    std::ifstream file(options.out_file, std::ios::binary);
    if (!file) throw std::runtime_error("can't open the file " + options.out_file);
    return {std::istreambuf_iterator<char>(file), {}};
}

void print_hex(const char* name, const std::uint8_t* bytes, std::size_t length) {
    std::printf("%s:", name);
    for (std::size_t i = 0; i < length; ++i)
        std::printf(" %02x", bytes[i]);
    std::printf("\n");
}

struct DirectRequest {
    SCSI_PASS_THROUGH_DIRECT head;
    std::uint8_t sense[sense_room];
};

struct BufferedHead {
    SCSI_PASS_THROUGH head;
    std::uint8_t sense[sense_room];
};

template <typename Head>
void fill_head(Head& head, const PassThroughOptions& options, const std::vector<std::uint8_t>& cdb,
               std::size_t data_length, bool out) {
    if (cdb.empty() || cdb.size() > sizeof head.Cdb)
        throw std::runtime_error("a CDB has 1 to 16 bytes");
    head.Length = sizeof head;
    head.CdbLength = static_cast<UCHAR>(cdb.size());
    head.SenseInfoLength = sense_room;
    head.DataIn = data_length == 0 ? SCSI_IOCTL_DATA_UNSPECIFIED
                  : out            ? SCSI_IOCTL_DATA_OUT
                                   : SCSI_IOCTL_DATA_IN;
    head.DataTransferLength = static_cast<ULONG>(data_length);
    head.TimeOutValue = options.timeout;
    std::copy(cdb.begin(), cdb.end(), head.Cdb);
}

template <typename Head>
void print_outcome(const Head& head, const std::uint8_t* sense, const std::uint8_t* data,
                   bool out) {
    std::printf("status: %02x\n", head.ScsiStatus);
    print_hex("sense", sense, head.ScsiStatus == 0 ? 0 : head.SenseInfoLength);
    print_hex("data", data, out ? 0 : head.DataTransferLength);
}

void send_direct(const Drive& drive, const PassThroughOptions& options,
                 const std::vector<std::uint8_t>& cdb, std::vector<std::uint8_t>& data, bool out) {
    const AlignedBuffer aligned = allocate_aligned(data.size() + 1);
    std::copy(data.begin(), data.end(), aligned.get());
    DirectRequest request{};
    fill_head(request.head, options, cdb, data.size(), out);
    request.head.DataBuffer = aligned.get();
    request.head.SenseInfoOffset = offsetof(DirectRequest, sense);
    drive.control(IOCTL_SCSI_PASS_THROUGH_DIRECT, &request, sizeof request, &request,
                  sizeof request, "SCSI_PASS_THROUGH_DIRECT");
    print_outcome(request.head, request.sense, aligned.get(), out);
}

void send_buffered(const Drive& drive, const PassThroughOptions& options,
                   const std::vector<std::uint8_t>& cdb, const std::vector<std::uint8_t>& data,
                   bool out) {
    std::vector<std::uint8_t> buffer(sizeof(BufferedHead) + data.size());
    auto& request = *reinterpret_cast<BufferedHead*>(buffer.data());
    fill_head(request.head, options, cdb, data.size(), out);
    request.head.SenseInfoOffset = offsetof(BufferedHead, sense);
    request.head.DataBufferOffset = sizeof(BufferedHead);
    std::copy(data.begin(), data.end(), buffer.begin() + sizeof(BufferedHead));
    const auto length = static_cast<DWORD>(buffer.size());
    drive.control(IOCTL_SCSI_PASS_THROUGH, buffer.data(), length, buffer.data(), length,
                  "SCSI_PASS_THROUGH");
    print_outcome(request.head, request.sense, buffer.data() + sizeof(BufferedHead), out);
}

}  // namespace

int pass_through(const PassThroughOptions& options) {
    const Drive drive(options.drive, {.write = true});
    const auto cdb = from_hex(options.cdb);
    auto data = data_out(options);
    const bool out = !data.empty();
    if (!out) data.resize(options.in_length);
    if (options.direct)
        send_direct(drive, options, cdb, data, out);
    else
        send_buffered(drive, options, cdb, data, out);
    return 0;
}

}  // namespace wnbd::disktool
