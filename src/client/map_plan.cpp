// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/map_plan.h"

#include <algorithm>
#include <initializer_list>
#include <optional>
#include <span>
#include <string_view>

#include "client/geometry.h"
#include "client/server_choice.h"
#include "nbd/utf8.h"

namespace wnbd::client {
namespace {

constexpr std::uint32_t error_invalid_parameter = 87;
constexpr std::uint32_t error_buffer_overflow = 111;
constexpr std::uint64_t largest_port = 65535;
constexpr std::string_view owner = "wnbd-client";
constexpr std::string_view driverless_owner = "wnbd-driverless";
static_assert(driverless_owner.size() < WNBD_MAX_OWNER_LENGTH);

using Refusal = std::optional<MapRefusal>;

MapRefusal invalid(std::string text) {
    return {error_invalid_parameter, std::move(text)};
}

/// Copies with its terminator. `what` names the field in the refusal.
Refusal store(std::span<char> array, std::string_view text, std::string_view what) {
    if (text.size() >= array.size()) {
        return MapRefusal{error_buffer_overflow,
                          "The " + std::string(what) +
                              " is too long: " + std::to_string(text.size()) + " bytes, at most " +
                              std::to_string(array.size() - 1) + " are allowed."};
    }
    std::ranges::copy(text, array.begin());
    array[text.size()] = '\0';
    return std::nullopt;
}

Refusal refuse_beside(const Arguments& arguments, std::string_view chosen,
                      std::initializer_list<std::string_view> others) {
    for (const std::string_view other : others) {
        if (!arguments.has(other)) continue;
        return invalid("--" + std::string(chosen) + " cannot be combined with " +
                       (other == "hostname" ? "a server" : "--" + std::string(other)) + ".");
    }
    return std::nullopt;
}

Refusal check_geometry(std::string_view option, std::uint64_t size, std::uint32_t block_size) {
    auto complaint = size_complaint("--" + std::string(option), size, block_size);
    if (!complaint.empty()) return invalid(std::move(complaint));
    return std::nullopt;
}

Refusal plan_memory(const Arguments& arguments, MapPlan& plan) {
    if (auto refusal = refuse_beside(
            arguments, "memory",
            {"hostname", "file", "port", "export-name", "skip-handshake", "disk-size"})) {
        return refusal;
    }
    const std::uint64_t size = arguments.number("memory", 0);
    if (auto refusal = check_geometry("memory", size, plan.properties.BlockSize)) return refusal;
    plan.properties.BlockCount = size / plan.properties.BlockSize;
    plan.backend_uri = "memory:" + std::to_string(size);
    return std::nullopt;
}

Refusal plan_file(const Arguments& arguments, MapPlan& plan) {
    if (auto refusal = refuse_beside(arguments, "file",
                                     {"hostname", "port", "export-name", "skip-handshake"})) {
        return refusal;
    }
    const std::string path = arguments.text("file");
    if (path.empty()) return invalid("Missing image file name.");
    // The last question mark ends the path, which may have some of its own: \\?\C:\disk.img.
    plan.backend_uri = "file:" + path + "?";
    if (arguments.has("read-only")) plan.backend_uri += "readonly=1";
    if (!arguments.has("disk-size")) return std::nullopt;

    const std::uint64_t size = arguments.number("disk-size", 0);
    if (auto refusal = check_geometry("disk-size", size, plan.properties.BlockSize)) return refusal;
    plan.properties.BlockCount = size / plan.properties.BlockSize;
    plan.backend_uri +=
        (plan.backend_uri.ends_with('?') ? "size=" : "&size=") + std::to_string(size);
    return std::nullopt;
}

/// The old form stays what it was: only what it cannot say makes a URI of it.
struct Server {
    nbd::UriParts parts;
    bool is_uri = false;
};

Result<Server, MapRefusal> find_server(const Arguments& arguments) {
    const std::string host = arguments.text("hostname");
    if (nbd::is_uri(host)) {
        for (const std::string_view option : {"port", "export-name"}) {
            if (!arguments.has(option)) continue;
            return Failure{invalid("--" + std::string(option) +
                                   " cannot be combined with an NBD URI, which tells it.")};
        }
        auto parts = server_of_uri(host, arguments);
        if (!parts) return Failure{invalid(parts.error())};
        return Server{.parts = std::move(parts.value()), .is_uri = true};
    }
    auto parts = server_of_host(host, arguments);
    if (!parts) return Failure{invalid(parts.error())};
    parts.value().export_name = arguments.text("export-name");
    if (parts.value().export_name.empty())
        parts.value().export_name = arguments.text("instance-name");
    const bool plain = parts.value().parameters.empty() && !parts.value().tls;
    return Server{.parts = std::move(parts.value()), .is_uri = !plain};
}

/// In the order, and refused in the words, that scripts may know.
Refusal check_server_options(const Arguments& arguments) {
    const std::uint64_t port = arguments.number("port", nbd::default_port);
    if (port == 0) return invalid("Missing NBD server port number.");
    if (port > largest_port)
        return invalid("Invalid NBD server port number: " + std::to_string(port));
    if (!arguments.has("skip-handshake")) return std::nullopt;
    if (arguments.number("disk-size", 0) == 0 || arguments.number("block-size", 0) == 0) {
        return invalid(
            "--disk-size and --block-size are required with --skip-handshake, since the "
            "server is not asked for the disk's size.");
    }
    const std::string option = first_server_option(arguments);
    if (!option.empty())
        return invalid("--skip-handshake cannot be combined with --" + option + ".");
    return std::nullopt;
}

Refusal plan_server(const Arguments& arguments, MapPlan& plan) {
    if (auto refusal = check_server_options(arguments)) return refusal;
    auto found = find_server(arguments);
    if (!found) return found.error();
    const Server& server = found.value();
    if (arguments.text("instance-name").empty()) return invalid("Missing instance name.");
    if (server.parts.host.empty() && !server.parts.unix_socket)
        return invalid("Missing NBD hostname.");

    WNBD_PROPERTIES& properties = plan.properties;
    NBD_CONNECTION_PROPERTIES& nbd = properties.NbdProperties;
    const bool unix_socket = server.parts.unix_socket;
    if (!unix_socket) {
        if (auto refusal = store(nbd.Hostname, server.parts.host, "NBD hostname")) return refusal;
    }
    if (auto refusal = store(nbd.ExportName, server.parts.export_name, "NBD export name"))
        return refusal;
    nbd.PortNumber = unix_socket ? 0 : server.parts.port.value_or(nbd::default_port);
    nbd.Flags.SkipNegotiation = arguments.has("skip-handshake") ? 1 : 0;
    properties.Flags.UseUserspaceNbd = 1;
    if (server.is_uri) {
        const auto meaning = meaning_of(server.parts);
        if (!meaning) return invalid(meaning.error());
        if (unix_socket) {
            const std::string path = meaning.value().addresses.front().endpoint();
            if (auto refusal = store(nbd.Hostname, path, "socket's path")) return refusal;
        }
        // Without a negotiation there is nothing that a URI says and the properties don't.
        const bool says_more = server.parts.tls || unix_socket || !server.parts.parameters.empty();
        if (arguments.has("skip-handshake") && says_more)
            return invalid(
                "--skip-handshake needs a server that is a host, or a plain nbd:// URI.");
        if (!arguments.has("skip-handshake")) plan.backend_uri = nbd::join_uri(server.parts);
    }

    if (!arguments.has("disk-size")) return std::nullopt;
    const std::uint64_t size = arguments.number("disk-size", 0);
    if (auto refusal = check_geometry("disk-size", size, properties.BlockSize)) return refusal;
    if (arguments.has("skip-handshake")) {
        properties.BlockCount = size / properties.BlockSize;
    } else {
        plan.remark =
            "--disk-size has no effect: without --skip-handshake the server tells the size.";
    }
    return std::nullopt;
}

/// What would be about a server has no use without one.
Refusal refuse_server_options(const Arguments& arguments, std::string_view chosen) {
    const std::string option = first_server_option(arguments);
    if (option.empty()) return std::nullopt;
    return invalid("--" + std::string(chosen) + " cannot be combined with --" + option + ".");
}

Refusal plan_physical_block(const Arguments& arguments, WNBD_PROPERTIES& properties) {
    const auto exponent =
        physical_block_exponent(arguments.number("physical-block-size", 0), properties.BlockSize);
    if (!exponent) return invalid(exponent.error());
    WnbdSetPhysicalBlockExponent(&properties, exponent.value());
    return std::nullopt;
}

}  // namespace

Result<MapPlan, MapRefusal> plan_map(const Arguments& arguments, std::int32_t pid) {
    MapPlan plan;
    WNBD_PROPERTIES& properties = plan.properties;
    plan.driverless = arguments.has("driverless");
    if (plan.driverless) {
        if (auto refused = refuse_beside(arguments, "driverless", {"skip-handshake"}))
            return Failure{*refused};
    }
    std::ranges::copy(plan.driverless ? driverless_owner : owner, properties.Owner);
    properties.Flags.ReadOnly = arguments.has("read-only") ? 1 : 0;
    properties.Pid = pid;
    properties.BlockSize =
        static_cast<UINT32>(arguments.number("block-size", WNBD_DEFAULT_BLOCK_SIZE));
    if (properties.BlockSize == 0) properties.BlockSize = WNBD_DEFAULT_BLOCK_SIZE;
    if (auto complaint = block_size_complaint(properties.BlockSize); !complaint.empty())
        return Failure{invalid(std::move(complaint))};
    if (auto refused = plan_physical_block(arguments, properties)) return Failure{*refused};

    Refusal refusal;
    if (arguments.has("memory")) {
        refusal = plan_memory(arguments, plan);
        if (!refusal) refusal = refuse_server_options(arguments, "memory");
    } else if (arguments.has("file")) {
        refusal = plan_file(arguments, plan);
        if (!refusal) refusal = refuse_server_options(arguments, "file");
    } else if (arguments.has("hostname") || arguments.has("host")) {
        refusal = plan_server(arguments, plan);
    } else {
        refusal = invalid(
            "the option '--hostname' is required but missing (or give "
            "--memory or --file)");
    }
    if (refusal) return Failure{*refusal};

    const std::string name = arguments.text("instance-name");
    if (name.empty()) return Failure{invalid("Missing instance name.")};
    // Other processes learn it as JSON and take no control characters: they would not find the
    // disk.
    if (plan.driverless && nbd::in_one_line(name) != name)
        return Failure{invalid(
            "The instance name of a driverless disk must be UTF-8 without control characters.")};
    for (const std::span<char> field :
         {std::span<char>(properties.InstanceName), std::span<char>(properties.SerialNumber)}) {
        if (auto too_long = store(field, name, "instance name")) return Failure{*too_long};
    }
    return plan;
}

}  // namespace wnbd::client
