// SPDX-License-Identifier: LGPL-2.1-or-later
// The ioctl surface of wnbd.sys: each command with each input and output length from 0 to one more
// than its structures, with wild pointers, from a foreign process, and with random bytes. Every
// answer must be the right status, and the verifier must have nothing to say. Usage: ioctl_sweep
// WNBD.SYS [--seed N] [--random N]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <random>
#include <string>
#include <vector>

#include "lab/kernel/os.h"
#include "lab/kernel/verifier.h"
#include "tests/process_host/check.h"
#include "tests/process_host/lab.h"

using namespace wnbd::test;
namespace kernel = wnbd::lab::kernel;

namespace {

constexpr ULONG option_list_bytes = sizeof(WNBD_OPTION_LIST) + 9 * sizeof(WNBD_OPTION);
constexpr const char* mapped_name = "mapped";

/// One command: its structures' sizes, a whole input, and what the driver answers to lengths.
struct Command {
    const char* name;
    ULONG code;
    ULONG input_bytes;
    ULONG output_bytes;
    NTSTATUS whole;         ///< with both structures whole
    NTSTATUS short_output;  ///< with the output shorter than its structure, of no length even
    NTSTATUS no_output;     ///< with no output at all
    std::vector<std::uint8_t> input;
};

template <typename T>
std::vector<std::uint8_t> bytes_of(const T& structure) {
    std::vector<std::uint8_t> bytes(sizeof structure);
    std::memcpy(bytes.data(), &structure, sizeof structure);
    return bytes;
}

template <std::size_t size>
void put(CHAR (&target)[size], const char* text) {
    std::strncpy(target, text, size - 1);
}

std::vector<std::uint8_t> base(ULONG code) {
    return bytes_of(WNBD_IOCTL_BASE_COMMAND{code});
}

template <typename T>
std::vector<std::uint8_t> with_option(ULONG code, const wchar_t* option) {
    T command{};
    command.IoControlCode = code;
    for (int index = 0; option[index] != 0; ++index)
        command.Name[index] = option[index];
    return bytes_of(command);
}

NTSTATUS expected(const Command& command, ULONG input, ULONG output) {
    if (input < sizeof(ULONG) || input < command.input_bytes) return STATUS_INVALID_PARAMETER;
    if (output < command.output_bytes) return command.short_output;
    return command.whole;
}

std::vector<Command> commands(WNBD_CONNECTION_ID mapped) {
    std::vector<Command> all;
    const auto add = [&all](const char* name, ULONG code, ULONG output, NTSTATUS whole,
                            NTSTATUS short_output, NTSTATUS no_output,
                            std::vector<std::uint8_t> input) {
        const auto bytes = static_cast<ULONG>(input.size());
        all.push_back(
            {name, code, bytes, output, whole, short_output, no_output, std::move(input)});
    };
    constexpr NTSTATUS overflow = STATUS_BUFFER_OVERFLOW;
    constexpr NTSTATUS bad = STATUS_INVALID_PARAMETER;
    constexpr NTSTATUS unknown = STATUS_OBJECT_NAME_NOT_FOUND;
    add("PING", IOCTL_WNBD_PING, 0, 0, 0, 0, base(IOCTL_WNBD_PING));

    WNBD_IOCTL_CREATE_COMMAND create{};
    create.IoControlCode = IOCTL_WNBD_CREATE;
    create.Properties = disk_properties(mapped_name, 100, 512);
    add("CREATE", IOCTL_WNBD_CREATE, sizeof(WNBD_CONNECTION_INFO), STATUS_OBJECT_NAME_COLLISION,
        bad, bad, bytes_of(create));
    WNBD_IOCTL_REMOVE_COMMAND remove{};
    remove.IoControlCode = IOCTL_WNBD_REMOVE;
    put(remove.InstanceName, "nobody");
    add("REMOVE", IOCTL_WNBD_REMOVE, 0, unknown, 0, 0, bytes_of(remove));
    WNBD_IOCTL_FETCH_REQ_COMMAND fetch{};
    fetch.IoControlCode = IOCTL_WNBD_FETCH_REQ;
    fetch.ConnectionId = 0x123456789;
    add("FETCH_REQ", IOCTL_WNBD_FETCH_REQ, sizeof fetch, STATUS_INVALID_HANDLE, bad, bad,
        bytes_of(fetch));
    WNBD_IOCTL_SEND_RSP_COMMAND send{};
    send.IoControlCode = IOCTL_WNBD_SEND_RSP;
    send.ConnectionId = mapped;
    send.Response.RequestHandle = 0x777;
    add("SEND_RSP", IOCTL_WNBD_SEND_RSP, 0, STATUS_NOT_FOUND, 0, 0, bytes_of(send));
    add("LIST", IOCTL_WNBD_LIST, 8 + sizeof(WNBD_CONNECTION_INFO), 0, overflow, 0,
        base(IOCTL_WNBD_LIST));
    WNBD_IOCTL_STATS_COMMAND stats{};
    stats.IoControlCode = IOCTL_WNBD_STATS;
    put(stats.InstanceName, mapped_name);
    add("STATS", IOCTL_WNBD_STATS, sizeof(WNBD_DRV_STATS), 0, overflow, overflow, bytes_of(stats));
    add("RELOAD_CONFIG", IOCTL_WNBD_RELOAD_CONFIG, 0, 0, 0, 0, base(IOCTL_WNBD_RELOAD_CONFIG));
    add("VERSION", IOCTL_WNBD_VERSION, sizeof(WNBD_VERSION), 0, overflow, overflow,
        base(IOCTL_WNBD_VERSION));
    WNBD_IOCTL_SHOW_COMMAND show{};
    show.IoControlCode = IOCTL_WNBD_SHOW;
    put(show.InstanceName, mapped_name);
    add("SHOW", IOCTL_WNBD_SHOW, sizeof(WNBD_CONNECTION_INFO), 0, overflow, overflow,
        bytes_of(show));
    add("GET_DRV_OPT", IOCTL_WNBD_GET_DRV_OPT, sizeof(WNBD_OPTION_VALUE), 0, overflow, overflow,
        with_option<WNBD_IOCTL_GET_DRV_OPT_COMMAND>(IOCTL_WNBD_GET_DRV_OPT, L"LogLevel"));
    add("SET_DRV_OPT", IOCTL_WNBD_SET_DRV_OPT, 0, unknown, 0, 0,
        with_option<WNBD_IOCTL_SET_DRV_OPT_COMMAND>(IOCTL_WNBD_SET_DRV_OPT, L"NoSuchOption"));
    add("RESET_DRV_OPT", IOCTL_WNBD_RESET_DRV_OPT, 0, 0, 0, 0,
        with_option<WNBD_IOCTL_RESET_DRV_OPT_COMMAND>(IOCTL_WNBD_RESET_DRV_OPT, L"LogLevel"));
    WNBD_IOCTL_LIST_DRV_OPT_COMMAND list{};
    list.IoControlCode = IOCTL_WNBD_LIST_DRV_OPT;
    add("LIST_DRV_OPT", IOCTL_WNBD_LIST_DRV_OPT, option_list_bytes, 0, overflow, 0, bytes_of(list));
    WNBD_IOCTL_SET_SIZE_COMMAND size{};
    size.IoControlCode = IOCTL_WNBD_SET_DISK_SIZE;
    size.ConnectionId = 0x123456789;
    size.BlockCount = 100;
    add("SET_DISK_SIZE", IOCTL_WNBD_SET_DISK_SIZE, 0, unknown, 0, 0, bytes_of(size));
    add("command 64", 64, 0, STATUS_INVALID_DEVICE_REQUEST, STATUS_INVALID_DEVICE_REQUEST,
        STATUS_INVALID_DEVICE_REQUEST, base(64));
    return all;
}

class Sweep {
  public:
    Sweep(Lab& lab, std::uint64_t seed)
        : owner_(100, lab.device()), foreign_(200, lab.device()), lab_(lab), random_(seed) {}

