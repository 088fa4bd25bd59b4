// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/fields.h"

#include <nlohmann/json.hpp>

#include "client/text.h"

namespace wnbd::client {
namespace {

using Json = nlohmann::ordered_json;

template <typename... Handlers>
struct Overloaded : Handlers... {
    using Handlers::operator()...;
};

Json json_of(const Record& record);

Json json_of(const std::vector<Record>& records) {
    Json array = Json::array();
    for (const Record& record : records)
        array.push_back(json_of(record));
    return array;
}

Json json_of(const Record& record) {
    Json object = Json::object();
    for (const Field& field : record) {
        object[std::string(field.label)] =
            std::visit(Overloaded{
                           [](const Never&) { return Json(nullptr); },
                           [](const Switch& value) { return Json(value.on); },
                           [](const Record& value) { return json_of(value); },
                           [](const std::vector<Record>& value) { return json_of(value); },
                           [](const auto& value) { return Json(value); },
                       },
                       field.value);
    }
    return object;
}

bool is_nested(const Value& value) {
    return std::holds_alternative<Record>(value) ||
           std::holds_alternative<std::vector<Record>>(value) ||
           std::holds_alternative<std::vector<std::string>>(value);
}

std::string dumped(const Json& json) {
    return json.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

}  // namespace

std::string table_text(const Value& value) {
    return std::visit(Overloaded{
                          [](const Never&) { return std::string("never"); },
                          [](const Switch& given) { return std::string(given.on ? "1" : "0"); },
                          [](const std::string& given) { return given; },
                          [](const Record&) { return std::string(); },
                          [](const std::vector<Record>&) { return std::string(); },
                          [](const std::vector<std::string>&) { return std::string(); },
                          [](const auto& given) { return std::to_string(given); },
                      },
                      value);
}

std::string table_text(std::string_view title, const Record& record, std::size_t label_width) {
    std::string text = std::string(title) + "\n";
    for (const Field& field : record) {
        if (is_nested(field.value)) continue;
        text += padded(field.label, label_width) + " : " + table_text(field.value) + "\n";
    }
    return text + "\n";
}

std::string json_text(const Record& record) {
    return dumped(json_of(record));
}

std::string json_text(const std::vector<Record>& records) {
    return dumped(json_of(records));
}

std::string json_line(const Record& record) {
    return json_of(record).dump(-1, ' ', false, Json::error_handler_t::replace);
}

}  // namespace wnbd::client
