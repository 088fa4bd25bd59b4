// SPDX-License-Identifier: LGPL-2.1-or-later
// The driver's options across its loads and between threads: what is stored survives the driver, a
// list is one snapshot, and who has forbidden new mappings sees none come after.
// Usage: driver_options_test WNBD.SYS
#include <atomic>
#include <cstdio>
#include <cstring>
#include <cwchar>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "lab/kernel/os.h"
#include "lab/process/registry.h"
#include "tests/process_host/check.h"
#include "tests/process_host/lab.h"

using namespace wnbd::test;
namespace os = wnbd::lab::os;

namespace {

constexpr ULONG list_size = sizeof(WNBD_OPTION_LIST) + 9 * sizeof(WNBD_OPTION);

struct Setting {
    const wchar_t* name;
    std::int64_t value;
    bool persistent = false;
    UINT32 lease_ms = 0;
};

bool is_boolean(const wchar_t* name) {
    return std::wcscmp(name, L"NewMappingsAllowed") == 0;
}

NTSTATUS set(Client& client, const Setting& setting) {
    WNBD_IOCTL_SET_DRV_OPT_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_SET_DRV_OPT;
    std::wcscpy(command.Name, setting.name);
    command.Persistent = setting.persistent ? 1 : 0;
    command.Value.Type = is_boolean(setting.name) ? WnbdOptBool : WnbdOptInt64;
    if (is_boolean(setting.name))
        command.Value.Data.AsBool = setting.value != 0 ? 1 : 0;
    else
        command.Value.Data.AsInt64 = setting.value;
    WnbdSetOptionLease(&command, setting.lease_ms);
    ULONG returned;
    return client.control(&command, sizeof command, nullptr, 0, returned);
}

void expect_set(Client& client, const Setting& setting) {
    const NTSTATUS status = set(client, setting);
    claim(NT_SUCCESS(status), "setting %ls gives %08lx", setting.name,
          static_cast<unsigned long>(status));
}

/// -1 when it cannot be read.
std::int64_t get(Client& client, const wchar_t* name, bool persistent = false) {
    WNBD_IOCTL_GET_DRV_OPT_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_GET_DRV_OPT;
    std::wcscpy(command.Name, name);
    command.Persistent = persistent ? 1 : 0;
    WNBD_OPTION_VALUE value{};
    ULONG returned;
    if (!NT_SUCCESS(client.control(&command, sizeof command, &value, sizeof value, returned)))
        return -1;
    return is_boolean(name) ? value.Data.AsBool : value.Data.AsInt64;
}

void expect(Client& client, const wchar_t* name, std::int64_t value, bool persistent = false) {
    const std::int64_t found = get(client, name, persistent);
    claim(found == value, "%ls%s is %lld, not %lld", name, persistent ? ", stored," : "",
          static_cast<long long>(found), static_cast<long long>(value));
}

NTSTATUS create(Client& client, const std::string& name) {
    WNBD_CONNECTION_INFO info{};
    return client.create(disk_properties(name.c_str(), 100, 512), info);
}

bool start(Lab& lab, const char* driver) {
    if (lab.start(driver)) return true;
    return claim(false, "cannot start: %s", lab.error().c_str());
}

void stored_options_survive_the_driver(const char* driver) {
    {
        Lab lab;
        if (!start(lab, driver)) return;
        Client client(1, lab.device());
        expect_set(client, {L"NewMappingsAllowed", 0, true});
        expect_set(client, {L"MaxIOReqPerLun", 7, true});
        expect_set(client, {L"MaxIOReqPerLun", 9});
        expect_set(client, {L"StaleConnTimeoutMs", 5});
    }
    Lab lab;
    if (!start(lab, driver)) return;
    Client client(2, lab.device());
    expect(client, L"NewMappingsAllowed", 0);
    expect(client, L"NewMappingsAllowed", 0, true);
    expect(client, L"MaxIOReqPerLun", 7);
    expect(client, L"StaleConnTimeoutMs", 60000);
    claim(create(client, "early") == STATUS_SHUTDOWN_IN_PROGRESS,
          "a stored prohibition holds from the start");
    expect_set(client, {L"NewMappingsAllowed", 1, true});
    claim(NT_SUCCESS(create(client, "later")), "and ends when it is lifted");
    claim(NT_SUCCESS(client.remove("later")), "REMOVE");
}

void a_list_is_one_snapshot(Lab& lab) {
    Client writer_client(3, lab.device());
    Client reader_client(4, lab.device());
    constexpr std::int64_t last = WNBD_ABS_MAX_IO_REQ_PER_LUN;
    expect_set(writer_client, {L"MaxIOReqPerAdapter", last, true});
    expect_set(writer_client, {L"MaxIOReqPerLun", last, true});
    // One option follows the other: no moment shows them further apart.
    std::atomic<bool> ends{false};
    std::thread writer([&] {
        for (std::int64_t n = 1; !ends.load(); n = n % last + 1) {
            const bool persistent = n % 64 == 0;
            (void)set(writer_client, {L"MaxIOReqPerAdapter", n, persistent});
            (void)set(writer_client, {L"MaxIOReqPerLun", n, persistent});
        }
    });
    std::vector<std::uint8_t> reply(list_size);
    constexpr unsigned lists_max = 2000;
    unsigned lists = 0;
    for (; lists < lists_max; ++lists) {
        WNBD_IOCTL_LIST_DRV_OPT_COMMAND command{};
        command.IoControlCode = IOCTL_WNBD_LIST_DRV_OPT;
        const bool persistent = lists % 8 == 0;
        command.Persistent = persistent ? 1 : 0;
        ULONG returned = 0;
        const NTSTATUS status =
            reader_client.control(&command, sizeof command, reply.data(), list_size, returned);
        std::int64_t adapter = 0;
        std::int64_t unit = 0;
        const auto& list = *reinterpret_cast<const WNBD_OPTION_LIST*>(reply.data());
        for (UINT32 i = 0; NT_SUCCESS(status) && i < list.Count; ++i) {
            if (std::wcscmp(list.Options[i].Name, L"MaxIOReqPerAdapter") == 0)
                adapter = list.Options[i].Value.Data.AsInt64;
            if (std::wcscmp(list.Options[i].Name, L"MaxIOReqPerLun") == 0)
                unit = list.Options[i].Value.Data.AsInt64;
        }
        // The values stored are 64 apart, and both start again from 1.
        const std::int64_t step = persistent ? 64 : 1;
        const bool consistent =
            adapter == unit || adapter == unit + step || (adapter == step && unit == last);
        if (!claim(NT_SUCCESS(status) && consistent, "LIST %u gives %08lx, %lld and %lld", lists,
                   static_cast<unsigned long>(status), static_cast<long long>(adapter),
                   static_cast<long long>(unit)))
            break;
    }
    ends.store(true);
    writer.join();
    std::printf("%u lists while one option chased the other\n", lists);
}

UINT32 disks(Client& client) {
    WNBD_IOCTL_LIST_COMMAND command{};
    command.IoControlCode = IOCTL_WNBD_LIST;
    std::vector<std::uint8_t> reply(sizeof(WNBD_CONNECTION_LIST) +
                                    128 * sizeof(WNBD_CONNECTION_INFO));
    ULONG returned = 0;
    const NTSTATUS status = client.control(&command, sizeof command, reply.data(),
                                           static_cast<ULONG>(reply.size()), returned);
    claim(NT_SUCCESS(status), "LIST gives %08lx", static_cast<unsigned long>(status));
    return reinterpret_cast<const WNBD_CONNECTION_LIST*>(reply.data())->Count;
}

void nothing_comes_after_a_prohibition(Lab& lab) {
    Client admin(5, lab.device());
    std::atomic<unsigned> refused{0};
    std::atomic<bool> ends{false};
    const auto keep_creating = [&](std::uint64_t process) {
        Client client(process, lab.device());
        for (unsigned n = 0; !ends.load(); ++n) {
            const std::string name = std::to_string(process) + "-" + std::to_string(n % 20);
            const NTSTATUS status = create(client, name);
            if (NT_SUCCESS(status)) (void)client.remove(name.c_str());
            if (status == STATUS_SHUTDOWN_IN_PROGRESS) refused.fetch_add(1);
        }
    };
    std::thread one(keep_creating, 6);
    std::thread two(keep_creating, 7);
    for (unsigned round = 0; round < 300; ++round) {
        // By the option, and by a pause that ends when the option is set.
        const UINT32 lease_ms = round % 2 == 0 ? 0 : 60'000;
        expect_set(admin, {L"NewMappingsAllowed", 0, false, lease_ms});
        // From here on disks only go; a few refusals give the creators time to prove us wrong.
        const UINT32 before = disks(admin);
        const unsigned begun = refused.load();
        while (refused.load() < begun + 4)
            os::yield();
        const UINT32 after = disks(admin);
        claim(after <= before, "%u disks after the prohibition, %u later", before, after);
        claim(get(admin, L"NewMappingsAllowed") == 0, "the option says so");
        expect_set(admin, {L"NewMappingsAllowed", 1});
        os::sleep_ms(1);
    }
    ends.store(true);
    one.join();
    two.join();
    claim(disks(admin) == 0, "no disk is left");
}

void a_pause_ends_by_itself_and_with_the_adapters_start(Lab& lab) {
    auto client = std::make_unique<Client>(8, lab.device());
    expect_set(*client, {L"NewMappingsAllowed", 0, false, 300});
    claim(create(*client, "pause") == STATUS_SHUTDOWN_IN_PROGRESS, "a pause refuses new mappings");
    client->kill();  // whoever asked for it is gone
    client = std::make_unique<Client>(9, lab.device());
    const std::uint64_t end = os::now_100ns() + 300'000'000;
    while (create(*client, "pause") == STATUS_SHUTDOWN_IN_PROGRESS && os::now_100ns() < end)
        os::sleep_ms(10);
    claim(NT_SUCCESS(client->remove("pause")), "it has ended by itself");
    claim(process::wait_for_scans(60'000), "scans end");

    expect_set(*client, {L"NewMappingsAllowed", 0, false, WNBD_MAX_OPTION_LEASE_MS});
    client.reset();
    claim(lab.host().stop_adapter() && lab.host().start_adapter(), "the adapter off and on: %s",
          lab.host().error().c_str());
    Client other(10, process::find_interface(WNBD_GUID));
    expect(other, L"NewMappingsAllowed", 1);
    claim(NT_SUCCESS(create(other, "after")), "the adapter's start has ended the pause");
    claim(NT_SUCCESS(other.remove("after")), "REMOVE");
}

NTSTATUS reload(Client& client) {
    const WNBD_IOCTL_RELOAD_CONFIG_COMMAND command{IOCTL_WNBD_RELOAD_CONFIG};
    ULONG returned;
    return client.control(&command, sizeof command, nullptr, 0, returned);
}

/// Whatever an administrator wrote under an option's name: only a number of eight bytes counts.
void stored_values_of_other_types_are_ignored(Lab& lab) {
    const std::wstring state = LR"(\Registry\Machine\System\CurrentControlSet\Services\wnbd\State)";
    const std::wstring option = L"MaxIOReqPerLun";
    const std::int64_t nine = 9;
    const wchar_t text[] = L"nine, and longer than a number";
    const struct {
        std::uint32_t type;
        const void* data;
        std::size_t bytes;
    } others[] = {{REG_BINARY, &nine, 8},
                  {REG_DWORD, &nine, 4},
                  {REG_QWORD, &nine, 4},
                  {REG_SZ, text, sizeof text}};
    Client client(11, lab.device());
    const std::int64_t before = get(client, option.c_str());
    for (const auto& other : others) {
        process::registry_set(state, option, other.type, other.data, other.bytes);
        const NTSTATUS status = reload(client);
        claim(status == STATUS_OBJECT_TYPE_MISMATCH, "type %u of %zu bytes: RELOAD gives %08lx",
              other.type, other.bytes, static_cast<unsigned long>(status));
        expect(client, option.c_str(), before);
        expect(client, option.c_str(), -1, true);
    }
    process::registry_set(state, option, REG_QWORD, &nine, sizeof nine);
    claim(NT_SUCCESS(reload(client)), "RELOAD");
    expect(client, option.c_str(), nine);
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::puts("usage: driver_options_test WNBD.SYS");
        return 2;
    }
    stored_options_survive_the_driver(argv[1]);
    Lab lab;
    if (start(lab, argv[1])) {
        stored_values_of_other_types_are_ignored(lab);
        a_list_is_one_snapshot(lab);
        nothing_comes_after_a_prohibition(lab);
        a_pause_ends_by_itself_and_with_the_adapters_start(lab);
        claim(process::wait_for_scans(60'000), "scans end");
        claim(lab.stop(), "the driver unloads: %s", lab.error().c_str());
    }
    return process::exit_code(report("driver_options_test"));
}
