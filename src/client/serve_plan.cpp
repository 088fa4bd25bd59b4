// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/serve_plan.h"

#include <algorithm>
#include <array>
#include <initializer_list>
#include <utility>

#include "client/geometry.h"
#include "client/server_choice.h"
#include "client/text.h"
#include "iscsi/protocol.h"

namespace wnbd::client {
namespace {

using Complaint = std::string;  // empty: none

constexpr std::size_t longest_name = 223;  // RFC 7143, 4.2.7.1
constexpr std::size_t longest_serial = 255;
constexpr std::string_view default_place = "127.0.0.1";

bool is_name_character(char c) {
    return (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || c == '-' || c == '.' || c == ':';
}

std::string lower(std::string_view text) {
    std::string result(text);
    for (char& c : result) {
        if (c >= 'A' && c <= 'Z') c = static_cast<char>(c - 'A' + 'a');
    }
    return result;
}

Complaint refuse_beside(const Arguments& arguments, std::string_view chosen,
                        std::initializer_list<std::string_view> others) {
    for (const std::string_view other : others) {
        if (!arguments.has(other)) continue;
        return "--" + std::string(chosen) + " cannot be combined with " +
               (other == "backend" ? "a backend" : "--" + std::string(other)) + ".";
    }
    return {};
}

/// The text of unit 0's backend; empty when only --lun names units.
Result<std::string, std::string> first_backend(const Arguments& arguments,
                                               std::uint32_t block_size) {
    const std::string server_option = first_server_option(arguments);
    for (const std::string_view chosen : {"memory", "file"}) {
        if (!server_option.empty() && arguments.has(chosen))
            return Failure{"--" + std::string(chosen) + " cannot be combined with --" +
                           server_option + "."};
    }
    if (arguments.has("memory")) {
        if (auto bad = refuse_beside(arguments, "memory", {"backend", "file", "size"});
            !bad.empty()) {
            return Failure{std::move(bad)};
        }
        const std::uint64_t size = arguments.number("memory", 0);
        if (auto bad = size_complaint("--memory", size, block_size); !bad.empty())
            return Failure{std::move(bad)};
        return "memory:" + std::to_string(size);
    }
    if (arguments.has("file")) {
        if (auto bad = refuse_beside(arguments, "file", {"backend"}); !bad.empty())
            return Failure{std::move(bad)};
        if (arguments.text("file").empty()) return Failure{std::string("Missing image file name.")};
        // The last question mark ends the path, which may have some of its own.
        std::string text = "file:" + arguments.text("file") + "?readonly=";
        text += arguments.has("read-only") ? "1" : "0";
        if (!arguments.has("size")) return text;
        const std::uint64_t size = arguments.number("size", 0);
        if (auto bad = size_complaint("--size", size, block_size); !bad.empty())
            return Failure{std::move(bad)};
        return text + "&size=" + std::to_string(size);
    }
    if (arguments.has("size")) return Failure{std::string("--size needs --file.")};
    const std::string text = arguments.text("backend");
    if (server_option.empty()) return text;
    if (!nbd::is_uri(text)) return Failure{"--" + server_option + " needs an NBD URI."};
    const auto server = server_of_uri(text, arguments);
    if (!server) return Failure{server.error()};
    const auto meaning = meaning_of(server.value());
    if (!meaning) return Failure{meaning.error()};
    return nbd::join_uri(server.value());
}

Complaint plan_units(const Arguments& arguments, ServePlan& plan) {
    const std::uint64_t block_size = arguments.number("block-size", 512);
    if (auto bad = block_size_complaint(block_size); !bad.empty()) return bad;
    iscsi::UnitSettings settings;
    settings.block_size = static_cast<std::uint32_t>(block_size);
    const auto exponent =
        physical_block_exponent(arguments.number("physical-block-size", 0), settings.block_size);
    if (!exponent) return exponent.error();
    settings.physical_block_size = settings.block_size << exponent.value();
    settings.read_only = arguments.has("read-only");

    auto first = first_backend(arguments, settings.block_size);
    if (!first) return first.error();
    std::vector<std::string> backends;
    if (!first.value().empty()) backends.push_back(std::move(first.value()));
    std::ranges::copy(arguments.texts("lun"), std::back_inserter(backends));
    if (backends.empty()) return "Nothing to serve: give an NBD URI, --file, --memory or --lun.";

    std::string serial = arguments.text("serial");
    if (serial.empty()) serial = plan.target_name.substr(plan.target_name.rfind(':') + 1);
    if (serial.size() > longest_serial - 4 ||
        std::ranges::any_of(serial, [](char c) { return c < 0x20 || c > 0x7E; })) {
        return "Invalid --serial: it has at most 251 printable ASCII characters.";
    }
    if (arguments.has("naa")) {
        if (backends.size() > 1) return "--naa can be given with one unit only.";
        auto naa = parse_naa(arguments.text("naa"));
        if (!naa) return naa.error();
        settings.naa = std::move(naa.value());
    }
    for (std::string& backend : backends) {
        const std::size_t lun = plan.units.size();
        settings.serial = lun == 0 ? serial : serial + "-" + std::to_string(lun);
        plan.units.push_back({.backend = std::move(backend), .settings = settings});
    }
    return {};
}

Complaint plan_chap(const Arguments& arguments, std::string_view side,
                    std::optional<ChapSource>& source) {
    const std::string user(std::string(side) + "-user");
    const std::string file(std::string(side) + "-secret-file");
    if (!arguments.has(user)) {
        return arguments.has(file) ? "--" + file + " needs --" + user + "." : Complaint{};
    }
    source = ChapSource{.user = arguments.text(user), .secret_file = arguments.text(file)};
    const bool plain = std::ranges::none_of(
        source->user, [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7F; });
    if (source->user.empty() || source->user.size() > 255 || !plain)
        return "Invalid --" + user + ": it has 1 to 255 bytes, none of them a control character.";
    return {};
}

Complaint plan_listening(const Arguments& arguments, ServePlan& plan) {
    std::vector<std::string> places = arguments.texts("listen");
    if (places.empty()) places.emplace_back(default_place);
    for (const std::string& place : places) {
        auto parsed = parse_listen_place(place);
        if (!parsed) return parsed.error();
        plan.listen.push_back(std::move(parsed.value()));
    }
    plan.allow_anyone = arguments.has("allow-anyone");
    return {};
}

int hex_digit(char c) {
    constexpr std::string_view digits = "0123456789abcdef";
    const std::size_t found = digits.find(c);
    return found == std::string_view::npos ? -1 : static_cast<int>(found);
}

}  // namespace

Result<std::string, std::string> target_name(std::string_view text) {
    if (text.empty()) return Failure{std::string("Missing target name.")};
    std::string name = lower(text);
    const bool whole =
        name.starts_with("iqn.") || name.starts_with("eui.") || name.starts_with("naa.");
    const auto strange = std::ranges::find_if_not(name, is_name_character);
    if (strange != name.end()) {
        return Failure{"Invalid target name " + in_quotes(text) +
                       ": it may have letters, digits, '-', '.' and ':'."};
    }
    if (!whole) name.insert(0, target_prefix);
    if (name.size() > longest_name) {
        return Failure{"The target name is too long: as a whole it would have " +
                       std::to_string(name.size()) + " bytes, at most " +
                       std::to_string(longest_name) + " are allowed."};
    }
    return name;
}

Result<ListenPlace, std::string> parse_listen_place(std::string_view text) {
    const auto bad = [text] {
        return Failure{"Invalid --listen: " + in_quotes(text) +
                       ". It is HOST, HOST:PORT or [ADDRESS]:PORT, with a port up to 65535."};
    };
    ListenPlace place{.host = {}, .port = iscsi::default_port};
    std::string_view port;
    bool has_port = false;
    if (text.starts_with('[')) {
        const std::size_t bracket = text.find(']');
        if (bracket == std::string_view::npos) return bad();
        place.host = text.substr(1, bracket - 1);
        port = text.substr(bracket + 1);
        has_port = !port.empty();
        if (has_port && !port.starts_with(':')) return bad();
        if (has_port) port.remove_prefix(1);
    } else {
        const std::size_t colon = text.find(':');
        const bool bare_v6 = colon != text.rfind(':');
        has_port = colon != std::string_view::npos && !bare_v6;
        place.host = bare_v6 ? text : text.substr(0, colon);
        if (has_port) port = text.substr(colon + 1);
    }
    if (place.host.empty()) return bad();
    if (!has_port) return place;
    const auto number = parse_number(port, 65535);
    if (!number) return bad();
    place.port = static_cast<std::uint16_t>(*number);
    return place;
}

Result<std::string, std::string> parse_naa(std::string_view text) {
    std::string digits = lower(text);
    if (digits.starts_with("0x")) digits.erase(0, 2);
    std::string bytes;
    for (std::size_t i = 0; i + 1 < digits.size(); i += 2) {
        const int high = hex_digit(digits[i]);
        const int low = hex_digit(digits[i + 1]);
        if (high < 0 || low < 0) break;
        bytes += static_cast<char>(high * 16 + low);
    }
    const bool all = bytes.size() * 2 == digits.size();
    const char type = digits.empty() ? ' ' : digits.front();
    const bool short_form = bytes.size() == 8 && (type == '2' || type == '3' || type == '5');
    const bool long_form = bytes.size() == 16 && type == '6';
    if (!all || (!short_form && !long_form)) {
        return Failure{
            "Invalid --naa: " + in_quotes(text) +
            ". It has 16 hexadecimal digits, the first of them 2, 3 or 5, or 32 with 6 as "
            "the first."};
    }
    return bytes;
}

Result<ServePlan, std::string> plan_serve(const Arguments& arguments) {
    ServePlan plan;
    auto name = target_name(arguments.text("target-name"));
    if (!name) return Failure{name.error()};
    plan.target_name = std::move(name.value());
    Complaint bad = plan_units(arguments, plan);
    if (bad.empty()) bad = plan_listening(arguments, plan);
    if (bad.empty()) bad = plan_chap(arguments, "chap", plan.initiator);
    if (bad.empty()) bad = plan_chap(arguments, "mutual", plan.self);
    if (bad.empty() && plan.self && !plan.initiator) bad = "--mutual-user needs --chap-user.";
    if (!bad.empty()) return Failure{std::move(bad)};
    return plan;
}

}  // namespace wnbd::client
