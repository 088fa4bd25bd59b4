// SPDX-License-Identifier: LGPL-2.1-or-later
// The client while its server is there: the line, the guard, write-through, several connections.
#include "nbd/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <memory>
#include <vector>

#include "nbd/client_fixture.h"

namespace wnbd::nbd {
namespace {

using test::agreement;
using test::disk_size;
using test::FakeWire;
using test::Fixture;
using test::Job;
using test::patient;
using test::usual_flags;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Bytes = std::vector<std::uint8_t>;
using Phase = Client::Phase;
using namespace std::chrono_literals;

TEST(Client, ServesRequests) {
    Fixture f;
    Job read(CommandType::read, 4096);
    Job write(CommandType::write, 8192);
    f.submit({&read, &write});
    const auto seen = f.serve();
    ASSERT_THAT(seen, SizeIs(2));
    EXPECT_EQ(seen[1].payload, write.buffer);
    EXPECT_TRUE(read.good());
    EXPECT_EQ(read.buffer, Bytes(512, 0x42));
    EXPECT_TRUE(write.good());
    EXPECT_TRUE(f.client.idle());
}

TEST(Client, OverlappingChangesNeverFlyTogether) {
    Fixture f;
    Job older(CommandType::write, 0, 1024);
    Job newer(CommandType::write, 512, 1024);
    Job other(CommandType::write, 4096);
    f.submit({&older, &newer, &other});
    // The one behind the waiting one waits, too: nobody overtakes.
    EXPECT_THAT(f.serve(), SizeIs(1));
    EXPECT_TRUE(older.good());
    EXPECT_THAT(f.serve(), SizeIs(2));
    EXPECT_TRUE(newer.good() && other.good());
}

TEST(Client, AFullTableMakesALineThatKeepsItsOrder) {
    Fixture f({.commands_max = 2, .reconnect = patient()});
    std::vector<std::unique_ptr<Job>> jobs;
    std::vector<Job*> list;
    for (std::uint64_t i = 0; i < 7; ++i) {
        jobs.push_back(std::make_unique<Job>(CommandType::read, i * 512));
        list.push_back(jobs.back().get());
    }
    f.submit(list);
    std::vector<std::uint64_t> order;
    while (order.size() < jobs.size()) {
        const auto seen = f.serve();
        ASSERT_FALSE(seen.empty());
        ASSERT_LE(seen.size(), 2U);
        for (const auto& request : seen)
            order.push_back(request.offset / 512);
    }
    EXPECT_THAT(order, ElementsAre(0, 1, 2, 3, 4, 5, 6));
    EXPECT_TRUE(f.client.idle());
}

TEST(Client, CloseSaysDiscWhenNothingIsInFlightElseCuts) {
    {
        Fixture f;
        f.client.close(f.now);
        const auto seen = f.wire().take_all();
        ASSERT_THAT(seen, SizeIs(1));
        EXPECT_EQ(seen[0].type, CommandType::disconnect);
        EXPECT_TRUE(f.wire().sending_over);
        EXPECT_FALSE(f.wire().shut_down);
        // A server that does not end its side is not waited for.
        f.pass(2s);
        EXPECT_TRUE(f.wire().shut_down);
        f.turn();
        EXPECT_EQ(f.client.status().phase, Phase::ended);
    }
    Fixture f;
    Job flying(CommandType::read);
    f.submit(flying);
    f.client.close(f.now);
    EXPECT_TRUE(f.wire().shut_down);
    f.turn();
    EXPECT_TRUE(flying.outcome.disconnected);
}

TEST(Client, CloseWaitsForAProbesAnswerBeforeItSaysDisc) {
    for (const bool answers : {true, false}) {
        Fixture f({.keep_alive = 5s, .reconnect = patient()});
        f.pass(7s);
        const auto probes = f.wire().take_all();
        ASSERT_THAT(probes, SizeIs(1));
        EXPECT_TRUE(f.client.idle()) << "nobody waits for a probe";
        f.client.close(f.now);
        f.turn();
        EXPECT_FALSE(f.wire().shut_down);
        EXPECT_THAT(f.wire().take_all(), IsEmpty());
        if (answers) {
            f.wire().answer(probes[0]);
            f.turn();
            const auto seen = f.wire().take_all();
            ASSERT_THAT(seen, SizeIs(1));
            EXPECT_EQ(seen[0].type, CommandType::disconnect);
            EXPECT_TRUE(f.wire().sending_over);
            f.end();
        } else {
            f.pass(2s);
            EXPECT_TRUE(f.wire().shut_down);
            f.turn();
        }
        EXPECT_EQ(f.client.status().phase, Phase::ended);
    }
}

TEST(Client, ARequestsOwnErrorIsNoLoss) {
    Fixture f;
    Job refused(CommandType::write);
    f.submit(refused);
    (void)f.serve(0, error_no_space);
    EXPECT_EQ(refused.outcome.error, error_no_space);
    EXPECT_EQ(f.client.status().phase, Phase::online);
}

TEST(Client, AnIdleServerIsAskedForABlock) {
    Fixture f({.request_time_max = 3s, .keep_alive = 5s, .reconnect = patient()});
    f.pass(4s);
    EXPECT_THAT(f.wire().take_all(), IsEmpty());
    f.pass(3s);
    const auto probes = f.wire().take_all();
    ASSERT_THAT(probes, SizeIs(1));
    EXPECT_EQ(probes[0].type, CommandType::read);
    EXPECT_EQ(probes[0].length, agreement().info.minimum_block);
    f.wire().answer(probes[0]);
    f.turn();
    EXPECT_EQ(f.client.status().phase, Phase::online);
    EXPECT_TRUE(f.client.idle());
    // The next one is not answered.
    f.pass(12s);
    EXPECT_EQ(f.client.status().phase, Phase::breaking);
}

TEST(Client, WriteThroughForcesEachChangeWhereTheServerCan) {
    Fixture f({.write_through = true, .reconnect = patient()});
    Job write(CommandType::write);
    Job trim(CommandType::trim, 4096);
    Job read(CommandType::read, 8192);
    f.submit({&write, &trim, &read});
    const auto seen = f.serve();
    ASSERT_THAT(seen, SizeIs(3));
    EXPECT_EQ(seen[0].flags, command_flag_fua);
    EXPECT_EQ(seen[1].flags, command_flag_fua);
    EXPECT_EQ(seen[2].flags, 0);
}

TEST(Client, WriteThroughFlushesAfterEachChangeWhereItMust) {
    constexpr std::uint16_t no_fua = transmission_has_flags | transmission_send_flush;
    Fixture f({.write_through = true, .reconnect = patient()}, agreement(disk_size, no_fua));
    Job write(CommandType::write);
    f.submit(write);
    EXPECT_FALSE(f.client.idle());
    auto seen = f.serve();
    ASSERT_THAT(seen, SizeIs(1));
    EXPECT_EQ(write.ended, 0U);
    EXPECT_FALSE(f.client.idle());
    // Lost between the write and its flush: both come again.
    seen = f.wire().take_all();
    ASSERT_THAT(seen, SizeIs(1));
    EXPECT_EQ(seen[0].type, CommandType::flush);
    f.end();
    ASSERT_EQ(f.reconnect(agreement(disk_size, no_fua)).code, FaultCode::none);
    seen = f.serve();
    ASSERT_THAT(seen, SizeIs(1));
    EXPECT_EQ(seen[0].type, CommandType::write);
    seen = f.serve();
    ASSERT_THAT(seen, SizeIs(1));
    EXPECT_EQ(seen[0].type, CommandType::flush);
    EXPECT_TRUE(write.good());
    EXPECT_TRUE(f.client.idle());
}

TEST(Client, FurtherConnectionsJoinAndShareTheWork) {
    Fixture f({.connections = 3, .reconnect = patient()});
    for (unsigned index = 1; index < 3; ++index) {
        const auto chore = f.client.look_after(f.now);
        ASSERT_TRUE(chore.dial);
        EXPECT_EQ(chore.index, index);
        ASSERT_EQ(f.attach(index).code, FaultCode::none);
    }
    EXPECT_FALSE(f.client.look_after(f.now).dial);
    EXPECT_EQ(f.client.status().connections, 3U);
    std::vector<std::unique_ptr<Job>> jobs;
    std::vector<Job*> list;
    for (std::uint64_t i = 0; i < 64; ++i) {
        jobs.push_back(std::make_unique<Job>(CommandType::read, i << 20));
        list.push_back(jobs.back().get());
    }
    f.submit(list);
    std::vector<std::vector<FakeWire::Request>> seen(3);
    std::size_t all = 0;
    for (unsigned index = 0; index < 3; ++index) {
        seen[index] = f.wire(index).take_all();
        EXPECT_GT(seen[index].size(), 8U);
        all += seen[index].size();
    }
    EXPECT_EQ(all, jobs.size());

    // One is lost: all are of one server's life, so all end and everything is replayed.
    f.wire(1).answer(seen[1].at(0), 0, 0x42);
    f.end(2);
    EXPECT_EQ(f.client.status().phase, Phase::breaking);
    EXPECT_TRUE(f.wire(0).sending_over && f.wire(1).sending_over);
    f.end(0);
    f.end(1);
    EXPECT_EQ(f.client.status().phase, Phase::down);
    ASSERT_EQ(f.reconnect().code, FaultCode::none);
    EXPECT_THAT(f.serve(), SizeIs(jobs.size() - 1));
    for (const auto& job : jobs)
        EXPECT_TRUE(job->good());
}

TEST(Client, WaitsForManyAnswersTogetherWhereFewOfManyCame) {
    std::vector<std::unique_ptr<Job>> jobs;  // some are in flight at the end
    Fixture f;
    std::vector<Job*> list;
    for (std::uint64_t i = 0; i < 64; ++i) {
        jobs.push_back(std::make_unique<Job>(CommandType::read, i << 20));
        list.push_back(jobs.back().get());
    }
    f.submit(list);
    auto& connection = f.client.connection(0);
    const auto requests = f.wire().take_all();
    ASSERT_EQ(requests.size(), 64U);
    std::size_t next = 0;
    const auto pause_after = [&](std::size_t answers) {
        for (; answers > 0; --answers)
            f.wire().answer(requests[next++], 0, 0x42);
        EXPECT_EQ(connection.step({.readable = true}), Connection::Step::goes_on);
        return connection.wants().pause;
    };
    EXPECT_EQ(connection.wants().pause, 0us) << "nothing has come yet";
    EXPECT_EQ(pause_after(1), 63us) << "one for each that is due";
    EXPECT_EQ(pause_after(0), 0us) << "the pause brought nothing";
    EXPECT_EQ(pause_after(3), 60us);
    EXPECT_EQ(pause_after(40), 0us) << "they came together";
    EXPECT_EQ(pause_after(1), 19us);
    EXPECT_EQ(pause_after(10), 0us) << "too few are left";
}

TEST(Client, APayloadThatHasBegunIsNotKeptWaiting) {
    std::vector<std::unique_ptr<Job>> jobs;
    Fixture f;
    std::vector<Job*> list;
    for (std::uint64_t i = 0; i < 32; ++i) {
        jobs.push_back(std::make_unique<Job>(CommandType::read, i << 20, 64U << 10));
        list.push_back(jobs.back().get());
    }
    f.submit(list);
    const auto requests = f.wire().take_all();
    ASSERT_EQ(requests.size(), 32U);
    f.wire().answer(requests[0]);
    f.wire().to_client.resize(simple_reply_size + 100);
    auto& connection = f.client.connection(0);
    EXPECT_EQ(connection.step({.readable = true}), Connection::Step::goes_on);
    EXPECT_EQ(connection.wants().pause, 0us);
}

TEST(Client, SpinsForFewSmallAnswersOnly) {
    Job small(CommandType::read, 0);
    Job large(CommandType::read, 1U << 20, 64U << 10);
    Job write(CommandType::write, 2U << 20);
    Fixture f;
    auto& connection = f.client.connection(0);
    const auto soon_after_step = [&] {
        EXPECT_EQ(connection.step({.readable = true}), Connection::Step::goes_on);
        return connection.wants().soon;
    };
    EXPECT_FALSE(connection.wants().soon) << "nothing is due";
    f.submit({&small, &large});
    EXPECT_TRUE(connection.wants().soon);
    const auto requests = f.wire().take_all();
    ASSERT_EQ(requests.size(), 2U);
    f.wire().answer(requests[1]);
    const auto kept = f.wire().to_client.back();
    f.wire().to_client.pop_back();
    EXPECT_FALSE(soon_after_step()) << "a payload streams in";
    f.wire().to_client.push_back(kept);
    EXPECT_TRUE(soon_after_step()) << "it is there";
    f.wire().room = 0;
    f.submit(write);
    EXPECT_FALSE(connection.wants().soon) << "a payload streams out";
    f.wire().room = ~std::size_t{0};
    EXPECT_EQ(connection.step({.writable = true}), Connection::Step::goes_on);
    EXPECT_TRUE(connection.wants().soon);
}

TEST(Client, SpinsForNothingWhereMuchIsToBeCopied) {
    constexpr std::uint32_t half = 128U << 10;
    Job write(CommandType::write, 0, half);
    Job read(CommandType::read, 1U << 20, half);
    Job trim(CommandType::trim, 2U << 20, 512U << 10);
    Fixture f;
    auto& connection = f.client.connection(0);
    f.submit({&write, &trim});
    EXPECT_TRUE(connection.wants().soon) << "what a trim names is not copied";
    f.submit(read);
    EXPECT_FALSE(connection.wants().soon);
    const auto requests = f.wire().take_all();
    ASSERT_EQ(requests.size(), 3U);
    f.wire().answer(requests[2]);
    EXPECT_EQ(connection.step({.readable = true}), Connection::Step::goes_on);
    EXPECT_TRUE(connection.wants().soon) << "it is copied";
}

TEST(Client, AServerWithoutMultiConnGetsOneConnection) {
    constexpr std::uint16_t flags = usual_flags & ~transmission_can_multi_conn;
    Fixture f({.connections = 4, .reconnect = patient()}, agreement(disk_size, flags));
    EXPECT_FALSE(f.client.look_after(f.now).dial);
    EXPECT_EQ(f.attach(1, agreement(disk_size, flags)).code, FaultCode::closed);
}

TEST(Client, AFailedJoinLeavesTheOthersAtWork) {
    Fixture f({.connections = 2, .reconnect = patient()});
    ASSERT_TRUE(f.client.look_after(f.now).dial);
    f.client.dial_failed({.code = FaultCode::connect_failed}, f.now);
    EXPECT_EQ(f.client.status().phase, Phase::online);
    EXPECT_FALSE(f.client.look_after(f.now).dial);
    Job read(CommandType::read);
    f.submit(read);
    (void)f.serve();
    EXPECT_TRUE(read.good());
}

TEST(Client, AFailedJoinIsTriedAgain) {
    Fixture f({.connections = 2, .reconnect = patient()});
    ASSERT_TRUE(f.client.look_after(f.now).dial);
    f.client.dial_failed({.code = FaultCode::connect_failed}, f.now);
    EXPECT_TRUE(f.pass(patient().delay_max).dial);
    EXPECT_EQ(f.attach(1).code, FaultCode::none);
    EXPECT_EQ(f.client.status().connections, 2U);
}

TEST(Client, ACompletionMaySubmit) {
    Fixture f;
    Job first(CommandType::read);
    Job next(CommandType::write, 512);
    first.then = [&] { f.submit(next); };
    f.submit(first);
    EXPECT_THAT(f.serve(), SizeIs(1));
    EXPECT_THAT(f.serve(), SizeIs(1));
    EXPECT_TRUE(first.good() && next.good());
}

TEST(Client, ALongChangeGetsItsTurn) {
    // What is in flight at the end comes back to its owner then.
    Job blocker(CommandType::write, 0);
    Job waits(CommandType::trim, 0, std::size_t{64} << 20);
    Fixture f;
    Job before(CommandType::write, 0);
    Job long_trim(CommandType::trim, 0, std::size_t{64} << 20);
    Job after(CommandType::write, 0);
    f.submit({&before, &long_trim, &after});
    EXPECT_THAT(f.serve(), SizeIs(1));
    EXPECT_THAT(f.serve(), SizeIs(1));
    EXPECT_THAT(f.serve(), SizeIs(1));
    EXPECT_TRUE(before.good() && long_trim.good() && after.good());
    // Given up while it waits, it keeps nobody out.
    f.submit({&blocker, &waits});
    f.client.close(f.now);
    EXPECT_EQ(waits.outcome.error, error_shutdown);
}

}  // namespace
}  // namespace wnbd::nbd
