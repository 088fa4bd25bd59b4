// SPDX-License-Identifier: LGPL-2.1-or-later
// A disk in a file.
#pragma once

#include <cstdint>
#include <memory>
#include <string>

#include "backend/backend.h"
#include "base/result.h"

namespace wnbd::backend {

struct FileOptions {
    /// Bytes; 0: the file must exist and its size is the disk's. Else a missing file is created,
    /// sparse, and an existing one must have just this size: nothing that exists is ever cut or
    /// grown.
    std::uint64_t size = 0;
    bool read_only = false;
};

/// Opens a file (UTF-8 path) as a disk; serves in the submitting thread, by position, from any
/// thread. A file whose size is not a multiple of 512 bytes is refused: its end could never be
/// reached.
[[nodiscard]] Result<std::unique_ptr<Backend>, std::string> open_file_backend(
    const std::string& path, const FileOptions& options);

}  // namespace wnbd::backend
