// SPDX-License-Identifier: LGPL-2.1-or-later
// serve makes disks of any backend an iSCSI target, in the foreground, until it is told to end.
#include <algorithm>
#include <chrono>
#include <string>
#include <utility>
#include <vector>

#include "client/chap_secret.h"
#include "client/commands/commands.h"
#include "client/fields.h"
#include "client/locked_memory.h"
#include "client/output.h"
#include "client/serve_log.h"
#include "client/serve_plan.h"
#include "client/served_target.h"
#include "client/stop_signal.h"
#include "client/text.h"

#if defined(_WIN32)
#include "client/session.h"
#endif

namespace wnbd::client {
namespace {

/// How long initiators have to log out: less than Windows waits for a process to end.
constexpr std::chrono::milliseconds logout_patience{2'000};

Record unit_record(const iscsi::LogicalUnit& unit, std::size_t lun, const ServedUnit& planned) {
    const scsi::Disk& disk = unit.description();
    return {
        {"Lun", std::uint64_t{lun}},
        {"Backend", planned.backend},
        {"SerialNumber", bounded_text(disk.serial)},
        {"BlockCount", unit.block_count()},
        {"BlockSize", std::uint64_t{disk.block_size}},
        {"ReadOnly", Switch{disk.read_only}},
    };
}

Record description(ServedTarget& served, const ServePlan& plan) {
    std::vector<std::string> portals;
    for (const iscsi::Endpoint& endpoint : served.server().endpoints())
        portals.push_back(iscsi::portal_text(endpoint.address, endpoint.port));
    std::vector<Record> units;
    for (const auto& unit : served.target().units())
        units.push_back(unit_record(*unit, units.size(), plan.units[units.size()]));
    return {
        {"Target", plan.target_name},
        {"Portals", std::move(portals)},
        {"Chap", Switch{plan.initiator.has_value()}},
        {"Units", std::move(units)},
    };
}

std::string table(const Record& record) {
    constexpr std::size_t label_width = 8;
    std::string text;
    for (const Field& field : record) {
        const std::string label = padded(field.label, label_width) + ": ";
        if (const auto* const portals = std::get_if<std::vector<std::string>>(&field.value)) {
            for (const std::string& portal : *portals)
                text += padded("Portal", label_width) + ": " + portal + "\n";
        } else if (const auto* const units = std::get_if<std::vector<Record>>(&field.value)) {
            for (const Record& unit : *units) {
                text += padded("Lun", label_width) + ": " + table_text(unit[0].value);
                for (std::size_t i = 1; i < unit.size(); ++i)
                    text += ", " + std::string(unit[i].label) + " " + table_text(unit[i].value);
                text += "\n";
            }
        } else {
            text += label + table_text(field.value) + "\n";
        }
    }
    return text;
}

/// From a server, which may be on this machine; what memory and files stand for is here anyway.
bool serves_remote_disk(const ServePlan& plan) {
    return std::ranges::any_of(plan.units, [](const ServedUnit& unit) {
        return unit.backend.find("://") != std::string::npos;
    });
}

/// A backend that is lost is told of once. Its disk stays, and fails what it is asked to do.
void serve_until(StopSignal& signal, const ServedTarget& served, iscsi::Log& log) {
    bool told = false;
    while (!signal.wait(std::chrono::seconds(1))) {
        const std::string failure = told ? std::string() : served.failure();
        if (failure.empty()) continue;
        log.write(iscsi::Log::Level::error, "a disk has lost its storage: " + failure);
        told = true;
    }
}

}  // namespace

DWORD run_serve(const Arguments& arguments) {
#if defined(_WIN32)
    if (in_shell())
        return refuse("serve runs as a command of its own, not in the shell.",
                      ERROR_INVALID_PARAMETER);
#endif
    const auto planned = plan_serve(arguments);
    if (!planned) return refuse(planned.error(), ERROR_INVALID_PARAMETER);
    const ServePlan& plan = planned.value();
    const auto credentials = read_credentials(plan);
    if (!credentials) return refuse(credentials.error(), ERROR_INVALID_PARAMETER);
    if (const auto remark = remark_on(credentials.value()); !remark.empty())
        print_complaint(remark);

    // Before the first thread.
    const bool remote = serves_remote_disk(plan);
    if (remote) announce_disk_server();
    StopSignal signal;
    ServeLog log(arguments.has("debug"));
    auto started = ServedTarget::start(plan, credentials.value(), log);
    if (!started) {
        return refuse("Could not serve " + in_quotes(arguments.text("target-name")) + ": " +
                          started.error().text,
                      started.error().code);
    }
    ServedTarget& served = *started.value();
    if (remote) {
        served.target().buffers().warm_up();
        warn_of_unlocked(lock_memory());
    }
    const Record record = description(served, plan);
    const DWORD printed =
        print(arguments.format() == OutputFormat::json ? json_text(record) : table(record));
    if (printed != ERROR_SUCCESS) return printed;

    serve_until(signal, served, log);
    log.write(iscsi::Log::Level::info, "stopping");
    const std::string failure = served.stop(logout_patience);
    if (!failure.empty()) return refuse(failure, ERROR_WRITE_FAULT);
    log.write(iscsi::Log::Level::info, "stopped, everything is flushed");
    return ERROR_SUCCESS;
}

}  // namespace wnbd::client
