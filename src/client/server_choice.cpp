// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/server_choice.h"

#include <algorithm>
#include <utility>

#include "client/server_option_table.h"
#include "client/text.h"
#include "nbd/utf8.h"

namespace wnbd::client {
namespace {

using std::string;
using std::string_view;

/// An address as people write it: nothing but a URI needs brackets around IPv6.
string bracketed(string_view host) {
    const bool bare_v6 = !host.starts_with('[') && std::ranges::count(host, ':') > 1;
    return bare_v6 ? "[" + string(host) + "]" : string(host);
}

void add_options(const Arguments& arguments, std::size_t hosts_skipped, nbd::UriParts& server) {
    for (const OptionSpec& option : server_option_table) {
        const string name(option.name);
        if (!arguments.has(name)) continue;
        const auto values =
            option.kind == ValueKind::none ? std::vector<string>{"1"} : arguments.texts(name);
        for (std::size_t i = name == "host" ? hosts_skipped : 0; i < values.size(); ++i)
            server.parameters.push_back({name, name == "host" ? bracketed(values[i]) : values[i]});
    }
}

bool says_how_to_trust(const Arguments& arguments) {
    return std::ranges::any_of(server_option_table, [&](const OptionSpec& option) {
        return option.name.starts_with("tls-") && arguments.has(option.name);
    });
}

}  // namespace

string first_server_option(const Arguments& arguments) {
    for (const OptionSpec& option : server_option_table)
        if (arguments.has(option.name)) return string(option.name);
    return {};
}

Result<nbd::UriParts, string> server_of_uri(string_view text, const Arguments& arguments) {
    const auto bad = [text](const string& why) {
        return Failure{"Invalid NBD URI: " + nbd::in_one_line(text) + ": " + why + "."};
    };
    auto server = nbd::split_uri(text);
    if (!server) return bad(server.error());
    const auto alone = nbd::interpret_uri(server.value());
    if (!alone) return bad(alone.error());
    add_options(arguments, 0, server.value());
    return server;
}

Result<nbd::UriParts, string> server_of_host(string_view host, const Arguments& arguments) {
    nbd::UriParts server{.host = string(host)};
    const auto hosts = arguments.texts("host");
    const bool from_option = host.empty() && !hosts.empty();
    if (from_option) {
        auto place = nbd::parse_host_port(bracketed(hosts.front()));
        if (!place) return Failure{"Invalid --host: " + nbd::in_one_line(place.error()) + "."};
        server.host = std::move(place.value().host);
        server.port = place.value().port;
    }
    if (!server.port && arguments.has("port"))
        server.port = static_cast<std::uint16_t>(arguments.number("port", nbd::default_port));
    server.tls = says_how_to_trust(arguments) && !arguments.has("tls");
    add_options(arguments, from_option ? 1 : 0, server);
    return server;
}

Result<nbd::Uri, string> meaning_of(const nbd::UriParts& server) {
    auto meaning = nbd::interpret_uri(server);
    if (meaning) {
        // The host of a command line has met no rules so far.
        const auto read_back = nbd::split_uri(nbd::join_uri(server));
        if (read_back) return meaning;
        return Failure{"Invalid NBD hostname " + in_quotes(server.host) + ": " + read_back.error() +
                       "."};
    }
    const string& why = meaning.error();
    constexpr string_view before = "parameter '";
    const auto end = why.find("': ");
    if (!why.starts_with(before) || end == string::npos)
        return Failure{"Invalid options: " + why + "."};
    const auto name = why.substr(before.size(), end - before.size());
    return Failure{"Invalid --" + name + ": " + why.substr(end + 3) + "."};
}

}  // namespace wnbd::client
