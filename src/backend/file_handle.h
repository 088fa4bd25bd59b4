// SPDX-License-Identifier: LGPL-2.1-or-later
// What a file backend needs of the operating system. Private to it.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backend/backend.h"
#include "backend/file_backend.h"
#include "base/result.h"

namespace wnbd::backend {

/// An open file. Each call may come from any thread; each does the whole range or reports an error.
class FileHandle {
  public:
    FileHandle() = default;
    FileHandle(const FileHandle&) = delete;
    FileHandle& operator=(const FileHandle&) = delete;
    virtual ~FileHandle() = default;

    [[nodiscard]] virtual std::uint64_t size() const noexcept = 0;
    [[nodiscard]] virtual Error read(std::uint64_t offset, std::span<std::uint8_t> to) noexcept = 0;
    [[nodiscard]] virtual Error write(std::uint64_t offset,
                                      std::span<const std::uint8_t> from) noexcept = 0;
    [[nodiscard]] virtual Error flush() noexcept = 0;
    /// Gives the range's space back; it reads as zeroes then. not_supported: the file system
    /// cannot.
    [[nodiscard]] virtual Error punch(std::uint64_t offset, std::uint64_t length) noexcept = 0;
    /// True when punch() is known to work here.
    [[nodiscard]] virtual bool can_punch() const noexcept = 0;
    /// What is so of the bytes from `offset`, which is within the file, on: of as many as are of
    /// one kind, or as it cares to look at.
    [[nodiscard]] virtual Extent extent_at(std::uint64_t offset) const noexcept = 0;
    /// Zeroes the range, keeping its space. not_supported: the file system cannot.
    [[nodiscard]] virtual Error zero(std::uint64_t offset, std::uint64_t length) noexcept = 0;
};

/// Opens, or creates as `options` say. The error is the system's text.
[[nodiscard]] Result<std::unique_ptr<FileHandle>, std::string> open_file(
    const std::string& path, const FileOptions& options);

}  // namespace wnbd::backend