    bool begin() {
        if (!claim(owner_.opened() && foreign_.opened(), "the adapter can be opened")) return false;
        const NTSTATUS status = owner_.create(disk_properties(mapped_name, 100, 512), disk_);
        return claim(NT_SUCCESS(status), "CREATE gave %08lx", static_cast<unsigned long>(status));
    }
    void lengths();
    void wild_call_buffers();
    void wild_data_buffers();
    void foreign_process();
    void random_bytes(unsigned count);
    void end() { claim(NT_SUCCESS(owner_.remove(mapped_name)), "the disk can be removed"); }
    [[nodiscard]] std::uint64_t calls() const { return calls_; }

  private:
    void one(Client& client, const Command& command, ULONG input, ULONG output, NTSTATUS wanted);

    Client owner_;
    Client foreign_;
    Lab& lab_;
    std::mt19937_64 random_;
    WNBD_CONNECTION_INFO disk_{};
    std::uint64_t calls_ = 0;
};

void Sweep::one(Client& client, const Command& command, ULONG input, ULONG output,
                NTSTATUS wanted) {
    // Bytes behind the caller's output that must not change.
    constexpr std::uint8_t untouched = 0x5C;
    static std::vector<std::uint8_t> in, out;
    in.assign(command.input.begin(), command.input.end());
    in.resize(std::max<std::size_t>(in.size(), input) + 1);
    out.assign(std::size_t{output} + 64, untouched);
    ULONG returned = 0;
    const NTSTATUS status = client.control(in.data(), input, out.data(), output, returned);
    ++calls_;
    claim(status == wanted, "%s with %lu and %lu bytes gave %08lx, not %08lx", command.name,
          static_cast<unsigned long>(input), static_cast<unsigned long>(output),
          static_cast<unsigned long>(status), static_cast<unsigned long>(wanted));
    for (std::size_t at = output; at < out.size(); ++at) {
        if (out[at] == untouched) continue;
        claim(false, "%s wrote behind the output buffer of %lu bytes", command.name,
              static_cast<unsigned long>(output));
        break;
    }
}

void Sweep::lengths() {
    for (const Command& command : commands(disk_.ConnectionId)) {
        const ULONG in = command.input_bytes;
        const ULONG out = command.output_bytes;
        const ULONG some_outputs[] = {0, 1, out > 0 ? out - 1 : 0, out, out + 1};
        const ULONG some_inputs[] = {0, 3, 4, in - 1, in, in + 1};
        for (ULONG length = 0; length <= in + 1; ++length) {
            for (const ULONG output : some_outputs)
                one(owner_, command, length, output, expected(command, length, output));
        }
        for (ULONG length = 0; length <= out + 1; ++length) {
            for (const ULONG input : some_inputs)
                one(owner_, command, input, length, expected(command, input, length));
        }
    }
}

/// The pointers DeviceIoControl itself is given.
void Sweep::wild_call_buffers() {
    void* const wild[] = {reinterpret_cast<void*>(0x10), reinterpret_cast<void*>(0x123450000),
                          reinterpret_cast<void*>(0xFFFFF80000000000),
                          reinterpret_cast<void*>(~ULONG_PTR{7})};
    std::vector<std::uint8_t> out(32768);
    for (const Command& command : commands(disk_.ConnectionId)) {
        ULONG returned;
        NTSTATUS status = owner_.control(nullptr, command.input_bytes, out.data(),
                                         command.output_bytes, returned);
        claim(status == STATUS_INVALID_PARAMETER, "%s without input gave %08lx", command.name,
              static_cast<unsigned long>(status));
        status = owner_.control(command.input.data(), command.input_bytes, nullptr,
                                command.output_bytes, returned);
        const NTSTATUS wanted = command.output_bytes != 0 ? command.no_output : command.whole;
        claim(status == wanted, "%s without output gave %08lx, not %08lx", command.name,
              static_cast<unsigned long>(status), static_cast<unsigned long>(wanted));
        for (void* const pointer : wild) {
            status = owner_.control(pointer, command.input_bytes, out.data(), command.output_bytes,
                                    returned);
            claim(status == STATUS_ACCESS_VIOLATION, "%s with input at %p gave %08lx", command.name,
                  pointer, static_cast<unsigned long>(status));
            calls_ += 3;
        }
    }
}

/// The pointers inside FETCH_REQ and SEND_RSP, while there is a request that needs them.
void Sweep::wild_data_buffers() {
    static const char constant[512] = "read only";
    void* const bad_to_write[] = {nullptr,
                                  reinterpret_cast<void*>(0x10),
                                  reinterpret_cast<void*>(0x123450000),
                                  reinterpret_cast<void*>(0xFFFFF80000000000),
                                  reinterpret_cast<void*>(~ULONG_PTR{7}),
                                  const_cast<char*>(constant)};
    const wnbd::lab::Address address{static_cast<std::uint8_t>(disk_.BusNumber),
                                     static_cast<std::uint8_t>(disk_.TargetId),
                                     static_cast<std::uint8_t>(disk_.Lun)};
    std::vector<std::uint8_t> data(512, 0xAB), fetched(4096);
    const auto request_with = [&](std::uint8_t opcode, wnbd::lab::Direction direction,
                                  const std::function<void()>& serve, bool succeeds) {
        wnbd::lab::Request request;
        static std::atomic<std::uint32_t> done;
        done.store(0);
        request.address = address;
        request.cdb[0] = opcode;
        request.cdb[8] = 1;
        request.cdb_length = 10;
        request.direction = direction;
        request.data = data.data();
        request.data_length = 512;
        request.complete = [](wnbd::lab::Request&) {
            done.store(1);
            wnbd::lab::os::wake_all(&done);
        };
        wnbd::lab::submit(lab_.adapter(), request);
        serve();
        for (int waited = 0; done.load() == 0 && waited < 1000; ++waited)
            wnbd::lab::os::sleep_ms(5);
        if (!claim(done.load() == 1, "a request with a wild buffer on the way does not end"))
            wnbd::lab::os::exit_process(1);
        claim((request.srb_status == 1) == succeeds, "SRB status %02x", request.srb_status);
    };
    for (void* const pointer : bad_to_write) {
        // A write that cannot be delivered here is delivered to the next call.
        request_with(
            0x2A, wnbd::lab::Direction::Out,
            [&] {
                WNBD_IO_REQUEST request;
                NTSTATUS status = owner_.fetch(disk_.ConnectionId, request, pointer, 4096);
                claim(status == STATUS_ACCESS_VIOLATION ||
                          (pointer == nullptr && status == STATUS_INVALID_PARAMETER),
                      "FETCH into %p gave %08lx", pointer, static_cast<unsigned long>(status));
                status = owner_.fetch(disk_.ConnectionId, request, fetched.data(), 4096);
                claim(NT_SUCCESS(status) && request.RequestType == WnbdReqTypeWrite &&
                          fetched[0] == 0xAB,
                      "the write comes again: %08lx, type %d", static_cast<unsigned long>(status),
                      request.RequestType);
                owner_.respond(disk_.ConnectionId, request, WNBD_STATUS{}, nullptr, 0);
            },
            true);
        if (pointer == constant) continue;
        // A read whose reply's data cannot be taken fails.
        request_with(
            0x28, wnbd::lab::Direction::In,
            [&] {
                WNBD_IO_REQUEST request;
                NTSTATUS status = owner_.fetch(disk_.ConnectionId, request, fetched.data(), 4096);
                claim(NT_SUCCESS(status) && request.RequestType == WnbdReqTypeRead,
                      "the read is fetched");
                status = owner_.respond(disk_.ConnectionId, request, WNBD_STATUS{}, pointer, 512);
                claim(status ==
                          (pointer == nullptr ? STATUS_INVALID_PARAMETER : STATUS_ACCESS_VIOLATION),
                      "SEND_RSP from %p gave %08lx", pointer, static_cast<unsigned long>(status));
                status =
                    owner_.respond(disk_.ConnectionId, request, WNBD_STATUS{}, data.data(), 512);
                claim(status == STATUS_NOT_FOUND, "the handle is used up: %08lx",
                      static_cast<unsigned long>(status));
            },
            false);
        calls_ += 4;
    }
    // A buffer too small for a write's payload.
    request_with(
        0x2A, wnbd::lab::Direction::Out,
        [&] {
            WNBD_IO_REQUEST request;
            const NTSTATUS status = owner_.fetch(disk_.ConnectionId, request, fetched.data(), 511);
            claim(status == STATUS_BUFFER_TOO_SMALL, "FETCH into 511 bytes gave %08lx",
                  static_cast<unsigned long>(status));
        },
        false);
}

void Sweep::foreign_process() {
    for (const Command& command : commands(disk_.ConnectionId)) {
        NTSTATUS wanted = expected(command, command.input_bytes, command.output_bytes);
        if (command.code == IOCTL_WNBD_SEND_RSP) wanted = STATUS_ACCESS_DENIED;
        one(foreign_, command, command.input_bytes, command.output_bytes, wanted);
    }
    WNBD_IO_REQUEST request;
    const NTSTATUS status = foreign_.fetch(disk_.ConnectionId, request, nullptr, 0);
    claim(status == STATUS_ACCESS_DENIED, "FETCH of a foreign disk gave %08lx",
          static_cast<unsigned long>(status));
    // The right process's id, on another handle, and other control codes.
    std::uint8_t buffer[64] = {IOCTL_WNBD_PING};
    const process::ProcessScope scope(owner_.process());
    ULONG returned;
    for (const ULONG code : {0x0004D00CU, 0x0004D03CU, 0x00222000U}) {
        const NTSTATUS other =
            owner_.file().device_io_control(code, buffer, 64, buffer, 64, returned);
        claim(!NT_SUCCESS(other), "control code %08lx gave %08lx", static_cast<unsigned long>(code),
              static_cast<unsigned long>(other));
    }
}

void Sweep::random_bytes(unsigned count) {
    std::vector<std::uint8_t> in, out(32768);
    for (unsigned index = 0; index < count; ++index) {
        const std::vector<Command> all = commands(disk_.ConnectionId);
        const Command& command = all[random_() % all.size()];
        // A fetch from the mapped disk would wait, as it should; those of the sweep name no disk.
        in = command.input;
        in.resize(in.size() + random_() % 64);
        for (std::uint64_t changes = random_() % 32; changes > 0; --changes) {
            const std::size_t at = 4 + random_() % (in.size() > 4 ? in.size() - 4 : 1);
            if (at < in.size()) in[at] = static_cast<std::uint8_t>(random_());
        }
        ULONG returned = 0;
        owner_.control(in.data(), static_cast<ULONG>(in.size()), out.data(),
                       static_cast<ULONG>(random_() % out.size()), returned);
        ++calls_;
    }
    // Random CREATEs may have made disks: all but ours go.
    const auto list = base(IOCTL_WNBD_LIST);
    std::vector<std::uint8_t> reply(8 + 200 * sizeof(WNBD_CONNECTION_INFO));
    ULONG returned;
    const NTSTATUS status =
        owner_.control(list.data(), 4, reply.data(), static_cast<ULONG>(reply.size()), returned);
    claim(NT_SUCCESS(status), "LIST gave %08lx", static_cast<unsigned long>(status));
    const auto& head = *reinterpret_cast<const WNBD_CONNECTION_LIST*>(reply.data());
    for (UINT32 index = 0; index < head.Count; ++index) {
        const char* const name = head.Connections[index].Properties.InstanceName;
        if (std::strcmp(name, mapped_name) != 0)
            claim(NT_SUCCESS(owner_.remove(name)), "a random disk can be removed");
    }
}

}  // namespace

