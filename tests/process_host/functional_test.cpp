// SPDX-License-Identifier: LGPL-2.1-or-later
// What wnbd.sys does, seen from the initiator, from the serving process and from PnP, one claim
// after the other. Usage: functional_test WNBD.SYS
#include <atomic>
#include <cstring>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "base/big_endian.h"
#include "lab/kernel/os.h"
#include "lab/kernel/verifier.h"
#include "tests/process_host/check.h"
#include "tests/process_host/memory_server.h"

using namespace wnbd::test;
using wnbd::load_big_endian;
using wnbd::store_big_endian;
using wnbd::lab::Address;
using wnbd::lab::Direction;
using wnbd::lab::SrbForm;
namespace os = wnbd::lab::os;

namespace {

using Bytes = std::vector<std::uint8_t>;

Bytes cdb10(std::uint8_t opcode, std::uint32_t block, std::uint16_t count, std::uint8_t flags = 0) {
    Bytes cdb(10);
    cdb[0] = opcode;
    cdb[1] = flags;
    store_big_endian(cdb.data() + 2, block);
    store_big_endian(cdb.data() + 7, count);
    return cdb;
}

Bytes cdb16(std::uint8_t opcode, std::uint64_t block, std::uint32_t count, std::uint8_t flags = 0) {
    Bytes cdb(16);
    cdb[0] = opcode;
    cdb[1] = flags;
    store_big_endian(cdb.data() + 2, block);
    store_big_endian(cdb.data() + 10, count);
    return cdb;
}

Bytes pattern(std::size_t bytes, unsigned seed) {
    Bytes data(bytes);
    for (std::size_t at = 0; at < bytes; ++at)
        data[at] = static_cast<std::uint8_t>(at * 7 + at / 251 + seed);
    return data;
}

bool same(const Bytes& memory, std::size_t offset, const Bytes& data) {
    return memory.size() >= offset + data.size() &&
           std::memcmp(memory.data() + offset, data.data(), data.size()) == 0;
}

void expect_good(const char* what, const ScsiResult& result) {
    claim(result.good(), "%s: SRB %02x, SCSI %02x, sense %x/%02x/%02x", what, result.srb_status,
          result.scsi_status, result.sense_key, result.asc, result.ascq);
}

void expect_sense(const char* what, const ScsiResult& result, unsigned key, unsigned asc,
                  unsigned ascq) {
    claim(result.scsi_status == 2 && result.sense_key == key && result.asc == asc &&
              result.ascq == ascq,
          "%s: SCSI %02x, sense %x/%02x/%02x, not %x/%02x/%02x", what, result.scsi_status,
          result.sense_key, result.asc, result.ascq, key, asc, ascq);
}

class Disk {
  public:
    Disk(Lab& lab, std::uint32_t block_size, std::uint64_t blocks = 1000)
        : lab_(lab), server_(lab, 500) {
        // The end of a disk before may still be PnP's business; it is the stress that lets the two
        // overlap.
        claim(process::wait_for_scans(60'000), "scans end");
        ready_ = server_.start(disk_properties("functional", blocks, block_size), 2);
    }
    [[nodiscard]] bool ready() const { return ready_; }
    MemoryServer& server() { return server_; }
    ScsiResult run(const Bytes& cdb, Direction direction, Bytes& data,
                   SrbForm form = SrbForm::Alternate) {
        return scsi(lab_.adapter(), server_.address(), cdb, direction, data.data(),
                    static_cast<std::uint32_t>(data.size()), form);
    }
    ScsiResult run(const Bytes& cdb) { return scsi(lab_.adapter(), server_.address(), cdb); }

  private:
    Lab& lab_;
    MemoryServer server_;
    bool ready_;
};

void read_and_write(Disk& disk, std::uint32_t block_size) {
    for (const SrbForm form : {SrbForm::Classic, SrbForm::Extended}) {
        const auto seed = static_cast<unsigned>(form);
        Bytes out = pattern(3 * block_size, seed);
        expect_good("WRITE(10)", disk.run(cdb10(0x2A, 5, 3), Direction::Out, out, form));
        claim(same(disk.server().memory, 5 * block_size, out), "WRITE(10) reaches the server");
        Bytes in(3 * block_size);
        const ScsiResult read = disk.run(cdb16(0x88, 5, 3), Direction::In, in, form);
        expect_good("READ(16)", read);
        claim(in == out && read.transferred == in.size(), "READ(16) gives what was written");
        out = pattern(block_size, seed + 9);
        expect_good("WRITE(16) with FUA",
                    disk.run(cdb16(0x8A, 999, 1, 0x08), Direction::Out, out, form));
        claim(same(disk.server().memory, 999 * block_size, out), "the last block can be written");
    }
    claim(disk.server().seen.forced.load() == 2, "FUA reaches the server");
    Bytes big(2 * 1024 * 1024);
    const std::uint32_t most = static_cast<std::uint32_t>(big.size()) / block_size;
    if (most <= 1000)
        expect_good("a read of 2 MiB", disk.run(cdb16(0x88, 0, most), Direction::In, big));
    expect_good("SYNCHRONIZE CACHE", disk.run(cdb10(0x35, 0, 0)));
    claim(disk.server().seen.flushes.load() == 1, "the flush reaches the server");
}

void refusals(Disk& disk, std::uint32_t block_size) {
    Bytes data(2 * block_size);
    expect_sense("a read behind the end", disk.run(cdb16(0x88, 999, 2), Direction::In, data), 5,
                 0x21, 0);
    expect_sense("a read of 2^64-1", disk.run(cdb16(0x88, ~0ULL, 2), Direction::In, data), 5, 0x21,
                 0);
    expect_sense("an unknown opcode", disk.run(Bytes{0xEE, 0, 0, 0, 0, 0}), 5, 0x20, 0);
    disk.server().answer.ScsiStatus = 2;
    disk.server().answer.SenseKey = 3;
    disk.server().answer.ASC = 0x11;
    expect_sense("a medium error", disk.run(cdb10(0x28, 0, 2), Direction::In, data), 3, 0x11, 0);
    disk.server().answer = {};
    expect_good("after it", disk.run(cdb10(0x28, 0, 2), Direction::In, data));
}

void composed_commands(Disk& disk, std::uint32_t block_size) {
    MemoryServer& server = disk.server();
    Bytes first = pattern(block_size, 1);
    Bytes second = pattern(block_size, 2);
    expect_good("WRITE", disk.run(cdb10(0x2A, 20, 1), Direction::Out, first));
    expect_good("VERIFY of what is there",
                disk.run(cdb10(0x2F, 20, 1, 0x02), Direction::Out, first));
    expect_sense("VERIFY of something else",
                 disk.run(cdb10(0x2F, 20, 1, 0x02), Direction::Out, second), 0xE, 0x1D, 0);
    expect_good("VERIFY without data", disk.run(cdb10(0x2F, 20, 1)));

    expect_good("WRITE SAME(16)", disk.run(cdb16(0x93, 30, 5), Direction::Out, second));
    bool all = true;
    for (std::size_t block = 30; block < 35; ++block)
        all = all && same(server.memory, block * block_size, second);
    claim(all && !same(server.memory, 35 * block_size, second), "WRITE SAME fills its five blocks");

    Bytes both = first;
    both.insert(both.end(), second.begin(), second.end());
    Bytes compare = cdb16(0x89, 20, 0);
    compare[13] = 1;
    expect_good("COMPARE AND WRITE that matches", disk.run(compare, Direction::Out, both));
    claim(same(server.memory, 20 * block_size, second), "it writes");
    expect_sense("COMPARE AND WRITE that does not", disk.run(compare, Direction::Out, both), 0xE,
                 0x1D, 0);
    claim(same(server.memory, 20 * block_size, second), "it does not write");

    Bytes list(8 + 2 * 16);
    store_big_endian<std::uint16_t>(list.data(), static_cast<std::uint16_t>(list.size() - 2));
    store_big_endian<std::uint16_t>(list.data() + 2, 32);
    store_big_endian<std::uint64_t>(list.data() + 8, 30);
    store_big_endian<std::uint32_t>(list.data() + 16, 2);
    store_big_endian<std::uint64_t>(list.data() + 24, 34);
    store_big_endian<std::uint32_t>(list.data() + 32, 1);
    Bytes unmap(10);
    unmap[0] = 0x42;
    unmap[8] = static_cast<std::uint8_t>(list.size());
    expect_good("UNMAP of two ranges", disk.run(unmap, Direction::Out, list));
    const Bytes zeroes(block_size);
    claim(same(server.memory, 30 * block_size, zeroes) &&
              same(server.memory, 31 * block_size, zeroes) &&
              same(server.memory, 32 * block_size, second) &&
              same(server.memory, 34 * block_size, zeroes),
          "UNMAP reaches exactly its blocks");
}

void resizing(Disk& disk, std::uint32_t block_size) {
    Bytes capacity(32);
    Bytes cdb(16);
    cdb[0] = 0x9E;
    cdb[1] = 0x10;
    cdb[13] = 32;
    expect_good("READ CAPACITY(16)", disk.run(cdb, Direction::In, capacity));
    claim(load_big_endian<std::uint64_t>(capacity.data()) == 999 &&
              load_big_endian<std::uint32_t>(capacity.data() + 8) == block_size,
          "capacity and block size are told");
    const NTSTATUS status = disk.server().client().resize(disk.server().id(), 800);
    claim(NT_SUCCESS(status), "SET_DISK_SIZE gave %08lx", static_cast<unsigned long>(status));
    Bytes data(block_size);
    expect_sense("the next command", disk.run(cdb10(0x28, 0, 1), Direction::In, data), 6, 0x2A,
                 0x09);
    expect_good("the one after", disk.run(cdb10(0x28, 0, 1), Direction::In, data));
    expect_good("READ CAPACITY(16)", disk.run(cdb, Direction::In, capacity));
    claim(load_big_endian<std::uint64_t>(capacity.data()) == 799, "the new capacity is told");
    expect_sense("a read behind the new end", disk.run(cdb10(0x28, 800, 1), Direction::In, data), 5,
                 0x21, 0);
}

void counters_add_up(Disk& disk) {
    WNBD_DRV_STATS stats{};
    const NTSTATUS status = disk.server().client().stats("functional", stats);
    claim(NT_SUCCESS(status), "STATS gave %08lx", static_cast<unsigned long>(status));
    claim(stats.OutstandingIOCount == 0 && stats.PendingSubmittedIORequests == 0 &&
              stats.UnsubmittedIORequests == 0,
          "nothing is outstanding at rest");
    claim(stats.TotalSubmittedIORequests == stats.TotalReceivedIOReplies,
          "%lld submitted, %lld replies", static_cast<long long>(stats.TotalSubmittedIORequests),
          static_cast<long long>(stats.TotalReceivedIOReplies));
}

/// A read that is sent and not waited for.
struct Pending {
    wnbd::lab::Request request;
    Bytes data;
    std::atomic<std::uint32_t> done{0};

    void submit(Lab& lab, Address address, std::uint32_t block_size) {
        data.resize(block_size);
        const Bytes cdb = cdb10(0x28, 0, 1);
        request.address = address;
        std::memcpy(request.cdb, cdb.data(), cdb.size());
        request.cdb_length = 10;
        request.direction = Direction::In;
        request.data = data.data();
        request.data_length = block_size;
        request.context = this;
        request.complete = [](wnbd::lab::Request& finished) {
            auto& self = *static_cast<Pending*>(finished.context);
            self.done.store(1);
            os::wake_all(&self.done);
        };
        wnbd::lab::submit(lab.adapter(), request);
    }
    bool wait(unsigned milliseconds) {
        for (unsigned waited = 0; done.load() == 0 && waited < milliseconds; ++waited)
            os::sleep_ms(1);
        return done.load() != 0;
    }
};

/// Waits until the server holds that many requests back.
void wait_until_held(MemoryServer& server, std::uint64_t count) {
    for (int waited = 0; server.in_hand.load() != count && waited < 5000; ++waited)
        os::sleep_ms(1);
    claim(server.in_hand.load() == count, "the server has %llu requests in hand, not %llu",
          static_cast<unsigned long long>(server.in_hand.load()),
          static_cast<unsigned long long>(count));
}

void plug_and_play(Lab& lab) {
    Disk disk(lab, 512);
    if (!disk.ready()) return;
    PDEVICE_OBJECT const root = lab.host().adapter_pdo();
    claim(process::wait_for_scans(20'000), "scans end");
    auto children = process::children_of(root);
    if (!claim(children.size() == 1, "%zu devices for one disk", children.size())) return;
    WNBD_CONNECTION_INFO info{};
    claim(NT_SUCCESS(disk.server().client().show("functional", info)), "SHOW");
    const std::wstring path = children[0].device_id + L"\\" + children[0].instance_id;
    claim(path == info.PNPDeviceID, "SHOW tells \"%ls\", PnP calls it \"%ls\"",
          reinterpret_cast<const wchar_t*>(info.PNPDeviceID), path.c_str());

    // A disk at work is not taken away; one at rest is, and for good.
    disk.server().hold.store(true);
    Pending pending;
    pending.submit(lab, disk.server().address(), 512);
    wait_until_held(disk.server(), 1);
    NTSTATUS status = process::eject_child(children[0].pdo);
    claim(status == STATUS_DEVICE_BUSY, "ejecting a busy disk gave %08lx",
          static_cast<unsigned long>(status));
    disk.server().hold.store(false);
    claim(pending.wait(5000) && pending.request.srb_status == 1, "the read ends well");
    status = process::eject_child(children[0].pdo);
    claim(NT_SUCCESS(status), "ejecting an idle disk gave %08lx",
          static_cast<unsigned long>(status));
    for (int waited = 0;
         waited < 2000 && NT_SUCCESS(disk.server().client().show("functional", info)); ++waited) {
        os::sleep_ms(1);
    }
    status = disk.server().client().show("functional", info);
    claim(status == STATUS_OBJECT_NAME_NOT_FOUND, "an ejected disk still answers: %08lx",
          static_cast<unsigned long>(status));
    claim(process::wait_for_scans(20'000) && process::children_of(root).empty(),
          "its device is gone");
}

void resets_and_death(Lab& lab) {
    auto disk = std::make_unique<Disk>(lab, 512);
    if (!disk->ready()) return;
    const Address address = disk->server().address();
    struct {
        const char* name;
        std::function<void()> act;
    } const resets[] = {
        {"a LUN reset", [&] { wnbd::lab::reset_logical_unit(lab.adapter(), address); }},
        {"a target reset", [&] { wnbd::lab::reset_target(lab.adapter(), address); }},
        {"a bus reset", [&] { wnbd::lab::reset_bus(lab.adapter(), 0); }},
    };
    for (const auto& reset : resets) {
        // Both server threads get one, the third waits in the driver.
        disk->server().hold.store(true);
        Pending pending[3];
        for (Pending& each : pending)
            each.submit(lab, address, 512);
        wait_until_held(disk->server(), 2);
        reset.act();
        for (Pending& each : pending) {
            claim(each.wait(5000) && each.request.srb_status != 1,
                  "%s ends what is out: SRB status %02x", reset.name, each.request.srb_status);
        }
        disk->server().hold.store(false);
        wait_until_held(disk->server(), 0);
        Bytes data(512);
        for (int attempt = 0;
             attempt < 3 && !disk->run(cdb10(0x28, 0, 1), Direction::In, data).good(); ++attempt) {
        }
        expect_good("a read after the reset", disk->run(cdb10(0x28, 0, 1), Direction::In, data));
    }
    // The owner dies with requests in hand: they end, and the disk goes.
    disk->server().hold.store(true);
    Pending pending[3];
    for (Pending& each : pending)
        each.submit(lab, address, 512);
    wait_until_held(disk->server(), 2);
    claim(disk->server().client().kill(), "the serving process can be killed");
    for (Pending& each : pending) {
        claim(each.wait(5000) && each.request.srb_status != 1,
              "the owner's death ends what is out: SRB status %02x", each.request.srb_status);
    }
    Client other(900, lab.device());
    WNBD_CONNECTION_INFO info{};
    claim(other.show("functional", info) == STATUS_OBJECT_NAME_NOT_FOUND,
          "the dead owner's disk is gone");
}

/// Nothing is out: all its threads wait in the driver.
void idle_death(Lab& lab) {
    auto disk = std::make_unique<Disk>(lab, 512);
    if (!disk->ready()) return;
    os::sleep_ms(50);
    claim(disk->server().client().kill(), "a process that waits for requests can be killed");
    Client other(907, lab.device());
    WNBD_CONNECTION_INFO info{};
    claim(other.show("functional", info) == STATUS_OBJECT_NAME_NOT_FOUND, "and its disk goes");
}

void handle_closed(Lab& lab) {
    Client other(901, lab.device());
    {
        Client owner(902, lab.device());
        WNBD_CONNECTION_INFO info{};
        claim(NT_SUCCESS(owner.create(disk_properties("closing", 100, 512), info)), "CREATE");
        claim(NT_SUCCESS(other.show("closing", info)), "SHOW finds it");
    }
    WNBD_CONNECTION_INFO info{};
    claim(other.show("closing", info) == STATUS_OBJECT_NAME_NOT_FOUND,
          "closing the owner's handle removes its disk");
}

/// A thread that has looked a handle up, and not sent its call yet, when the handle is closed.
class Overtaken {
  public:
    Overtaken(Lab& lab, std::uint64_t process_id) : process_(process_id) {
        NTSTATUS status = STATUS_SUCCESS;
        file_ = process::File::open(process_, lab.device(), status);
        claim(file_ != nullptr, "the adapter can be opened: %08lx",
              static_cast<unsigned long>(status));
        file_->reference();
        process::File::close(file_);
    }
    ~Overtaken() { process::File::release(file_); }
    Overtaken(const Overtaken&) = delete;
    Overtaken& operator=(const Overtaken&) = delete;

    template <typename Command, typename Reply>
    NTSTATUS call(const Command& command, Reply& reply) {
        const process::ProcessScope scope(process_);
        ULONG returned = 0;
        return file_->device_io_control(service_ioctl, &command, sizeof command, &reply,
                                        sizeof reply, returned);
    }

  private:
    process::Process process_;
    process::File* file_;
};

void handle_closed_under_a_call(Lab& lab) {
    Client other(904, lab.device());
    WNBD_CONNECTION_INFO info{};
    {
        Overtaken creator(lab, 905);
        WNBD_IOCTL_CREATE_COMMAND create{};
        create.IoControlCode = IOCTL_WNBD_CREATE;
        create.Properties = disk_properties("late", 100, 512);
        claim(NT_SUCCESS(creator.call(create, info)), "a CREATE that its handle's end overtakes");
    }
    claim(other.show("late", info) == STATUS_OBJECT_NAME_NOT_FOUND,
          "a disk made after its handle was closed goes with the call");

    WNBD_PROPERTIES properties = disk_properties("adopted", 100, 512);
    properties.Pid = 906;
    claim(NT_SUCCESS(other.create(properties, info)), "CREATE for another process");
    Pending read;
    read.submit(lab, {0, static_cast<std::uint8_t>(info.TargetId), 0}, 512);
    {
        Overtaken server(lab, 906);
        WNBD_IOCTL_FETCH_REQ_COMMAND fetch{};
        fetch.IoControlCode = IOCTL_WNBD_FETCH_REQ;
        fetch.ConnectionId = info.ConnectionId;
        claim(NT_SUCCESS(server.call(fetch, fetch)) && fetch.Request.RequestType == WnbdReqTypeRead,
              "a FETCH_REQ that its handle's end overtakes");
        claim(NT_SUCCESS(other.show("adopted", info)), "its disk stays while the call lasts");
    }
    claim(other.show("adopted", info) == STATUS_OBJECT_NAME_NOT_FOUND,
          "a disk that a closed handle became the owner of goes with the call");
    claim(read.wait(5000) && read.request.srb_status != 1, "and what was out has failed");
}

void handle_closed_under_a_waiting_fetch(Lab& lab) {
    Client other(908, lab.device());
    process::Process owner(909);
    NTSTATUS status = STATUS_SUCCESS;
    process::File* const file = process::File::open(owner, lab.device(), status);
    if (!claim(file != nullptr, "the adapter can be opened: %08lx",
               static_cast<unsigned long>(status)))
        return;
    WNBD_IOCTL_CREATE_COMMAND create{};
    create.IoControlCode = IOCTL_WNBD_CREATE;
    create.Properties = disk_properties("waiting", 100, 512);
    WNBD_CONNECTION_INFO info{};
    const auto call = [&](const auto& command, auto& reply) {
        const process::ProcessScope scope(owner);
        ULONG returned = 0;
        return file->device_io_control(service_ioctl, &command, sizeof command, &reply,
                                       sizeof reply, returned);
    };
    claim(NT_SUCCESS(call(create, info)), "CREATE");
    file->reference();
    std::atomic<bool> ended{false};
    std::thread fetcher([&] {
        WNBD_IOCTL_FETCH_REQ_COMMAND fetch{};
        fetch.IoControlCode = IOCTL_WNBD_FETCH_REQ;
        fetch.ConnectionId = info.ConnectionId;
        while (NT_SUCCESS(call(fetch, fetch)) &&
               fetch.Request.RequestType != WnbdReqTypeDisconnect) {
        }
        process::File::release(file);
        ended.store(true);
    });
    os::sleep_ms(50);
    process::File::close(file);
    for (unsigned waited = 0; !ended.load() && waited < 20'000; ++waited)
        os::sleep_ms(1);
    claim(ended.load(), "a waiting FETCH_REQ ends when its handle is closed");
    const bool gone = other.show("waiting", info) == STATUS_OBJECT_NAME_NOT_FOUND;
    claim(gone, "and the disk goes");
    if (!gone) other.remove("waiting");
    fetcher.join();
}

void many_disks(Lab& lab) {
    Client owner(903, lab.device());
    WNBD_CONNECTION_INFO info{};
    char name[32];
    unsigned made = 0;
    NTSTATUS status = STATUS_SUCCESS;
    for (; made < 200; ++made) {
        std::snprintf(name, sizeof name, "disk-%u", made);
        status = owner.create(disk_properties(name, 100, 512), info);
        if (!NT_SUCCESS(status)) break;
    }
    claim(made == 128 && status == STATUS_TOO_MANY_ADDRESSES, "%u disks, then %08lx", made,
          static_cast<unsigned long>(status));
    claim(process::wait_for_scans(60'000), "the scan ends");
    claim(process::children_of(lab.host().adapter_pdo()).size() == made,
          "each disk has its device");
    // The handle's end takes them all away.
}

void with_block_size(Lab& lab, std::uint32_t block_size) {
    Disk disk(lab, block_size);
    if (!disk.ready()) return;
    read_and_write(disk, block_size);
    refusals(disk, block_size);
    composed_commands(disk, block_size);
    resizing(disk, block_size);
    counters_add_up(disk);
}

/// The adapter goes while a disk is at work.
void adapter_vanishes(Lab& lab) {
    auto disk = std::make_unique<Disk>(lab, 512);
    if (!disk->ready()) return;
    disk->server().hold.store(true);
    Pending pending;
    pending.submit(lab, disk->server().address(), 512);
    wait_until_held(disk->server(), 1);
    claim(process::wait_for_scans(20'000), "scans end");
    claim(lab.host().stop_adapter(true), "surprise removal");
    claim(pending.wait(5000) && pending.request.srb_status != 1, "its end ends what is out");
    disk->server().hold.store(false);
    disk.reset();  // closes the handle after the adapter is gone
}

/// The adapter goes before PnP has found any of its disks, so that no device's removal takes them
/// away first: each serving thread, of whichever disk, is told.
void adapter_goes_before_its_disks_are_found(Lab& lab) {
    claim(process::wait_for_scans(60'000), "scans end");
    process::ignore_bus_changes(true);
    std::vector<std::unique_ptr<MemoryServer>> servers;
    for (unsigned i = 0; i < 3; ++i) {
        servers.push_back(std::make_unique<MemoryServer>(lab, 910 + i));
        const std::string name = "unseen-" + std::to_string(i);
        claim(servers.back()->start(disk_properties(name.c_str(), 100, 512), 2), "it is mapped");
    }
    claim(process::children_of(lab.host().adapter_pdo()).empty(), "PnP knows none of them");
    claim(lab.host().stop_adapter(false), "the adapter can go");
    process::ignore_bus_changes(false);
    servers.clear();  // waits for the serving threads
}

}  // namespace

int main(int argc, char** argv) {
    if (argc != 2) {
        std::puts("usage: functional_test WNBD.SYS");
        return 2;
    }
    for (int round = 0; round < 2; ++round) {
        Lab lab;
        if (!lab.start(argv[1])) {
            std::printf("cannot start: %s\n", lab.error().c_str());
            return 2;
        }
        process::use_exact_system_buffers(round == 0);
        with_block_size(lab, 512);
        with_block_size(lab, 4096);
        plug_and_play(lab);
        resets_and_death(lab);
        idle_death(lab);
        handle_closed(lab);
        handle_closed_under_a_call(lab);
        handle_closed_under_a_waiting_fetch(lab);
        many_disks(lab);
        if (round == 0) adapter_goes_before_its_disks_are_found(lab);
        if (round == 1) adapter_vanishes(lab);
        claim(lab.stop(), "the driver unloads: %s", lab.error().c_str());
    }
    return process::exit_code(report("functional_test"));
}
