// SPDX-License-Identifier: LGPL-2.1-or-later
#include <windows.h>

#include <winioctl.h>

#include <algorithm>
#include <system_error>

#include "backend/file_handle.h"

namespace wnbd::backend {
namespace {

constexpr std::size_t call_max = 1U << 30;  // bytes

Error from_win32(DWORD error) noexcept {
    switch (error) {
        case ERROR_ACCESS_DENIED:
        case ERROR_WRITE_PROTECT: return Error::not_permitted;
        case ERROR_NOT_ENOUGH_MEMORY:
        case ERROR_OUTOFMEMORY: return Error::no_memory;
        case ERROR_INVALID_PARAMETER: return Error::invalid;
        case ERROR_DISK_FULL:
        case ERROR_HANDLE_DISK_FULL: return Error::no_space;
        case ERROR_INVALID_FUNCTION:
        case ERROR_NOT_SUPPORTED: return Error::not_supported;
        default: return Error::io;
    }
}

std::string text_of(DWORD error) {
    auto text = std::system_category().message(static_cast<int>(error));
    while (!text.empty() && (text.back() <= ' ' || text.back() == '.'))
        text.pop_back();
    return text;
}

std::wstring wide(const std::string& utf8) {
    const auto length = static_cast<int>(utf8.size());
    std::wstring text(static_cast<std::size_t>(std::max(
                          ::MultiByteToWideChar(CP_UTF8, 0, utf8.data(), length, nullptr, 0), 0)),
                      L'\0');
    ::MultiByteToWideChar(CP_UTF8, 0, utf8.data(), length, text.data(),
                          static_cast<int>(text.size()));
    return text;
}

/// Opened without FILE_FLAG_OVERLAPPED: the OVERLAPPED structures only carry offsets.
class WindowsFile final : public FileHandle {
  public:
    WindowsFile(HANDLE handle, std::uint64_t size) noexcept : handle_(handle), size_(size) {}
    ~WindowsFile() override { ::CloseHandle(handle_); }

    [[nodiscard]] std::uint64_t size() const noexcept override { return size_; }

    [[nodiscard]] Error read(std::uint64_t offset, std::span<std::uint8_t> to) noexcept override {
        while (!to.empty()) {
            OVERLAPPED at = position(offset);
            DWORD got = 0;
            if (!::ReadFile(handle_, to.data(), static_cast<DWORD>(std::min(to.size(), call_max)),
                            &got, &at))
                return from_win32(::GetLastError());
            // The file became shorter behind our back.
            if (got == 0) return Error::io;
            to = to.subspan(got);
            offset += got;
        }
        return Error::none;
    }

    [[nodiscard]] Error write(std::uint64_t offset,
                              std::span<const std::uint8_t> from) noexcept override {
        while (!from.empty()) {
            OVERLAPPED at = position(offset);
            DWORD put = 0;
            if (!::WriteFile(handle_, from.data(),
                             static_cast<DWORD>(std::min(from.size(), call_max)), &put, &at))
                return from_win32(::GetLastError());
            from = from.subspan(put);
            offset += put;
        }
        return Error::none;
    }

    [[nodiscard]] Error flush() noexcept override {
        return ::FlushFileBuffers(handle_) ? Error::none : from_win32(::GetLastError());
    }

    // In a sparse file this gives the space back, in any other it writes zeroes.
    [[nodiscard]] Error punch(std::uint64_t offset, std::uint64_t length) noexcept override {
        if (length == 0) return Error::none;
        FILE_ZERO_DATA_INFORMATION range{};
        range.FileOffset.QuadPart = static_cast<LONGLONG>(offset);
        range.BeyondFinalZero.QuadPart = static_cast<LONGLONG>(offset + length);
        DWORD returned = 0;
        return ::DeviceIoControl(handle_, FSCTL_SET_ZERO_DATA, &range, sizeof range, nullptr, 0,
                                 &returned, nullptr)
                   ? Error::none
                   : from_win32(::GetLastError());
    }