int main(int argc, char** argv) {
    std::uint64_t seed = 1;
    unsigned random = 20'000;
    for (int index = 2; index + 1 < argc; index += 2) {
        if (std::strcmp(argv[index], "--seed") == 0)
            seed = std::strtoull(argv[index + 1], nullptr, 0);
        if (std::strcmp(argv[index], "--random") == 0)
            random = static_cast<unsigned>(std::atoi(argv[index + 1]));
    }
    if (argc < 2) {
        std::puts("usage: ioctl_sweep WNBD.SYS [--seed N] [--random N]");
        return 2;
    }
    Lab lab;
    if (!lab.start(argv[1])) {
        std::printf("cannot start: %s\n", lab.error().c_str());
        return 2;
    }
    process::use_exact_system_buffers(true);
    {
        Sweep sweep(lab, seed);
        if (sweep.begin()) {
            sweep.lengths();
            sweep.wild_call_buffers();
            sweep.foreign_process();
            sweep.wild_data_buffers();
            sweep.random_bytes(random);
            sweep.end();
        }
        std::printf("ioctl_sweep: seed %llu, %llu calls\n", static_cast<unsigned long long>(seed),
                    static_cast<unsigned long long>(sweep.calls()));
    }
    claim(lab.stop(), "the adapter cannot be removed: %s", lab.error().c_str());
    return process::exit_code(report("ioctl_sweep"));
}
