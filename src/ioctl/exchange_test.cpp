// SPDX-License-Identifier: LGPL-2.1-or-later
// FETCH_REQ and SEND_RSP: what goes out, what comes back, and every way to get it wrong.
#include <gtest/gtest.h>

#include <thread>

#include "ioctl/test_host.h"

namespace wnbd::ioctl {
namespace {

using namespace test;
using engine::model::block_size;

struct Command : engine::model::Srb {
    explicit Command(const engine::model::Cdb& with, std::size_t length = 0) : bytes(length) {
        cdb = with;
        buffer = bytes.data();
        buffer_length = bytes.size();
    }
    std::vector<std::uint8_t> bytes;
};

Command unmap_command(std::initializer_list<std::pair<std::uint64_t, std::uint32_t>> ranges) {
    Command command(engine::model::Cdb{0x42}, 8 + 16 * ranges.size());
    command.cdb_length = 10;
    const auto length = static_cast<std::uint16_t>(command.bytes.size());
    store_big_endian<std::uint16_t>(&command.cdb[7], length);
    store_big_endian<std::uint16_t>(&command.bytes[0], static_cast<std::uint16_t>(length - 2));
    store_big_endian<std::uint16_t>(&command.bytes[2], static_cast<std::uint16_t>(length - 8));
    std::size_t at = 8;
    for (const auto& [lba, blocks] : ranges) {
        store_big_endian<std::uint64_t>(&command.bytes[at], lba);
        store_big_endian<std::uint32_t>(&command.bytes[at + 8], blocks);
        at += 16;
    }
    return command;
}

Command reserve_in(std::uint16_t allocation) {
    Command command(engine::model::Cdb{0x5E, 0x01}, allocation);
    command.cdb_length = 10;
    store_big_endian<std::uint16_t>(&command.cdb[7], allocation);
    return command;
}

Command reserve_out() {
    Command command(engine::model::Cdb{0x5F, 0x01, 0x05}, 24);
    command.cdb_length = 10;
    store_big_endian<std::uint32_t>(&command.cdb[5], 24);
    std::fill(command.bytes.begin(), command.bytes.end(), 0x6B);
    command.bytes[20] = 0;
    return command;
}

struct ExchangeTest : testing::Test {
    void SetUp() override {
        ASSERT_EQ(host.call(create_command("disk"), sizeof(WNBD_CONNECTION_INFO)).status,
                  nt::success);
        connection = host.reply<WNBD_CONNECTION_INFO>().ConnectionId;
        user.assign(std::size_t{8} * block_size, 0xEE);
        host.memory.add(user);
    }
    void TearDown() override { EXPECT_EQ(host.memory.mapped, 0u); }

    void post(Command& command) {
        const engine::UnitReference unit = host.adapter->find(connection);
        ASSERT_TRUE(unit);
        scsi::Answer answer;
        ASSERT_EQ(unit->disk.start(&command, command.command(), answer),
                  engine::Disk::Start::pending)
            << std::hex << static_cast<unsigned>(answer.sense.asc);
    }

    engine::Counters counters() { return host.adapter->find(connection)->disk.counters(); }

    nt::Status fetch(void* buffer, std::size_t length) {
        const Completion completion =
            host.call(fetch_command(connection, buffer, static_cast<UINT32>(length)),
                      sizeof(WNBD_IOCTL_FETCH_REQ_COMMAND));
        request = host.reply<WNBD_IOCTL_FETCH_REQ_COMMAND>().Request;
        EXPECT_EQ(completion.information,
                  completion.status == nt::success ? sizeof(WNBD_IOCTL_FETCH_REQ_COMMAND) : 0u);
        return completion.status;
    }
    nt::Status fetch() { return fetch(user.data(), user.size()); }

    nt::Status send(void* buffer, std::size_t length) {
        return host.call(send_command(connection, request, buffer, static_cast<UINT32>(length)))
            .status;
    }

