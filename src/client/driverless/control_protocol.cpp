// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/driverless/control_protocol.h"

#include <algorithm>
#include <array>
#include <bit>
#include <limits>
#include <nlohmann/json.hpp>
#include <span>
#include <utility>
#include <vector>

#include "client/text.h"
#include "nbd/utf8.h"

namespace wnbd::client {
namespace {

using Json = nlohmann::json;

constexpr std::pair<ControlRequest, std::string_view> request_lines[] = {
    {ControlRequest::show, "wnbd 1 show"},
    {ControlRequest::stats, "wnbd 1 stats"},
    {ControlRequest::remove_soft, "wnbd 1 remove soft"},
    {ControlRequest::remove_hard, "wnbd 1 remove hard"},
};

/// Writes the fields of a structure into an object.
class Writer {
  public:
    template <typename Number>
    void number(const char* key, const Number& value) {
        object[key] = value;
    }
    /// As long as it was, so that it fits; an export's name may be any bytes.
    void text(const char* key, std::span<const char> array) {
        object[key] = nbd::in_one_line(bounded_text(array));
    }
    void wide_text(const char* key, std::span<const WCHAR> array) {
        object[key] = utf8_from_utf16(array);
    }

    Json object = Json::object();
};

/// Reads them back. Once something is wrong, `failed` stays set.
class Reader {
  public:
    explicit Reader(const Json& from) : object_(from) {}

    template <typename Number>
    void number(const char* key, Number& value) {
        const Json* const found = find(key);
        if (found == nullptr) return;
        if (!found->is_number_integer()) return fail(key);
        if (found->is_number_unsigned()) {
            const auto given = found->get<std::uint64_t>();
            if (!std::in_range<Number>(given)) return fail(key);
            value = static_cast<Number>(given);
        } else {
            const auto given = found->get<std::int64_t>();
            if (!std::in_range<Number>(given)) return fail(key);
            value = static_cast<Number>(given);
        }
    }

    void text(const char* key, std::span<char> array) {
        const Json* const found = find(key);
        if (found == nullptr) return;
        if (!found->is_string()) return fail(key);
        const auto& given = found->get_ref<const std::string&>();
        if (given.size() >= array.size() || !is_printable(given)) return fail(key);
        std::ranges::fill(array, '\0');
        std::ranges::copy(given, array.begin());
    }

    void wide_text(const char* key, std::span<WCHAR> array) {
        const Json* const found = find(key);
        if (found == nullptr) return;
        if (!found->is_string()) return fail(key);
        const auto& given = found->get_ref<const std::string&>();
        const std::vector<std::uint16_t> units = utf16_from_utf8(given);
        if (units.size() >= array.size() || !is_printable(given)) return fail(key);
        std::ranges::fill(array, WCHAR{0});
        std::ranges::transform(units, array.begin(),
                               [](std::uint16_t unit) { return static_cast<WCHAR>(unit); });
    }

    std::string failed{};

