// SPDX-License-Identifier: LGPL-2.1-or-later
// The driver's log: which sink gets which message, by option, level and session; that messages are
// well-formed, cost no memory, and may be written at DISPATCH_LEVEL and while everything changes.
#include <atomic>
#include <chrono>
#include <cstdio>
#include <cstring>
#include <memory>
#include <thread>

#include "lab/kernel/verifier.h"
#include "tests/process_host/check.h"
#include "tests/process_host/event_session.h"
#include "tests/process_host/lab.h"
#include "tests/process_host/memory_server.h"

using namespace wnbd::test;
namespace etw = wnbd::lab::etw;
namespace kernel = wnbd::lab::kernel;
namespace os = wnbd::lab::os;

namespace {

constexpr GUID trace_guid = {
    0xE35EAF83, 0x0F07, 0x418A, {0x90, 0x7C, 0x14, 0x1C, 0xD2, 0x00, 0xF2, 0x52}};

constexpr UCHAR level_warning = 3;
constexpr UCHAR level_information = 4;
constexpr UCHAR level_verbose = 5;
constexpr UCHAR system_channel = 8;
constexpr UCHAR self_described_channel = 11;

NTSTATUS set_option(Client& client, const wchar_t* name, std::int64_t value, bool boolean) {
    WNBD_IOCTL_SET_DRV_OPT_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_SET_DRV_OPT;
    for (unsigned i = 0; name[i] != 0; ++i)
        command.Name[i] = name[i];
    command.Value.Type = boolean ? WnbdOptBool : WnbdOptInt64;
    if (boolean)
        command.Value.Data.AsBool = value != 0;
    else
        command.Value.Data.AsInt64 = value;
    ULONG returned;
    return client.control(&command, sizeof command, nullptr, 0, returned);
}

void option(Client& client, const wchar_t* name, std::int64_t value, bool boolean = true) {
    const NTSTATUS status = set_option(client, name, value, boolean);
    claim(NT_SUCCESS(status), "setting %ls gave %08lx", name, static_cast<unsigned long>(status));
}

/// A disk that the driver must refuse: blocks of a size that it does not have. Warned of.
void provoke_warning(Client& client, const char* name = "refused") {
    WNBD_CONNECTION_INFO info{};
    const NTSTATUS status = client.create(disk_properties(name, 100, 513), info);
    claim(status == STATUS_INVALID_PARAMETER, "blocks of 513 bytes gave %08lx",
          static_cast<unsigned long>(status));
}

void forget() {
    (void)take_events(etw::system_log);
    (void)take_events("debug");
    (void)take_events("trace");
    (void)take_debug_lines();
}

void every_sink_gets_a_warning(Client& client) {
    option(client, L"WppLoggingEnabled", 1);
    etw::start_session({"trace", trace_guid, 255, 0xFFFFFFFF, 0});
    forget();
    provoke_warning(client);
    const auto logged = take_events(etw::system_log);
    if (claim(logged.size() == 1, "%zu events in the System log", logged.size())) {
        const EVENT_DESCRIPTOR& about = logged[0].event.descriptor;
        const GUID provider = etw::manifest_provider();
        claim(std::memcmp(&logged[0].event.provider, &provider, sizeof provider) == 0,
              "its provider");
        claim(about.Id == 2 && about.Level == level_warning && about.Channel == system_channel,
              "event %u, level %u, channel %u", about.Id, about.Level, about.Channel);
        const std::string text = message_of(logged[0].event);
        claim(text.find("refused") != std::string::npos &&
                  text.find("0xc000000d") != std::string::npos,
              "its text is \"%s\"", text.c_str());
    }
    const auto traced = take_events("trace");
    if (claim(traced.size() == 1, "%zu events in the trace", traced.size())) {
        etw::SelfDescribed described;
        const std::string fault = etw::describe(traced[0].event, described);
        claim(fault.empty(), "the trace's event: %s", fault.c_str());
        claim(described.provider == "WNBD.Trace" && described.name == "Message" &&
                  described.values.size() == 3 && described.values[2].name == "Message" &&
                  !logged.empty() && described.values[2].text == message_of(logged[0].event),
              "it says the same as the System log");
        claim(traced[0].event.descriptor.Level == level_warning, "its level");
    }
    const auto lines = take_debug_lines();
    claim(lines.size() == 1 && lines[0].find("refused") != std::string::npos &&
              lines[0].back() == '\n',
          "%zu lines at the debugger", lines.size());
    etw::stop_session("trace");
    provoke_warning(client);
    claim(take_events("trace").empty(), "nothing is traced without a session");
    option(client, L"WppLoggingEnabled", 0);
}

void each_option_governs_its_sink(Client& client) {
    etw::start_session({"trace", trace_guid, 255, 0xFFFFFFFF, 0});
    forget();
    option(client, L"EtwLoggingEnabled", 0);
    provoke_warning(client);
    claim(take_events(etw::system_log).empty(), "EtwLoggingEnabled off: nothing in the System log");
    claim(take_events("trace").empty(), "WppLoggingEnabled off: nothing is traced");
    claim(take_debug_lines().size() == 1, "the debugger still gets its line");
    option(client, L"DbgPrintEnabled", 0);
    option(client, L"EtwLoggingEnabled", 1);
    provoke_warning(client);
    claim(take_debug_lines().empty(), "DbgPrintEnabled off: nothing at the debugger");
    claim(take_events(etw::system_log).size() == 1, "the System log gets it again");
    claim(take_events("trace").empty(), "and the trace does not");
    option(client, L"DbgPrintEnabled", 1);
    option(client, L"WppLoggingEnabled", 1);
    option(client, L"LogLevel", 0, false);
    forget();
    provoke_warning(client);
    claim(take_events(etw::system_log).empty() && take_events("trace").empty() &&
              take_debug_lines().empty(),
          "LogLevel 0: a warning is nowhere");
    option(client, L"LogLevel", 1, false);
    option(client, L"WppLoggingEnabled", 0);
    etw::stop_session("trace");
}

void debug_messages_reach_sessions_only(Client& client) {
    option(client, L"LogLevel", 4, false);
    etw::start_session({"debug", etw::manifest_provider(), level_verbose, 0xFFFFFFFF, 0});
    forget();
    WNBD_CONNECTION_INFO info{};
    (void)client.show("nobody", info);
    const auto debug = take_events("debug");
    claim(debug.size() == 1 && debug[0].event.descriptor.Id == 4 &&
              !message_of(debug[0].event).empty(),
          "the session gets %zu events", debug.size());
    claim(take_events(etw::system_log).empty(), "the System log gets no debug message");
    etw::start_session({"debug", etw::manifest_provider(), level_warning, 0, 0});
    (void)client.show("nobody", info);
    provoke_warning(client);
    const auto warnings = take_events("debug");
    claim(warnings.size() == 1 && warnings[0].event.descriptor.Id == 2,
          "a session of level warning gets warnings: %zu events", warnings.size());
    etw::stop_session("debug");
    option(client, L"LogLevel", 1, false);
}

void names_cannot_forge_lines(Client& client) {
    forget();
    provoke_warning(client, "a\nforged\x1b[31m line\x7F");
    const auto logged = take_events(etw::system_log);
    const std::string text = logged.empty() ? "" : message_of(logged[0].event);
    claim(text.find("a?forged?[31m line?") != std::string::npos, "the text is \"%s\"",
          text.c_str());
    const auto lines = take_debug_lines();
    claim(lines.size() == 1 && lines[0].find('\n') == lines[0].size() - 1, "one line is one line");
    const std::string longest(WNBD_MAX_NAME_LENGTH - 1, 'x');
    provoke_warning(client, longest.c_str());
    const auto whole = take_events(etw::system_log);
    claim(whole.size() == 1 && message_of(whole[0].event).find(longest) != std::string::npos,
          "the longest name is whole");
}

void a_disk_that_comes_and_goes_is_information(Client& client) {
    option(client, L"LogLevel", 3, false);
    option(client, L"WppLoggingEnabled", 1);
    etw::start_session({"trace", trace_guid, 255, 0xFFFFFFFF, 0});
    forget();
    WNBD_CONNECTION_INFO info{};
    claim(NT_SUCCESS(client.create(disk_properties("told", 100, 512), info)), "CREATE");
    claim(NT_SUCCESS(client.remove("told")), "REMOVE");
    const std::string texts[] = {"disk told: connection " + std::to_string(info.ConnectionId) +
                                     ", target " + std::to_string(info.TargetId) +
                                     ", 100 blocks of 512 bytes, process 500",
                                 "removal asked for by process 500 gave 0x0: told"};
    const auto logged = take_events(etw::system_log);
    const auto traced = take_events("trace");
    if (claim(logged.size() == 2 && traced.size() == 2, "%zu events, %zu traced", logged.size(),
              traced.size()))
        for (std::size_t i = 0; i < 2; ++i) {
            const std::string text = message_of(logged[i].event);
            claim(text.find(texts[i]) != std::string::npos, "\"%s\" is not \"%s\"", text.c_str(),
                  texts[i].c_str());
            claim(logged[i].event.descriptor.Id == 3 &&
                      logged[i].event.descriptor.Level == level_information,
                  "event %u, level %u", logged[i].event.descriptor.Id,
                  logged[i].event.descriptor.Level);
            const EVENT_DESCRIPTOR& trace = traced[i].event.descriptor;
            claim(trace.Level == level_information && trace.Channel == self_described_channel &&
                      trace.Keyword == 1,
                  "traced: level %u, channel %u, keyword %llx", trace.Level, trace.Channel,
                  static_cast<unsigned long long>(trace.Keyword));
        }
    option(client, L"LogLevel", 4, false);
    forget();
    (void)client.show("nobody", info);
    const auto debug = take_events("trace");
    claim(debug.size() == 1 && debug[0].event.descriptor.Level == level_verbose,
          "a debug message is traced as one");
    etw::stop_session("trace");
    option(client, L"WppLoggingEnabled", 0);
    option(client, L"LogLevel", 1, false);
}

/// A command's name need not end, and the command may end before it.
void no_message_reads_beyond_a_name(Client& client) {
    option(client, L"LogLevel", 3, false);
    forget();
    process::use_exact_system_buffers(true);
    WNBD_IOCTL_REMOVE_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_REMOVE;
    std::memset(command.InstanceName, 'x', sizeof command.InstanceName);
    std::memset(&command.Options, 'y', sizeof command.Options);
    ULONG returned;
    (void)client.control(&command, sizeof command.IoControlCode, nullptr, 0, returned);
    claim(take_events(etw::system_log).empty(), "a command without a name is no removal");
    (void)client.control(&command, sizeof command, nullptr, 0, returned);
    const auto logged = take_events(etw::system_log);
    const std::string text = logged.size() == 1 ? message_of(logged[0].event) : "";
    const std::string name(WNBD_MAX_NAME_LENGTH - 1, 'x');
    claim(text.find(": " + name) != std::string::npos && text.find(name + "x") == std::string::npos,
          "%zu events, the text is \"%s\"", logged.size(), text.c_str());
    option(client, L"LogLevel", 1, false);
}

void a_stale_disk_is_reported_at_dispatch_level(Lab& lab, Client& client) {
    option(client, L"StaleReqTimeoutMs", 1, false);
    option(client, L"StaleConnTimeoutMs", 1, false);
    option(client, L"RemoveStaleConnections", 0);
    MemoryServer server(lab, 510);
    if (!claim(server.start(disk_properties("stale", 1000, 512), 1), "the disk is mapped")) return;
    claim(process::wait_for_scans(60'000), "scans end");
    forget();
    server.hold.store(true);
    std::vector<std::uint8_t> data(512);
    std::thread read([&] {
        (void)scsi(lab.adapter(), server.address(), {0x28, 0, 0, 0, 0, 0, 0, 0, 1, 0},
                   wnbd::lab::Direction::In, data.data(), 512);
    });
    for (int waited = 0; server.in_hand.load() == 0 && waited < 10'000; ++waited)
        os::sleep_ms(1);
    os::sleep_ms(20);
    (void)wnbd::lab::reset_logical_unit(lab.adapter(), server.address());
    read.join();
    server.hold.store(false);
    bool found = false;
    for (const Received& each : take_events(etw::system_log)) {
        if (message_of(each.event).find("is stale") == std::string::npos) continue;
        found = true;
        claim(each.irql == DISPATCH_LEVEL, "it was written at IRQL %u", each.irql);
        claim(each.event.descriptor.Level == level_warning, "it is a warning");
    }
    claim(found, "the System log has the stale disk");
    server.stop();
    option(client, L"RemoveStaleConnections", 1);
}

void logging_takes_no_memory(Client& client) {
    option(client, L"LogLevel", 4, false);
    option(client, L"WppLoggingEnabled", 1);
    etw::start_session({"debug", etw::manifest_provider(), 0, 0, 0});
    etw::start_session({"trace", trace_guid, 0, 0, 0});
    forget();
    kernel::reset_counters();
    WNBD_CONNECTION_INFO info{};
    for (int i = 0; i < 100; ++i)
        (void)client.show("nobody", info);
    claim(kernel::counters().allocations.load() == 0, "%llu pool allocations",
          static_cast<unsigned long long>(kernel::counters().allocations.load()));
    claim(take_events("debug").size() == 100 && take_events("trace").size() == 100,
          "each message arrives in each session");
    etw::stop_session("debug");
    etw::stop_session("trace");
    option(client, L"WppLoggingEnabled", 0);
    option(client, L"LogLevel", 1, false);
}

/// Messages from many threads while options and sessions come and go.
void everything_changes_under_way(Lab& lab, Client& client) {
    std::atomic<bool> stop{false};
    std::vector<std::thread> writers;
    for (unsigned i = 0; i < 3; ++i)
        writers.emplace_back([&, i] {
            Client own(520 + i, lab.device());
            WNBD_CONNECTION_INFO info{};
            while (!stop.load())
                (void)own.create(disk_properties("refused", 100, 513), info);
        });
    std::size_t whole = 0;
    std::size_t broken = 0;
    // On a busy machine the writers may take a while to be heard at all.
    const auto latest = std::chrono::steady_clock::now() + std::chrono::minutes(1);
    for (unsigned round = 0;
         round < 300 || (whole == 0 && std::chrono::steady_clock::now() < latest); ++round) {
        option(client, L"EtwLoggingEnabled", round & 1);
        option(client, L"WppLoggingEnabled", round >> 1 & 1);
        option(client, L"DbgPrintEnabled", round >> 2 & 1);
        option(client, L"LogLevel", round % 5, false);
        if (round % 3 == 0) etw::start_session({"trace", trace_guid, 0, 0, 0});
        if (round % 3 == 1) etw::stop_session("trace");
        for (const Received& each : take_events(etw::system_log))
            ++(message_of(each.event).empty() ? broken : whole);
    }
    stop.store(true);
    for (std::thread& writer : writers)
        writer.join();
    claim(whole > 0 && broken == 0, "%zu events are whole, %zu are not", whole, broken);
    etw::stop_session("trace");
    option(client, L"EtwLoggingEnabled", 1);
    option(client, L"WppLoggingEnabled", 0);
    option(client, L"DbgPrintEnabled", 1);
    option(client, L"LogLevel", 1, false);
}

void the_file_has_the_texts(const char* driver_path) {
    const std::vector<std::string> inserts = {"start_io", "12", "a message"};
    for (const std::uint32_t event : {1U, 2U, 3U, 4U}) {
        const std::string text = text_from_file(driver_path, 0xB0000000 | event, inserts);
        claim(text == "start_io:12 a message\r\n", "event %u reads \"%s\"", event, text.c_str());
    }
    claim(text_from_file(driver_path, 0xB0000005, inserts).empty(), "there is no event 5");
    claim(text_from_file(driver_path, 0x50000002, {}) == "Error\r\n", "the level's text");
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::puts("usage: logging_test WNBD.SYS");
        return 2;
    }
    record_events();
    etw::start_session(etw::system_log_of(etw::manifest_provider()));
    the_file_has_the_texts(argv[1]);
    for (int round = 0; round < 2; ++round) {  // the second time after an unload
        Lab lab;
        if (!lab.start(argv[1])) {
            std::printf("cannot start: %s\n", lab.error().c_str());
            return 2;
        }
        {
            Client client(500, lab.device());
            every_sink_gets_a_warning(client);
            each_option_governs_its_sink(client);
            debug_messages_reach_sessions_only(client);
            names_cannot_forge_lines(client);
            a_disk_that_comes_and_goes_is_information(client);
            no_message_reads_beyond_a_name(client);
            a_stale_disk_is_reported_at_dispatch_level(lab, client);
            logging_takes_no_memory(client);
            everything_changes_under_way(lab, client);
        }
        claim(lab.stop(), "the driver unloads: %s", lab.error().c_str());
    }
    return process::exit_code(report("logging_test"));
}
