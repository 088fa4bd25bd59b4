// SPDX-License-Identifier: LGPL-2.1-or-later
// What the exerciser's modes share: options, findings, names of errors.
#pragma once

#include <cstdint>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "backend/backend.h"

namespace wnbd::test {

struct ExerciseOptions {
    std::string disk;  // its text, as open_backend() takes it
    std::uint64_t seed = 1;
    std::uint64_t ios = 20'000;  // mixed
    std::size_t depth = 32;      // of each thread
    unsigned threads = 1;
    std::uint64_t region = 32 << 20;      // bytes of the disk's begin that are used, at most
    std::uint32_t block = 512;            // bytes; a larger minimum block of the disk's goes first
    std::uint32_t request_max = 1 << 20;  // bytes
    bool errors_allowed = false;          // mixed: a server that fails requests on purpose
    double seconds = 60;                  // writer: at most
    bool cache_may_be_lost = false;       // writer: only what was flushed must be there
    std::string state;                    // writer, check: file with what was promised
    std::vector<std::string> operations;  // ops
};

/// What was found to be wrong. Thread-safe.
class Findings {
  public:
    void add(std::string text);
    [[nodiscard]] std::uint64_t count() const;
    [[nodiscard]] std::vector<std::string> first() const;  // the first few

  private:
    mutable std::mutex lock_;
    std::uint64_t count_ = 0;
    std::vector<std::string> first_;
};

[[nodiscard]] const char* name(backend::Error error) noexcept;

/// The unit of stamps on this disk, in bytes.
[[nodiscard]] std::uint32_t block_of(const ExerciseOptions& options,
                                     const backend::Backend& disk) noexcept;

// The modes. Each prints JSON, one object a line, and says whether all was right.
[[nodiscard]] bool run_mixed(const ExerciseOptions& options, backend::Backend& disk);
[[nodiscard]] bool run_writer(const ExerciseOptions& options, backend::Backend& disk);
[[nodiscard]] bool run_check(const ExerciseOptions& options, backend::Backend& disk);
[[nodiscard]] bool run_operations(const ExerciseOptions& options, backend::Backend& disk);

}  // namespace wnbd::test