  private:
    /// A name is shown on a console, which acts on control characters.
    static bool is_printable(std::string_view text) {
        return std::ranges::none_of(
            text, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
    }

    const Json* find(const char* key) {
        const auto found = object_.find(key);
        if (found != object_.end()) return &*found;
        fail(key);
        return nullptr;
    }

    void fail(const char* key) {
        if (failed.empty()) failed = std::string("the field ") + key + " is missing or wrong";
    }

    const Json& object_;
};

template <typename Access, typename Info>
void each_disk_field(Access& access, Info& disk) {
    auto& properties = disk.Properties;
    access.text("InstanceName", properties.InstanceName);
    access.text("SerialNumber", properties.SerialNumber);
    access.text("Owner", properties.Owner);
    access.number("BlockCount", properties.BlockCount);
    access.number("BlockSize", properties.BlockSize);
    access.number("MaxUnmapDescCount", properties.MaxUnmapDescCount);
    access.number("Pid", properties.Pid);
    access.text("Hostname", properties.NbdProperties.Hostname);
    access.number("PortNumber", properties.NbdProperties.PortNumber);
    access.text("ExportName", properties.NbdProperties.ExportName);
    access.number("BusNumber", disk.BusNumber);
    access.number("TargetId", disk.TargetId);
    access.number("Lun", disk.Lun);
    access.number("DiskNumber", disk.DiskNumber);
    access.wide_text("PNPDeviceID", disk.PNPDeviceID);
}

template <typename Access, typename Stats>
void each_counter(Access& access, Stats& stats) {
    access.number("TotalReceivedIORequests", stats.TotalReceivedIORequests);
    access.number("TotalSubmittedIORequests", stats.TotalSubmittedIORequests);
    access.number("TotalReceivedIOReplies", stats.TotalReceivedIOReplies);
    access.number("UnsubmittedIORequests", stats.UnsubmittedIORequests);
    access.number("PendingSubmittedIORequests", stats.PendingSubmittedIORequests);
    access.number("AbortedSubmittedIORequests", stats.AbortedSubmittedIORequests);
    access.number("AbortedUnsubmittedIORequests", stats.AbortedUnsubmittedIORequests);
    access.number("CompletedAbortedIORequests", stats.CompletedAbortedIORequests);
    access.number("OutstandingIOCount", stats.OutstandingIOCount);
    access.number("LastReceivedReqTimestamp", stats.LastReceivedReqTimestamp);
    access.number("LastSubmittedReqTimestamp", stats.LastSubmittedReqTimestamp);
    access.number("LastReplyTimestamp", stats.LastReplyTimestamp);
}

Json disk_object(const WNBD_CONNECTION_INFO& disk) {
    Writer writer;
    each_disk_field(writer, disk);
    // Bit fields have no address.
    writer.number("Flags", std::bit_cast<std::uint32_t>(disk.Properties.Flags));
    writer.number("NbdFlags", std::bit_cast<std::uint32_t>(disk.Properties.NbdProperties.Flags));
    return std::move(writer.object);
}

std::string read_disk(const Json& object, WNBD_CONNECTION_INFO& disk) {
    Reader reader(object);
    each_disk_field(reader, disk);
    std::uint32_t flags = 0;
    reader.number("Flags", flags);
    disk.Properties.Flags = std::bit_cast<WNBD_FLAGS>(flags);
    reader.number("NbdFlags", flags);
    disk.Properties.NbdProperties.Flags = std::bit_cast<NBD_CONNECTION_FLAGS>(flags);
    return reader.failed;
}

std::string read_stats(const Json& object, WNBD_DRV_STATS& stats) {
    Reader reader(object);
    each_counter(reader, stats);
    return reader.failed;
}

std::string read_answer(const Json& object, ControlAnswer& answer) {
    if (!object.is_object()) return "it is no JSON object";
    Reader reader(object);
    reader.number("Code", answer.code);
    std::array<char, 1024> text{};
    reader.text("Text", text);
    if (!reader.failed.empty()) return reader.failed;
    answer.text = bounded_text(text);
    if (const auto disk = object.find("Disk"); disk != object.end()) {
        if (!disk->is_object()) return "the disk is no object";
        if (auto fault = read_disk(*disk, answer.disk.emplace()); !fault.empty()) return fault;
    }
    if (const auto stats = object.find("Stats"); stats != object.end()) {
        if (!stats->is_object()) return "the counters are no object";
        if (auto fault = read_stats(*stats, answer.stats.emplace()); !fault.empty()) return fault;
    }
    return {};
}

/// What the other side takes: one line of limited length.
std::string tidied(std::string_view text) {
    std::string line(text.substr(0, 1000));
    std::ranges::replace_if(
        line, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; }, ' ');
    return line;
}

}  // namespace

std::string control_line(ControlRequest request) {
    for (const auto& [known, line] : request_lines) {
        if (known == request) return std::string(line) + "\n";
    }
    return {};
}

std::optional<ControlRequest> parse_control_line(std::string_view line) {
    for (const auto& [request, known] : request_lines) {
        if (known == line) return request;
    }
    return std::nullopt;
}

std::string control_answer_line(const ControlAnswer& answer) {
    Json object = {{"Code", answer.code}, {"Text", tidied(answer.text)}};
    if (answer.disk) object["Disk"] = disk_object(*answer.disk);
    if (answer.stats) {
        Writer writer;
        each_counter(writer, *answer.stats);
        object["Stats"] = std::move(writer.object);
    }
    return object.dump(-1, ' ', false, Json::error_handler_t::replace) + "\n";
}

Result<ControlAnswer, std::string> parse_control_answer(std::string_view line) {
    if (line.size() >= control_answer_max) return Failure{std::string("it is too long")};
    const Json object = Json::parse(line, nullptr, false);
    if (object.is_discarded()) return Failure{std::string("it is no JSON")};
    ControlAnswer answer;
    if (auto fault = read_answer(object, answer); !fault.empty()) return Failure{std::move(fault)};
    return answer;
}

}  // namespace wnbd::client
