// SPDX-License-Identifier: LGPL-2.1-or-later
// Statistics field by field, and fields of commands and replies that are seldom used.
#include <gtest/gtest.h>

#include "engine/native/control.h"
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

struct CornersTest : testing::Test {
    void SetUp() override {
        platform::native::hold_time(1'000'000'000);
        create(create_command("disk"));
        user.assign(std::size_t{8} * block_size, 0xEE);
        host.memory.add(user);
    }
    void TearDown() override {
        host.adapter->remove_all();
        platform::native::release_time();
    }

    void create(const WNBD_IOCTL_CREATE_COMMAND& command) {
        ASSERT_EQ(host.call(command, sizeof(WNBD_CONNECTION_INFO)).status, nt::success);
        connection = host.reply<WNBD_CONNECTION_INFO>().ConnectionId;
    }
    void post(Command& command) {
        scsi::Answer answer;
        ASSERT_EQ(host.adapter->find(connection)->disk.start(&command, command.command(), answer),
                  engine::Disk::Start::pending);
    }
    nt::Status fetch(std::size_t length) {
        const Completion completion =
            host.call(fetch_command(connection, user.data(), static_cast<UINT32>(length)),
                      sizeof(WNBD_IOCTL_FETCH_REQ_COMMAND));
        request = host.reply<WNBD_IOCTL_FETCH_REQ_COMMAND>().Request;
        return completion.status;
    }
    nt::Status send(const WNBD_IO_REQUEST& to, const WNBD_STATUS& status = {}) {
        auto command = send_command(connection, to, user.data(), block_size);
        command.Response.Status = status;
        return host.call(command).status;
    }
    WNBD_DRV_STATS stats() {
        EXPECT_EQ(host.call(stats_command("disk"), sizeof(WNBD_DRV_STATS)).status, nt::success);
        return host.reply<WNBD_DRV_STATS>();
    }
    nt::Status resize(UINT64 block_count) {
        auto command = command_for<WNBD_IOCTL_SET_SIZE_COMMAND>(IOCTL_WNBD_SET_DISK_SIZE);
        command.ConnectionId = connection;
        command.BlockCount = block_count;
        return host.call(command).status;
    }

    Host host;
    WNBD_CONNECTION_ID connection = 0;
    std::vector<std::uint8_t> user;
    WNBD_IO_REQUEST request{};
};

TEST_F(CornersTest, EachStatisticHasAFieldOfItsOwn) {
    // A write that cannot be handed out, a read that is answered, three that are aborted (one of
    // them too early to be fetched), one that is under way and two that wait.
    std::vector<Command> reads(7, Command(engine::model::read_cdb(0, 1), block_size));
    for (Command& read : reads) {
        read.buffer = read.bytes.data();
    }
    Command write(engine::model::write_cdb(0, 1), block_size);
    post(write);
    EXPECT_EQ(fetch(0), nt::buffer_too_small);
    for (Command& read : reads)
        post(read);
    platform::native::advance_time_ms(1);
    std::vector<WNBD_IO_REQUEST> fetched;
    for (int i = 0; i < 4; ++i) {
        ASSERT_EQ(fetch(0), nt::success);
        fetched.push_back(request);
    }
    platform::native::advance_time_ms(1);
    EXPECT_EQ(send(fetched[0]), nt::success);
    for (const int victim : {1, 2, 4}) {
        engine::ResetWait wait;
        EXPECT_TRUE(
            host.adapter->find(connection)
                ->disk
                .abort(static_cast<engine::model::Srb*>(&reads[static_cast<std::size_t>(victim)]),
                       {}, wait)
                .finished);
    }
    platform::native::advance_time_ms(1);
    EXPECT_EQ(send(fetched[1]), nt::not_found);

    const WNBD_DRV_STATS now = stats();
    EXPECT_EQ(now.TotalReceivedIORequests, 8);
    EXPECT_EQ(now.TotalSubmittedIORequests, 4);
    EXPECT_EQ(now.TotalReceivedIOReplies, 1);
    EXPECT_EQ(now.UnsubmittedIORequests, 2);
    EXPECT_EQ(now.PendingSubmittedIORequests, 1);
    EXPECT_EQ(now.AbortedSubmittedIORequests, 2);
    EXPECT_EQ(now.AbortedUnsubmittedIORequests, 2);
    EXPECT_EQ(now.CompletedAbortedIORequests, 1);
    EXPECT_EQ(now.OutstandingIOCount, 3);
    EXPECT_EQ(now.LastReceivedReqTimestamp, 1'000'000'000);
    EXPECT_EQ(now.LastSubmittedReqTimestamp, 1'000'010'000);
    EXPECT_EQ(now.LastReplyTimestamp, 1'000'020'000);
    host.adapter->remove_all();
}

TEST_F(CornersTest, AConnectionIdIsComparedInAllItsBits) {
    for (const WNBD_CONNECTION_ID other :
         {connection | WNBD_CONNECTION_ID{1} << 40, WNBD_CONNECTION_ID{1} << 40}) {
        EXPECT_EQ(host.call(remove_command("disk", other)).status, nt::object_name_not_found);
    }
    EXPECT_TRUE(host.adapter->find(connection));
}

TEST_F(CornersTest, ANewSizeIsLimitedByTheDisksOwnBlocks) {
    auto command = create_command("large blocks");
    command.Properties.BlockSize = 4096;
    create(command);
    constexpr UINT64 most = (UINT64{1} << 63) / 4096 - 1;
    EXPECT_EQ(resize(most), nt::success);
    EXPECT_EQ(resize(most + 1), nt::invalid_parameter);
}

TEST_F(CornersTest, ASenseKeyHasFourBits) {
    Command read(engine::model::read_cdb(0, 1), block_size);
    post(read);
    ASSERT_EQ(fetch(0), nt::success);
    WNBD_STATUS status{};
    status.ScsiStatus = 2;
    status.SenseKey = 0xF3;
    status.ASC = 0x11;
    EXPECT_EQ(send(request, status), nt::success);
    EXPECT_EQ(read.key, scsi::SenseKey::medium_error);
    EXPECT_EQ(read.additional, 0x1100);
}

TEST_F(CornersTest, AReservationsAllocationLengthIsTheCdbs) {
    Command in(engine::model::Cdb{0x5E, 0x01, 0, 0, 0, 0, 0, 0, 64}, 16);
    in.cdb_length = 10;
    post(in);
    ASSERT_EQ(fetch(0), nt::success);
    EXPECT_EQ(request.RequestType, WnbdReqTypePersistResIn);
    EXPECT_EQ(request.Cmd.PersistResIn.AllocationLength, 64);
    host.adapter->remove_all();
}

TEST_F(CornersTest, AWriteSameBringsItsBlockOverAndOver) {
    Command same(engine::model::cdb_16(0x93, 3, 4), block_size);
    for (std::size_t i = 0; i < block_size; ++i)
        same.bytes[i] = static_cast<std::uint8_t>(i * 7 + 1);
    post(same);
    ASSERT_EQ(fetch(user.size()), nt::success);
    EXPECT_EQ(request.RequestType, WnbdReqTypeWrite);
    EXPECT_EQ(request.Cmd.Write.BlockAddress, 3U);
    EXPECT_EQ(request.Cmd.Write.BlockCount, 4U);
    for (std::size_t i = 0; i < 4; ++i) {
        EXPECT_TRUE(std::equal(same.bytes.begin(), same.bytes.end(),
                               user.begin() + static_cast<std::ptrdiff_t>(i * block_size)))
            << i;
    }
    EXPECT_EQ(user[4 * block_size], 0xEE);
    host.adapter->remove_all();
}

}  // namespace
}  // namespace wnbd::ioctl