    // A range of no bytes behind the end: a file system that cannot do it says so.
    [[nodiscard]] bool can_punch() const noexcept override {
        FILE_ZERO_DATA_INFORMATION range{};
        range.FileOffset.QuadPart = static_cast<LONGLONG>(size_);
        range.BeyondFinalZero.QuadPart = static_cast<LONGLONG>(size_);
        DWORD returned = 0;
        return ::DeviceIoControl(handle_, FSCTL_SET_ZERO_DATA, &range, sizeof range, nullptr, 0,
                                 &returned, nullptr) != FALSE;
    }

    [[nodiscard]] Extent extent_at(std::uint64_t offset) const noexcept override {
        FILE_ALLOCATED_RANGE_BUFFER asked{};
        asked.FileOffset.QuadPart = static_cast<LONGLONG>(offset);
        asked.Length.QuadPart = static_cast<LONGLONG>(size_ - offset);
        FILE_ALLOCATED_RANGE_BUFFER first{};
        DWORD returned = 0;
        const bool known =
            ::DeviceIoControl(handle_, FSCTL_QUERY_ALLOCATED_RANGES, &asked, sizeof asked, &first,
                              sizeof first, &returned, nullptr) != FALSE ||
            ::GetLastError() == ERROR_MORE_DATA;
        if (!known) return {size_ - offset, true};
        if (returned < sizeof first) return {size_ - offset, false};
        const auto begin = static_cast<std::uint64_t>(first.FileOffset.QuadPart);
        const auto end = begin + static_cast<std::uint64_t>(first.Length.QuadPart);
        if (begin > offset) return {std::min(begin, size_) - offset, false};
        return {end > offset ? std::min(end, size_) - offset : size_ - offset, true};
    }

    // NTFS has no call that zeroes a range of a sparse file and keeps its space.
    [[nodiscard]] Error zero(std::uint64_t, std::uint64_t) noexcept override {
        return Error::not_supported;
    }

  private:
    static OVERLAPPED position(std::uint64_t offset) noexcept {
        OVERLAPPED at{};
        at.Offset = static_cast<DWORD>(offset);
        at.OffsetHigh = static_cast<DWORD>(offset >> 32);
        return at;
    }

    HANDLE handle_;
    std::uint64_t size_;
};

/// A new file: sparse where the file system can, of full size. 0 or the error.
DWORD prepare_new_file(HANDLE handle, std::uint64_t size) {
    DWORD returned = 0;
    // Without sparse files the disk works too, it only takes its whole room.
    ::DeviceIoControl(handle, FSCTL_SET_SPARSE, nullptr, 0, nullptr, 0, &returned, nullptr);
    FILE_END_OF_FILE_INFO end{};
    end.EndOfFile.QuadPart = static_cast<LONGLONG>(size);
    return ::SetFileInformationByHandle(handle, FileEndOfFileInfo, &end, sizeof end)
               ? 0
               : ::GetLastError();
}

}  // namespace

Result<std::unique_ptr<FileHandle>, std::string> open_file(const std::string& path,
                                                           const FileOptions& options) {
    const auto name = wide(path);
    const DWORD access = GENERIC_READ | (options.read_only ? 0 : GENERIC_WRITE);
    const auto open = [&](DWORD disposition) {
        return ::CreateFileW(name.c_str(), access, FILE_SHARE_READ, nullptr, disposition,
                             FILE_ATTRIBUTE_NORMAL, nullptr);
    };
    HANDLE handle = open(OPEN_EXISTING);
    const bool create = handle == INVALID_HANDLE_VALUE &&
                        ::GetLastError() == ERROR_FILE_NOT_FOUND && options.size != 0 &&
                        !options.read_only;
    if (create) handle = open(CREATE_NEW);
    if (handle == INVALID_HANDLE_VALUE) return Failure{text_of(::GetLastError())};
    DWORD error = create ? prepare_new_file(handle, options.size) : 0;
    LARGE_INTEGER size{};
    if (error == 0 && !::GetFileSizeEx(handle, &size)) error = ::GetLastError();
    if (error != 0) {
        ::CloseHandle(handle);
        if (create) ::DeleteFileW(name.c_str());
        return Failure{text_of(error)};
    }
    return std::unique_ptr<FileHandle>(
        new WindowsFile(handle, static_cast<std::uint64_t>(size.QuadPart)));
}

}  // namespace wnbd::backend
