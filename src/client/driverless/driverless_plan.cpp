// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/driverless/driverless_plan.h"

#include <algorithm>
#include <limits>

#include "client/text.h"
#include "nbd/uri.h"

namespace wnbd::client {
namespace {

constexpr std::string_view name_part = "driverless-";

std::string hexadecimal(std::span<const std::uint8_t> bytes) {
    constexpr std::string_view digits = "0123456789abcdef";
    std::string text;
    for (const std::uint8_t byte : bytes) {
        text += digits[byte >> 4];
        text += digits[byte & 15];
    }
    return text;
}

}  // namespace

ServePlan driverless_plan(const MapPlan& plan, std::uint32_t pid, const DriverlessRandom& random) {
    const WNBD_PROPERTIES& properties = plan.properties;
    const NBD_CONNECTION_PROPERTIES& nbd = properties.NbdProperties;
    ServedUnit unit;
    unit.backend =
        plan.backend_uri.empty()
            ? nbd_uri_text(bounded_text(nbd.Hostname), nbd.PortNumber, bounded_text(nbd.ExportName))
            : plan.backend_uri;
    unit.settings.block_size = properties.BlockSize;
    unit.settings.physical_block_size = properties.BlockSize
                                        << WnbdGetPhysicalBlockExponent(&properties);
    unit.settings.read_only = properties.Flags.ReadOnly != 0;
    unit.settings.serial = bounded_text(properties.SerialNumber);

    ServePlan served;
    served.target_name = std::string(target_prefix) + std::string(name_part) + std::to_string(pid) +
                         "-" + hexadecimal(random);
    served.units.push_back(std::move(unit));
    served.listen.push_back({.host = "127.0.0.1", .port = 0});
    return served;
}

std::optional<std::uint32_t> driverless_process(std::string_view target_name) {
    for (const std::string_view part : {target_prefix, name_part}) {
        if (!target_name.starts_with(part)) return std::nullopt;
        target_name.remove_prefix(part.size());
    }
    const std::size_t dash = target_name.find('-');
    if (dash == std::string_view::npos) return std::nullopt;
    const auto pid =
        parse_number(target_name.substr(0, dash), std::numeric_limits<std::uint32_t>::max());
    if (!pid) return std::nullopt;
    return static_cast<std::uint32_t>(*pid);
}

std::string chap_secret_text(const DriverlessRandom& random) {
    constexpr std::string_view letters =
        "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
    static_assert(letters.size() == 64);
    std::string text;
    for (const std::uint8_t byte : random)
        text += letters[byte & 63];
    return text;
}

std::string nbd_uri_text(std::string_view host, std::uint32_t port, std::string_view export_name) {
    return nbd::join_uri({.host = std::string(host),
                          .port = static_cast<std::uint16_t>(port),
                          .export_name = std::string(export_name)});
}

}  // namespace wnbd::client
