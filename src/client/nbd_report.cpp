// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/nbd_report.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "client/text.h"
#include "nbd/protocol.h"
#include "nbd/utf8.h"

namespace wnbd::client {
namespace {

constexpr std::size_t number_width = 21;  // of 64 bits, and a space

constexpr std::pair<std::uint16_t, std::string_view> known_flags[] = {
    {nbd::transmission_read_only, "READ_ONLY"},
    {nbd::transmission_send_flush, "SEND_FLUSH"},
    {nbd::transmission_send_fua, "SEND_FUA"},
    {nbd::transmission_rotational, "ROTATIONAL"},
    {nbd::transmission_send_trim, "SEND_TRIM"},
    {nbd::transmission_send_write_zeroes, "SEND_WRITE_ZEROES"},
    {nbd::transmission_send_df, "SEND_DF"},
    {nbd::transmission_can_multi_conn, "CAN_MULTI_CONN"},
    {nbd::transmission_send_resize, "SEND_RESIZE"},
    {nbd::transmission_send_cache, "SEND_CACHE"},
    {nbd::transmission_send_fast_zero, "SEND_FAST_ZERO"},
    {nbd::transmission_block_status_payload, "BLOCK_STATUS_PAYLOAD"},
};

std::string name_of(nbd::WireFormat format) {
    switch (format) {
        case nbd::WireFormat::simple: return "simple";
        case nbd::WireFormat::structured: return "structured";
        case nbd::WireFormat::extended: return "extended";
    }
    return "unknown";
}

std::string in_one_list(const std::vector<std::string>& texts) {
    std::string list;
    for (const std::string& text : texts)
        list += (list.empty() ? "" : ", ") + text;
    return list;
}

/// With one decimal.
std::string percentage(std::uint64_t part, std::uint64_t whole) {
    const auto tenths =
        whole == 0 ? 0.0 : static_cast<double>(part) / static_cast<double>(whole) * 1000;
    const auto rounded = std::lround(tenths);
    return std::to_string(rounded / 10) + "." + std::to_string(rounded % 10) + "%";
}

}  // namespace

std::vector<std::string> flag_names(std::uint16_t flags) {
    std::vector<std::string> names;
    std::uint16_t left = flags & ~nbd::transmission_has_flags;
    for (const auto& [flag, name] : known_flags) {
        if ((left & flag) == 0) continue;
        names.emplace_back(name);
        left &= static_cast<std::uint16_t>(~flag);
    }
    for (unsigned bit = 0; bit < 16; ++bit)
        if ((left >> bit & 1) != 0) names.push_back("bit " + std::to_string(bit));
    return names;
}

Record export_record(const NbdExport& info) {
    const nbd::ExportInfo& said = info.agreement.info;
    return {
        {"Server", info.server},
        {"Tls", Switch{info.agreement.tls}},
        {"TlsSession", info.agreement.tls_session},
        {"Replies", name_of(info.agreement.format)},
        {"ExportName", info.name},
        {"CanonicalName", said.canonical_name},
        {"Description", said.description},
        {"Size", said.size},
        {"Flags", flag_names(said.transmission_flags)},
        {"MinimumBlock", std::uint64_t{said.minimum_block}},
        {"PreferredBlock", std::uint64_t{said.preferred_block}},
        {"MaximumPayload", std::uint64_t{said.maximum_payload}},
        {"Contexts", info.contexts},
    };
}

std::vector<Record> list_records(const std::vector<nbd::ListedExport>& exports) {
    std::vector<Record> records;
    records.reserve(exports.size());
    for (const nbd::ListedExport& one : exports)
        records.push_back({{"Name", one.name}, {"Description", one.description}});
    return records;
}

std::string table_of(const Record& record) {
    std::size_t width = 0;
    for (const Field& field : record)
        width = std::max(width, field.label.size());
    std::string text;
    for (const Field& field : record) {
        const auto* const list = std::get_if<std::vector<std::string>>(&field.value);
        const std::string value = list != nullptr ? in_one_list(*list) : table_text(field.value);
        text += padded(field.label, width) + " : " + nbd::in_one_line(value) + "\n";
    }
    return text;
}

std::string table_of(const std::vector<nbd::ListedExport>& exports) {
    std::size_t width = 0;
    for (const nbd::ListedExport& one : exports)
        width = std::max(width, one.name.size() + 2);
    std::string text;
    for (const nbd::ListedExport& one : exports) {
        const std::string name = "'" + nbd::in_one_line(one.name) + "'";
        const std::string about = nbd::in_one_line(one.description);
        text += about.empty() ? name : padded(name, width) + "  " + about;
        text += "\n";
    }
    return text;
}

std::string_view AllocationMap::name_of(Kind kind) noexcept {
    switch (kind) {
        case Kind::data: return "data";
        case Kind::zero: return "zero";
        case Kind::hole: return "hole";
        case Kind::hole_zero: return "hole,zero";
    }
    return {};
}

AllocationMap::Kind AllocationMap::kind_of(bool allocated, bool zeroes) noexcept {
    if (allocated) return zeroes ? Kind::zero : Kind::data;
    return zeroes ? Kind::hole_zero : Kind::hole;
}

bool AllocationMap::add(std::uint64_t length, Kind kind) {
    totals_[static_cast<std::size_t>(kind)] += length;
    if (!runs_.empty() && runs_.back().kind == kind) {
        runs_.back().length += length;
    } else if (length > 0) {
        if (runs_.size() == runs_max) return false;
        runs_.push_back({size_, length, kind});
    }
    size_ += length;
    return true;
}

Record AllocationMap::record() const {
    std::vector<Record> runs;
    runs.reserve(runs_.size());
    for (const Run& run : runs_)
        runs.push_back({{"Offset", run.offset},
                        {"Length", run.length},
                        {"Type", std::string(name_of(run.kind))}});
    const auto total = [this](Kind kind) -> Field {
        return {name_of(kind), totals_[static_cast<std::size_t>(kind)]};
    };
    Record totals{total(Kind::data), total(Kind::zero), total(Kind::hole), total(Kind::hole_zero)};
    return {{"Map", std::move(runs)}, {"Totals", std::move(totals)}};
}

std::string AllocationMap::table() const {
    std::string text = padded("Offset", number_width) + padded("Length", number_width) + "Type\n";
    for (const Run& run : runs_)
        text += padded(std::to_string(run.offset), number_width) +
                padded(std::to_string(run.length), number_width) + std::string(name_of(run.kind)) +
                "\n";
    text += "\n";
    for (std::size_t i = 0; i < kind_count; ++i) {
        if (totals_[i] == 0) continue;
        text += padded("Total", number_width) + padded(std::to_string(totals_[i]), number_width) +
                std::string(name_of(static_cast<Kind>(i))) + ", " + percentage(totals_[i], size_) +
                "\n";
    }
    return text;
}

}  // namespace wnbd::client