    Host host;
    WNBD_CONNECTION_ID connection = 0;
    std::vector<std::uint8_t> user;
    WNBD_IO_REQUEST request{};
};

TEST_F(ExchangeTest, AReadGoesOutWithoutTouchingMemoryAndComesBackWithData) {
    Command read(engine::model::read_cdb(7, 2), std::size_t{2} * block_size);
    post(read);
    ASSERT_EQ(fetch(nullptr, 0), nt::success);
    EXPECT_EQ(host.memory.maps, 0u);
    EXPECT_EQ(request.RequestType, WnbdReqTypeRead);
    EXPECT_EQ(request.Cmd.Read.BlockAddress, 7u);
    EXPECT_EQ(request.Cmd.Read.BlockCount, 2u);
    EXPECT_EQ(request.Cmd.Read.ForceUnitAccess, 0u);
    EXPECT_NE(request.RequestHandle, 0u);
    // A buffer longer than the request: only what the request takes is locked.
    std::vector<std::uint8_t> exact(std::size_t{2} * block_size, 0x21);
    host.memory.add(exact);
    EXPECT_EQ(send(exact.data(), WNBD_DEFAULT_MAX_TRANSFER_LENGTH), nt::success);
    EXPECT_TRUE(read.succeeded());
    EXPECT_EQ(read.bytes, exact);
    EXPECT_EQ(send(exact.data(), exact.size()), nt::not_found) << "a handle is good once";
}

TEST_F(ExchangeTest, AWriteBringsItsPayload) {
    Command write(engine::model::write_cdb(9, 1), block_size);
    std::fill(write.bytes.begin(), write.bytes.end(), 0x44);
    post(write);
    ASSERT_EQ(fetch(), nt::success);
    EXPECT_EQ(request.RequestType, WnbdReqTypeWrite);
    EXPECT_EQ(request.Cmd.Write.BlockAddress, 9u);
    EXPECT_TRUE(std::equal(write.bytes.begin(), write.bytes.end(), user.begin()));
    EXPECT_EQ(user[block_size], 0xEE) << "not a byte more";
    EXPECT_EQ(send(nullptr, 0), nt::success);
    EXPECT_TRUE(write.succeeded());
}

TEST_F(ExchangeTest, AFlushAndReservationsGoOut) {
    Command flush(engine::model::synchronize_cache_cdb());
    post(flush);
    ASSERT_EQ(fetch(nullptr, 0), nt::success);
    EXPECT_EQ(request.RequestType, WnbdReqTypeFlush);
    EXPECT_EQ(send(nullptr, 0), nt::success);
    EXPECT_TRUE(flush.succeeded());

    Command in = reserve_in(16);
    post(in);
    ASSERT_EQ(fetch(nullptr, 0), nt::success);
    EXPECT_EQ(request.RequestType, WnbdReqTypePersistResIn);
    EXPECT_EQ(request.Cmd.PersistResIn.ServiceAction, 1);
    EXPECT_EQ(request.Cmd.PersistResIn.AllocationLength, 16);
    EXPECT_EQ(send(user.data(), 8), nt::success);
    EXPECT_TRUE(in.succeeded());
    EXPECT_EQ(in.bytes[7], 0xEE);
    EXPECT_EQ(in.bytes[8], 0x00);

    Command out = reserve_out();
    post(out);
    ASSERT_EQ(fetch(), nt::success);
    EXPECT_EQ(request.RequestType, WnbdReqTypePersistResOut);
    EXPECT_EQ(request.Cmd.PersistResOut.ServiceAction, 1);
    EXPECT_EQ(request.Cmd.PersistResOut.Scope, 0);
    EXPECT_EQ(request.Cmd.PersistResOut.Type, 5);
    EXPECT_EQ(request.Cmd.PersistResOut.ParameterListLength, 24);
    EXPECT_TRUE(std::equal(out.bytes.begin(), out.bytes.end(), user.begin()));
    EXPECT_EQ(send(nullptr, 0), nt::success);
    EXPECT_TRUE(out.succeeded());
}

TEST_F(ExchangeTest, AnUnmapBringsItsDescriptorsFourAtATime) {
    Command unmap = unmap_command({{1, 1}, {10, 2}, {20, 3}, {30, 4}, {40, 5}});
    post(unmap);
    ASSERT_EQ(fetch(), nt::success);
    EXPECT_EQ(request.RequestType, WnbdReqTypeUnmap);
    EXPECT_EQ(request.Cmd.Unmap.Count, 4u);
    WNBD_UNMAP_DESCRIPTOR descriptors[4];
    std::memcpy(descriptors, user.data(), sizeof(descriptors));
    EXPECT_EQ(descriptors[3].BlockAddress, 30u);
    EXPECT_EQ(descriptors[3].BlockCount, 4u);
    EXPECT_EQ(send(nullptr, 0), nt::success);
    EXPECT_EQ(unmap.completions, 0u);
    ASSERT_EQ(fetch(), nt::success);
    EXPECT_EQ(request.Cmd.Unmap.Count, 1u);
    EXPECT_EQ(send(nullptr, 0), nt::success);
    EXPECT_TRUE(unmap.succeeded());
}

TEST_F(ExchangeTest, ABufferTooSmallFailsTheRequestAtEveryLength) {
    for (std::size_t length = 0; length <= block_size + 1; ++length) {
        Command write(engine::model::write_cdb(9, 1), block_size);
        std::vector<std::uint8_t> exact(length);
        if (length > 0) host.memory.add(exact);
        post(write);
        const bool fits = length >= block_size;
        ASSERT_EQ(fetch(exact.data(), length), fits ? nt::success : nt::buffer_too_small) << length;
        if (fits) {
            ASSERT_EQ(send(nullptr, 0), nt::success);
            ASSERT_TRUE(write.succeeded());
        } else {
            ASSERT_EQ(write.cause, engine::Cause::failed);
            ASSERT_EQ(write.completions, 1u);
        }
        host.memory.forget(exact);
    }
    EXPECT_EQ(counters().rejected, block_size);
}

/// Addresses at which no `length` bytes may be read or written.
std::vector<void*> wild_addresses(std::vector<std::uint8_t>& real, std::size_t length) {
    const auto at = [](std::uintptr_t address) { return reinterpret_cast<void*>(address); };
    return {at(0),
            at(1),
            at(0xFFFF),
            at(0x7FFFFFFF0000),
            at(0xFFFF800000000000),
            at(~std::uintptr_t{0}),
            at(~std::uintptr_t{0} - length + 2),
            real.data() - 1,
            real.data() + (real.size() - length) + 1,
            real.data() + real.size()};
}

TEST_F(ExchangeTest, AWildPointerOnTheWayOutLosesNoRequest) {
    Command write(engine::model::write_cdb(9, 1), block_size);
    std::vector<std::uint8_t> read_only(block_size, 0x0F);
    host.memory.add(read_only, false);
    post(write);
    std::vector<void*> addresses = wild_addresses(user, block_size);
    addresses.push_back(read_only.data());
    for (void* const address : addresses) {
        ASSERT_EQ(fetch(address, block_size), nt::access_violation) << address;
        EXPECT_EQ(write.completions, 0u);
    }
    EXPECT_EQ(read_only, std::vector<std::uint8_t>(block_size, 0x0F));
    host.memory.exhausted = true;
    EXPECT_EQ(fetch(), nt::insufficient_resources);
    host.memory.exhausted = false;
    EXPECT_EQ(counters().submitted, 0);
    ASSERT_EQ(fetch(), nt::success);
    EXPECT_EQ(send(nullptr, 0), nt::success);
    EXPECT_TRUE(write.succeeded());
}

TEST_F(ExchangeTest, AWildPointerOnTheWayBackFailsTheRequest) {
    for (void* const address : wild_addresses(user, block_size)) {
        Command read(engine::model::read_cdb(1, 1), block_size);
        post(read);
        ASSERT_EQ(fetch(), nt::success);
        ASSERT_EQ(send(address, block_size),
                  address == nullptr ? nt::invalid_parameter : nt::access_violation)
            << address;
        EXPECT_EQ(read.completions, 1u);
        EXPECT_EQ(read.cause, engine::Cause::failed);
        EXPECT_EQ(send(user.data(), block_size), nt::not_found) << "the handle is used up";
    }
    std::vector<std::uint8_t> read_only(block_size, 0x0F);
    host.memory.add(read_only, false);
    Command read(engine::model::read_cdb(1, 1), block_size);
    post(read);
    ASSERT_EQ(fetch(), nt::success);
    EXPECT_EQ(send(read_only.data(), block_size), nt::success) << "it is only read";
    EXPECT_EQ(read.bytes, read_only);
}

TEST_F(ExchangeTest, AReplyOfEveryLengthIsFilledUpOrCut) {
    for (std::size_t length = 0; length <= block_size + 1; ++length) {
        Command read(engine::model::read_cdb(1, 1), block_size);
        std::fill(read.bytes.begin(), read.bytes.end(), 0xDD);
        std::vector<std::uint8_t> exact(length, 0x55);
        if (length > 0) host.memory.add(exact);
        post(read);
        ASSERT_EQ(fetch(nullptr, 0), nt::success);
        ASSERT_EQ(send(length == 0 ? nullptr : exact.data(), length), nt::success);
        std::vector<std::uint8_t> expected(block_size);
        std::fill_n(expected.begin(), std::min<std::size_t>(length, block_size), 0x55);
        ASSERT_EQ(read.bytes, expected) << length;
        ASSERT_EQ(read.transferred, block_size);
        host.memory.forget(exact);
    }
}

TEST_F(ExchangeTest, AnErrorCarriesItsSenseAndNeedsNoData) {
    Command read(engine::model::read_cdb(1, 1), block_size);
    post(read);
    ASSERT_EQ(fetch(), nt::success);
    auto command = send_command(connection, request, nullptr, block_size);
    command.Response.Status.ScsiStatus = 2;
    command.Response.Status.SenseKey = 3;
    command.Response.Status.ASC = 0x11;
    command.Response.Status.ASCQ = 0x04;
    command.Response.Status.InformationValid = 1;
    command.Response.Status.Information = 0x123456789;
    EXPECT_EQ(host.call(command).status, nt::success);
    EXPECT_EQ(read.cause, engine::Cause::answered);
    EXPECT_EQ(read.status, scsi::Status::check_condition);
    EXPECT_EQ(read.key, scsi::SenseKey::medium_error);
    EXPECT_EQ(read.additional, 0x1104);
    EXPECT_EQ(read.information, 0x123456789u);
    EXPECT_EQ(host.memory.maps, 0u);
}

TEST_F(ExchangeTest, AnAnswerToAnotherKindOfRequestIsRefusedAndTheRequestGoesOnWaiting) {
    Command read(engine::model::read_cdb(1, 1), block_size);
    post(read);
    ASSERT_EQ(fetch(), nt::success);
    for (const std::uint32_t type : {2U, 3U, 5U, 7U, 8U, 0x80000000U, ~0U}) {
        auto command = send_command(connection, request, user.data(), block_size);
        std::memcpy(&command.Response.RequestType, &type, sizeof(type));
        EXPECT_EQ(host.call(command).status, nt::invalid_parameter) << type;
        EXPECT_EQ(read.completions, 0u);
    }
    request.RequestType = WnbdReqTypeUnknown;
    EXPECT_EQ(send(user.data(), block_size), nt::success) << "some never said what they answer";
    EXPECT_TRUE(read.succeeded());
}

TEST_F(ExchangeTest, AForeignProcessNeitherFetchesNorAnswers) {
    Command read(engine::model::read_cdb(1, 1), block_size);
    post(read);
    host.process = foreign_process;
    EXPECT_EQ(fetch(), nt::access_denied);
    host.process = own_process;
    ASSERT_EQ(fetch(), nt::success);
    host.process = foreign_process;
    EXPECT_EQ(send(user.data(), block_size), nt::access_denied);
    EXPECT_EQ(read.completions, 0u);
    host.process = own_process;
    EXPECT_EQ(send(user.data(), block_size), nt::success);
    EXPECT_TRUE(read.succeeded());
}

TEST_F(ExchangeTest, OnlyAConnectionThatIsServedHasRequests) {
    for (const WNBD_CONNECTION_ID id :
         {WNBD_CONNECTION_ID{0}, connection + 1, connection + 0x100, ~WNBD_CONNECTION_ID{0}}) {
        EXPECT_EQ(host.call(fetch_command(id, user.data(), 512), 128).status, nt::invalid_handle);
        EXPECT_EQ(host.call(send_command(id, {}, nullptr, 0)).status, nt::invalid_handle);
    }
    for (const UINT64 tag : {UINT64{0}, UINT64{1}, UINT64{0x10000}, ~UINT64{0}}) {
        request.RequestHandle = tag;
        EXPECT_EQ(send(nullptr, 0), nt::not_found);
    }
}

TEST_F(ExchangeTest, ARequestWithoutMemoryBehindItFailsAndTheNextGoesOut) {
    Command lost(engine::model::write_cdb(9, 1), block_size);
    Command good(engine::model::write_cdb(10, 1), block_size);
    post(lost);
    post(good);
    lost.buffer_length = 0;  // the mapping of the SRB's buffer fails
    ASSERT_EQ(fetch(), nt::success);
    EXPECT_EQ(lost.cause, engine::Cause::failed);
    EXPECT_EQ(request.Cmd.Write.BlockAddress, 10u);
    EXPECT_EQ(send(nullptr, 0), nt::success);

    Command read(engine::model::read_cdb(9, 1), block_size);
    post(read);
    ASSERT_EQ(fetch(), nt::success);
    read.buffer_length = 0;
    EXPECT_EQ(send(user.data(), block_size), nt::success);
    EXPECT_EQ(read.completions, 1u);
    EXPECT_EQ(read.cause, engine::Cause::failed);
}

TEST_F(ExchangeTest, AFetchWaitsForARequest) {
    Command read(engine::model::read_cdb(3, 1), block_size);
    std::thread initiator([&] {
        while (platform::native::threads_waiting() == 0)
            std::this_thread::yield();
        post(read);
    });
    EXPECT_EQ(fetch(), nt::success);
    EXPECT_EQ(request.Cmd.Read.BlockAddress, 3u);
    initiator.join();
    EXPECT_EQ(send(user.data(), block_size), nt::success);
}

TEST_F(ExchangeTest, ARemovalEndsAWaitingFetchWithADisconnect) {
    std::thread remover([&] {
        while (platform::native::threads_waiting() == 0)
            std::this_thread::yield();
        EXPECT_TRUE(host.adapter->remove(connection));
    });
    EXPECT_EQ(fetch(), nt::success);
    EXPECT_EQ(request.RequestType, WnbdReqTypeDisconnect);
    EXPECT_EQ(request.RequestHandle, 0u);
    remover.join();
    EXPECT_EQ(fetch(), nt::invalid_handle);
    EXPECT_EQ(send(nullptr, 0), nt::invalid_handle);
}

TEST_F(ExchangeTest, AnAlertEndsAWaitingFetchAndNotTheDisk) {
    const auto fetcher = platform::native::this_thread();
    std::thread alerter([&] {
        while (platform::native::threads_waiting() == 0)
            std::this_thread::yield();
        platform::native::alert(fetcher);
    });
    EXPECT_EQ(fetch(), nt::cancelled);
    alerter.join();
    EXPECT_TRUE(host.adapter->find(connection));
}

TEST_F(ExchangeTest, AResetOvertakesWhatIsInUserSpace) {
    Command read(engine::model::read_cdb(3, 1), block_size);
    post(read);
    ASSERT_EQ(fetch(), nt::success);
    engine::ResetWait wait;
    EXPECT_TRUE(
        host.adapter->find(connection)->disk.drain(engine::Cause::aborted, {}, wait).finished);
    EXPECT_EQ(send(user.data(), block_size), nt::not_found);
    EXPECT_EQ(read.cause, engine::Cause::aborted);
    const Completion stats = host.call(stats_command("disk"), sizeof(WNBD_DRV_STATS));
    ASSERT_EQ(stats.status, nt::success);
    const auto counted = host.reply<WNBD_DRV_STATS>();
    EXPECT_EQ(counted.AbortedSubmittedIORequests, 1);
    EXPECT_EQ(counted.CompletedAbortedIORequests, 1);
    EXPECT_EQ(counted.OutstandingIOCount, 0);
}

}  // namespace
}  // namespace wnbd::ioctl
