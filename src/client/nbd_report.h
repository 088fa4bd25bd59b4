// SPDX-License-Identifier: LGPL-2.1-or-later
// What `nbd-info` has found out, as records and tables.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "client/fields.h"
#include "nbd/export_info.h"
#include "nbd/handshake.h"

namespace wnbd::client {

/// An export as its server describes it.
struct NbdExport {
    std::string server;  // for people
    std::string name;
    nbd::Agreement agreement;
    std::vector<std::string> contexts;
};

/// The transmission flags by the protocol's names, without NBD_FLAG_; bits without a name as
/// "bit 15".
[[nodiscard]] std::vector<std::string> flag_names(std::uint16_t flags);

[[nodiscard]] Record export_record(const NbdExport& info);
[[nodiscard]] std::vector<Record> list_records(const std::vector<nbd::ListedExport>& exports);

/// Lines of "label : value". What a server says is made harmless for a terminal.
[[nodiscard]] std::string table_of(const Record& record);
/// A line for each export: its name and, behind it, its description.
[[nodiscard]] std::string table_of(const std::vector<nbd::ListedExport>& exports);

/// A disk's allocation, in runs. Neighbours of one kind become one.
class AllocationMap {
  public:
    /// So many, and the map is of no use to anybody.
    static constexpr std::size_t runs_max = 1'000'000;

    enum class Kind : std::uint8_t { data, zero, hole, hole_zero };
    static constexpr std::size_t kind_count = 4;
    [[nodiscard]] static std::string_view name_of(Kind kind) noexcept;
    [[nodiscard]] static Kind kind_of(bool allocated, bool zeroes) noexcept;

    /// Goes on where the run before ended. False: there are too many.
    [[nodiscard]] bool add(std::uint64_t length, Kind kind);

    [[nodiscard]] std::uint64_t size() const noexcept { return size_; }  // bytes
    /// {"Map": [...], "Totals": {...}}
    [[nodiscard]] Record record() const;
    [[nodiscard]] std::string table() const;

  private:
    struct Run {
        std::uint64_t offset;  // bytes
        std::uint64_t length;  // bytes
        Kind kind;
    };

    std::vector<Run> runs_;
    std::uint64_t size_ = 0;
    std::array<std::uint64_t, kind_count> totals_{};
};

}  // namespace wnbd::client
