// SPDX-License-Identifier: LGPL-2.1-or-later
// nbd-info asks an NBD server and prints what it says. Size and flags are those of NBD_OPT_GO: some
// servers answer NBD_OPT_INFO with others.
#include <algorithm>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <utility>
#include <vector>

#include "client/commands/commands.h"
#include "client/nbd_report.h"
#include "client/output.h"
#include "client/server_choice.h"
#include "client/text.h"
#include "nbd/client_shell.h"
#include "nbd/inquiry.h"
#include "nbd/uri_options.h"

namespace wnbd::client {
namespace {

/// What is asked for at once: as much as fits 32 bits, whatever the blocks are.
constexpr std::uint64_t range_max = 1ULL << 30;  // bytes
constexpr std::uint32_t extents_max = 4096;

struct Refusal {
    std::string text;
    DWORD code = ERROR_SUCCESS;
};

/// One address at a time, so that it is known whose answer it is.
Result<std::unique_ptr<nbd::ClientShell>, nbd::Fault> open_any(nbd::ClientOptions& options) {
    const std::vector<nbd::Address> addresses = options.addresses;
    nbd::Fault fault;
    for (const nbd::Address& address : addresses) {
        options.addresses = {address};
        auto opened = nbd::ClientShell::open(options);
        if (opened) return opened;
        fault = opened.error();
    }
    return Failure{std::move(fault)};
}

/// One block status, waited for. Returns the protocol's error, or that of a lost connection.
nbd::Outcome ask_status(nbd::ClientShell& shell, std::uint64_t offset, std::uint64_t length,
                        nbd::ExtentList& list) {
    struct State {
        std::mutex lock;
        std::condition_variable changed;
        bool over = false;
        nbd::Outcome outcome;
    } state;
    nbd::Request request;
    request.command = {.type = nbd::CommandType::block_status,
                       .offset = offset,
                       .length = length,
                       .extents = &list};
    request.context = &state;
    request.done = [](nbd::Request& done, nbd::Outcome outcome) noexcept {
        auto& ended = *static_cast<State*>(done.context);
        const std::lock_guard lock(ended.lock);
        ended.outcome = outcome;
        ended.over = true;
        ended.changed.notify_one();
    };
    nbd::Request* const requests[] = {&request};
    shell.submit(requests);
    std::unique_lock lock(state.lock);
    state.changed.wait(lock, [&state] { return state.over; });
    return state.outcome;
}

Result<AllocationMap, Refusal> read_map(nbd::ClientShell& shell) {
    const auto failed = [](std::string why) {
        return Failure{Refusal{std::move(why), ERROR_NOT_CONNECTED}};
    };
    const nbd::Agreement& agreement = shell.agreement();
    if (!agreement.allocation_context)
        return Failure{Refusal{"the server tells no allocation (base:allocation) of this export",
                               ERROR_NOT_SUPPORTED}};
    const std::uint64_t unit = agreement.info.minimum_block;
    const std::uint64_t size = agreement.info.size / unit * unit;
    AllocationMap map;
    std::vector<nbd::Extent> extents(extents_max);
    while (map.size() < size) {
        nbd::ExtentList list{.first = extents.data(), .capacity = extents_max};
        const auto length = std::min(size - map.size(), range_max);
        const auto begin = map.size();
        const auto outcome = ask_status(shell, begin, length, list);
        if (outcome.disconnected) return failed("the server was lost");
        if (outcome.error != 0)
            return failed("the server answers with error " + std::to_string(outcome.error));
        for (std::uint32_t i = 0; i < list.count && map.size() < size; ++i) {
            const nbd::Extent& run = extents[i];
            const bool allocated = (run.flags & nbd::allocation_hole) == 0;
            const bool zeroes = (run.flags & nbd::allocation_zero) != 0;
            // The last one may reach beyond what was asked for.
            if (!map.add(std::min(run.length, size - map.size()),
                         AllocationMap::kind_of(allocated, zeroes)))
                return failed("the map has more than " + std::to_string(AllocationMap::runs_max) +
                              " runs");
        }
        if (map.size() == begin || map.size() % unit != 0)
            return failed("the server's map makes no sense at offset " +
                          std::to_string(map.size()));
    }
    return map;
}

DWORD print_exports(const nbd::ClientOptions& options, const std::string& what,
                    OutputFormat format) {
    const auto answers = nbd::inquire(options, nbd::Goal::list);
    if (!answers)
        return refuse(what + ": " + nbd::describe(answers.error()) + ".", ERROR_NOT_CONNECTED);
    const auto& exports = answers.value().exports;
    return print(format == OutputFormat::json ? json_text(list_records(exports))
                                              : table_of(exports));
}

DWORD print_map(nbd::ClientShell& shell, const std::string& what, OutputFormat format) {
    const auto map = read_map(shell);
    if (!map) return refuse(what + ": " + map.error().text + ".", map.error().code);
    return print(format == OutputFormat::json ? json_text(map.value().record())
                                              : map.value().table());
}

/// A further connection has the other contexts, if the server takes one.
std::vector<std::string> contexts_of(const nbd::ClientOptions& options,
                                     const nbd::Agreement& agreement) {
    const auto answers = nbd::inquire(options, nbd::Goal::list_contexts);
    if (answers && !answers.value().contexts.empty()) return answers.value().contexts;
    if (agreement.allocation_context) return {nbd::allocation_context};
    return {};
}

}  // namespace

DWORD run_nbd_info(const Arguments& arguments) {
    const std::string text = arguments.text("uri");
    const auto server = server_of_uri(text, arguments);
    if (!server) return refuse(server.error(), ERROR_INVALID_PARAMETER);
    const auto uri = nbd::interpret_uri(server.value());
    if (!uri) return refuse(uri.error(), ERROR_INVALID_PARAMETER);
    const bool lists = arguments.has("list");
    const bool maps = arguments.has("map");
    if (lists && maps)
        return refuse("--list cannot be combined with --map.", ERROR_INVALID_PARAMETER);
    const std::string what = "Could not ask " + in_quotes(text);
    auto options = nbd::options_of(uri.value());
    options.connections = 1;
    // Whoever asks wants to know how it is now.
    options.reconnect = {.timeout = std::chrono::milliseconds(0)};
    if (lists) return print_exports(options, what, arguments.format());

    auto opened = open_any(options);
    if (!opened)
        return refuse(what + ": " + nbd::describe(opened.error()) + ".", ERROR_NOT_CONNECTED);
    nbd::ClientShell& shell = *opened.value();
    if (maps) return print_map(shell, what, arguments.format());
    NbdExport info{.server = options.addresses.front().endpoint(),
                   .name = options.addresses.front().export_name,
                   .agreement = shell.agreement(),
                   .contexts = {}};
    shell.close(false);
    info.contexts = contexts_of(options, info.agreement);
    const Record record = export_record(info);
    return print(arguments.format() == OutputFormat::json ? json_text(record) : table_of(record));
}

}  // namespace wnbd::client
