// SPDX-License-Identifier: LGPL-2.1-or-later
// The client through losses, with streams and a time of the test's own: every step is the test's.
#include "nbd/client.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <map>
#include <memory>
#include <vector>

#include "nbd/fake_stream.h"

namespace wnbd::nbd {
namespace {

using std::chrono::milliseconds;
using test::FakeStream;
using test::FakeWire;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Bytes = std::vector<std::uint8_t>;
using Phase = Client::Phase;
using namespace std::chrono_literals;

constexpr std::uint64_t disk_size = 1ULL << 30;
constexpr std::uint16_t usual_flags = transmission_has_flags | transmission_send_flush |
                                      transmission_send_fua | transmission_send_trim |
                                      transmission_can_multi_conn;

Agreement agreement(std::uint64_t size = disk_size, std::uint16_t flags = usual_flags) {
    return {.info = {.size = size, .transmission_flags = flags}};
}

ReconnectPolicy patient() {
    return {.delay = 1s, .timeout = 60s};
}

/// A user's request with its buffer and its end.
struct Job {
    explicit Job(CommandType type, std::uint64_t offset = 0, std::size_t length = 512)
        : buffer(type == CommandType::read || type == CommandType::write ? length : 0, 0x77) {
        request.command = {.type = type,
                           .offset = offset,
                           .length = type == CommandType::flush ? 0 : length,
                           .data = buffer.empty() ? nullptr : buffer.data()};
        request.context = this;
        request.done = [](Request& done, Outcome outcome) noexcept {
            auto& job = *static_cast<Job*>(done.context);
            ++job.ended;
            job.outcome = outcome;
            if (job.then) job.then();
        };
    }
    Job(const Job&) = delete;
    Job& operator=(const Job&) = delete;

    [[nodiscard]] bool good() const {
        return ended == 1 && outcome.error == 0 && !outcome.disconnected;
    }

    Bytes buffer;
    Request request;
    unsigned ended = 0;
    Outcome outcome;
    std::function<void()> then;
};

/// A client and the shell's part, done by hand.
struct Fixture {
    explicit Fixture(ClientLimits limits = {.reconnect = patient()},
                     const Agreement& first = agreement(), std::size_t addresses = 1)
        : client(limits, first, addresses, 0) {
        EXPECT_EQ(attach(0, first).code, FaultCode::none);
    }
    ~Fixture() {
        client.close(now);
        for (unsigned index = 0; index < wires.size(); ++index)
            if (attached[index]) end(index);
    }

    Fault attach(unsigned index, const Agreement& with = agreement()) {
        auto wire = std::make_shared<FakeWire>();
        auto fault = client.attach(index, std::make_unique<FakeStream>(wire), with, now);
        if (fault.code == FaultCode::none) {
            wires[index] = wire;
            attached[index] = true;
        }
        return fault;
    }
    FakeWire& wire(unsigned index = 0) { return *wires[index]; }
    void submit(Job& job) {
        Request* const request = &job.request;
        client.submit({&request, 1});
    }
    void submit(std::vector<Job*> jobs) {
        std::vector<Request*> requests;
        for (Job* const job : jobs)
            requests.push_back(&job->request);
        client.submit(requests);
    }
    /// What the connection's thread would do until there is nothing more to do.
    void turn(unsigned index = 0) {
        if (!attached[index]) return;
        auto& connection = client.connection(index);
        for (int i = 0; i < 8; ++i) {
            const auto ready = connection.stream().wait(connection.wants());
            if (connection.step(ready) == Connection::Step::goes_on) continue;
            client.detached(index, now);
            attached[index] = false;
            return;
        }
    }
    /// The server ends its side.
    void end(unsigned index = 0) {
        wire(index).server_ended = true;
        turn(index);
    }
    /// Time passes, in steps that a keeper would make.
    Client::Chore pass(milliseconds time) {
        Client::Chore chore;
        const auto until = now + time;
        while (now < until && !chore.dial) {
            now = std::min(until, now + 100ms);
            chore = client.look_after(now);
        }
        return chore;
    }
    /// All the way back: the chore of dialling, and the connection.
    Fault reconnect(const Agreement& with = agreement()) {
        const auto chore = client.look_after(now);
        EXPECT_TRUE(chore.dial.has_value());
        auto fault = attach(0, with);
        if (fault.code != FaultCode::none) client.dial_failed(fault, now);
        return fault;
    }
    std::vector<FakeWire::Request> serve(unsigned index = 0, std::uint32_t error = 0) {
        auto requests = wire(index).take_all();
        for (const auto& request : requests)
            wire(index).answer(request, error, 0x42);
        turn(index);
        return requests;
    }

    Client client;
    TimePoint now{1h};
    std::map<unsigned, std::shared_ptr<FakeWire>> wires;
    std::map<unsigned, bool> attached;
};

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

TEST(Client, WhatWasNotAnsweredIsReplayedInOrder) {
    Fixture f;
    Job answered(CommandType::write, 0);
    Job first(CommandType::write, 512);
    Job second(CommandType::read, 1024);
    Job third(CommandType::flush);
    f.submit({&answered, &first, &second, &third});
    const auto seen = f.wire().take_all();
    ASSERT_THAT(seen, SizeIs(4));
    f.wire().answer(seen[0]);
    f.end();
    EXPECT_TRUE(answered.good());
    EXPECT_EQ(f.client.status().phase, Phase::down);
    EXPECT_EQ(f.client.status().fault.code, FaultCode::hang_up);
    Job later(CommandType::read, 2048);
    f.submit(later);
    EXPECT_EQ(first.ended + second.ended + third.ended + later.ended, 0U);

    ASSERT_EQ(f.reconnect().code, FaultCode::none);
    const auto replayed = f.serve();
    ASSERT_THAT(replayed, SizeIs(4));
    EXPECT_EQ(replayed[0].offset, 512U);
    EXPECT_EQ(replayed[0].payload, first.buffer);
    EXPECT_EQ(replayed[1].offset, 1024U);
    EXPECT_EQ(replayed[2].type, CommandType::flush);
    EXPECT_EQ(replayed[3].offset, 2048U);
    EXPECT_TRUE(first.good() && second.good() && third.good() && later.good());
    EXPECT_EQ(f.client.status().reconnects, 1U);
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

TEST(Client, AReplayedChangeKeepsNewerOnesOut) {
    Fixture f;
    Job older(CommandType::write, 0);
    f.submit(older);
    f.end();
    Job newer(CommandType::write, 0);
    f.submit(newer);
    ASSERT_EQ(f.reconnect().code, FaultCode::none);
    EXPECT_THAT(f.wire().take_all(), SizeIs(1));
    f.end();
    ASSERT_FALSE(f.pass(2s).dial == std::nullopt);
    ASSERT_EQ(f.attach(0).code, FaultCode::none);
    const auto seen = f.serve();
    ASSERT_THAT(seen, SizeIs(1));
    EXPECT_TRUE(older.good());
    EXPECT_EQ(newer.ended, 0U);
    EXPECT_THAT(f.serve(), SizeIs(1));
    EXPECT_TRUE(newer.good());
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

TEST(Client, LossOfALineReplaysThoseInFlightFirst) {
    Fixture f({.commands_max = 2, .reconnect = patient()});
    Job a(CommandType::read, 0);
    Job b(CommandType::read, 512);
    Job c(CommandType::read, 1024);
    Job d(CommandType::read, 1536);
    f.submit({&a, &b, &c, &d});
    f.end();
    ASSERT_EQ(f.reconnect().code, FaultCode::none);
    auto seen = f.serve();
    ASSERT_THAT(seen, SizeIs(2));
    EXPECT_EQ(seen[0].offset, 0U);
    EXPECT_EQ(seen[1].offset, 512U);
    seen = f.serve();
    ASSERT_THAT(seen, SizeIs(2));
    EXPECT_EQ(seen[0].offset, 1024U);
    EXPECT_TRUE(a.good() && b.good() && c.good() && d.good());
}

TEST(Client, WithoutAPolicyALossIsTheEnd) {
    Fixture f(ClientLimits{.reconnect = {.timeout = 0ms}});
    Job flying(CommandType::write);
    f.submit(flying);
    f.end();
    EXPECT_EQ(flying.ended, 1U);
    EXPECT_TRUE(flying.outcome.disconnected);
    EXPECT_EQ(f.client.status().phase, Phase::ended);
    EXPECT_EQ(f.client.status().fault.code, FaultCode::hang_up);
    Job late(CommandType::read);
    f.submit(late);
    EXPECT_TRUE(late.outcome.disconnected);
    EXPECT_EQ(f.client.look_after(f.now).dial, std::nullopt);
}

TEST(Client, GivesUpWhenThePolicysTimeIsOver) {
    Fixture f({.reconnect = {.delay = 1s, .timeout = 5s}});
    Job flying(CommandType::write);
    f.submit(flying);
    f.end();
    for (int attempts = 0; f.client.status().phase == Phase::down; ++attempts) {
        ASSERT_LT(attempts, 10);
        if (f.pass(10s).dial) f.client.dial_failed({.code = FaultCode::connect_failed}, f.now);
    }
    EXPECT_EQ(f.client.status().phase, Phase::ended);
    EXPECT_EQ(f.client.status().fault.code, FaultCode::connect_failed);
    EXPECT_TRUE(flying.outcome.disconnected);
    EXPECT_EQ(flying.ended, 1U);
}

TEST(Client, HoldsForAsLongAsItTakes) {
    Fixture f({.reconnect = {.delay = 1s, .timeout = 5s, .on_timeout = OnTimeout::hold}});
    Job flying(CommandType::write);
    f.submit(flying);
    f.end();
    for (int i = 0; i < 20; ++i)
        if (f.pass(60s).dial) f.client.dial_failed({.code = FaultCode::connect_failed}, f.now);
    EXPECT_EQ(flying.ended, 0U);
    while (!f.pass(60s).dial) {
    }
    ASSERT_EQ(f.attach(0).code, FaultCode::none);
    EXPECT_THAT(f.serve(), SizeIs(1));
    EXPECT_TRUE(flying.good());
}

TEST(Client, ACloseWhileReconnectingEndsAtOnce) {
    Fixture f;
    Job flying(CommandType::write);
    f.submit(flying);
    f.end();
    ASSERT_TRUE(f.client.look_after(f.now).dial);
    f.client.close(f.now);
    EXPECT_EQ(flying.ended, 1U);
    EXPECT_EQ(flying.outcome.error, error_shutdown);
    EXPECT_EQ(f.client.status().phase, Phase::ended);
    EXPECT_TRUE(f.client.look_after(f.now).abandon_dial);
    // The dial that was under way comes too late.
    EXPECT_EQ(f.attach(0).code, FaultCode::closed);
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

TEST(Client, AnotherExportIsRefusedAndTriedAgain) {
    Fixture f;
    Job flying(CommandType::write);
    f.submit(flying);
    f.end();
    EXPECT_EQ(f.reconnect(agreement(disk_size, usual_flags | transmission_read_only)).code,
              FaultCode::export_changed);
    EXPECT_EQ(f.client.status().phase, Phase::down);
    EXPECT_EQ(flying.ended, 0U);
    ASSERT_TRUE(f.pass(5s).dial);
    ASSERT_EQ(f.attach(0).code, FaultCode::none);
    (void)f.serve();
    EXPECT_TRUE(flying.good());
}

TEST(Client, AnotherSizeIsAResize) {
    Fixture f;
    Job inside(CommandType::write, 0);
    Job beyond(CommandType::write, disk_size - 512);
    Job beyond_too(CommandType::read, disk_size - 1024);
    f.submit({&inside, &beyond, &beyond_too});
    f.end();
    ASSERT_EQ(f.reconnect(agreement(disk_size / 2)).code, FaultCode::none);
    EXPECT_EQ(f.client.size(), disk_size / 2);
    EXPECT_EQ(f.client.status().size, disk_size / 2);
    EXPECT_THAT(f.serve(), SizeIs(1));
    EXPECT_TRUE(inside.good());
    EXPECT_EQ(beyond.outcome.error, error_no_space);
    EXPECT_EQ(beyond_too.outcome.error, error_invalid);

    f.end();
    ASSERT_TRUE(f.pass(5s).dial);
    ASSERT_EQ(f.attach(0, agreement(disk_size * 2)).code, FaultCode::none);
    EXPECT_EQ(f.client.size(), disk_size * 2);
}

TEST(Client, AServerThatSaysShutdownIsLeftAndItsSuccessorServes) {
    Fixture f;
    Job kept(CommandType::write);
    f.submit(kept);
    (void)f.serve(0, error_shutdown);
    EXPECT_EQ(kept.ended, 0U);
    EXPECT_EQ(f.client.status().phase, Phase::breaking);
    EXPECT_EQ(f.client.status().fault.code, FaultCode::server_shutting_down);
    EXPECT_TRUE(f.wire().sending_over);
    f.end();
    ASSERT_EQ(f.reconnect().code, FaultCode::none);
    (void)f.serve();
    EXPECT_TRUE(kept.good());
}

TEST(Client, AServerThatAlwaysSaysShutdownIsBelievedAtLast) {
    Fixture f({.reconnect = {.delay = 1ms, .timeout = 1h}});
    Job kept(CommandType::write);
    f.submit(kept);
    for (unsigned i = 1; i < Client::shutdowns_max; ++i) {
        (void)f.serve(0, error_shutdown);
        ASSERT_EQ(kept.ended, 0U) << i;
        f.end();
        f.now += 10s;
        ASSERT_EQ(f.reconnect().code, FaultCode::none);
    }
    (void)f.serve(0, error_shutdown);
    EXPECT_EQ(kept.ended, 1U);
    EXPECT_EQ(kept.outcome.error, error_shutdown);
}

TEST(Client, ARequestsOwnErrorIsNoLoss) {
    Fixture f;
    Job refused(CommandType::write);
    f.submit(refused);
    (void)f.serve(0, error_no_space);
    EXPECT_EQ(refused.outcome.error, error_no_space);
    EXPECT_EQ(f.client.status().phase, Phase::online);
}

TEST(Client, ASilentServerIsLeftAfterTheRequestsTime) {
    Fixture f({.request_time_max = 3s, .reconnect = patient()});
    Job unanswered(CommandType::read);
    f.submit(unanswered);
    (void)f.wire().take_all();
    f.pass(2s);
    EXPECT_EQ(f.client.status().phase, Phase::online);
    f.pass(3s);
    EXPECT_EQ(f.client.status().phase, Phase::breaking);
    EXPECT_EQ(f.client.status().fault.code, FaultCode::timed_out);
    // Its end is waited for, but not for ever.
    EXPECT_TRUE(f.wire().sending_over);
    EXPECT_FALSE(f.wire().shut_down);
    f.turn();
    EXPECT_EQ(f.client.status().phase, Phase::breaking);
    f.pass(3s);
    EXPECT_TRUE(f.wire().shut_down);
    f.turn();
    EXPECT_EQ(f.client.status().phase, Phase::down);
    ASSERT_EQ(f.reconnect().code, FaultCode::none);
    (void)f.serve();
    EXPECT_TRUE(unanswered.good());
}

TEST(Client, ALateAnswerOfAServerThatIsLeftStillCounts) {
    Fixture f({.request_time_max = 1s, .reconnect = patient()});
    Job slow(CommandType::write);
    f.submit(slow);
    const auto seen = f.wire().take_all();
    f.pass(3s);
    ASSERT_EQ(f.client.status().phase, Phase::breaking);
    f.wire().answer(seen.at(0));
    f.end();
    EXPECT_TRUE(slow.good());
    ASSERT_EQ(f.reconnect().code, FaultCode::none);
    EXPECT_THAT(f.wire().take_all(), IsEmpty());
}

TEST(Client, TimeThatNobodySawPassDoesNotCount) {
    Fixture f({.request_time_max = 10s, .reconnect = patient()});
    Job slow(CommandType::read);
    f.submit(slow);
    (void)f.client.look_after(f.now);
    f.now += 1h;
    (void)f.client.look_after(f.now);
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

TEST(Client, AJoinThatComesAfterTheLossIsSentAway) {
    Fixture f({.connections = 2, .reconnect = patient()});
    ASSERT_TRUE(f.client.look_after(f.now).dial);
    f.end();
    // Nothing else is dialled before the answer, which is asked for.
    const auto chore = f.client.look_after(f.now);
    EXPECT_FALSE(chore.dial);
    EXPECT_TRUE(chore.abandon_dial);
    const auto fault = f.attach(1);
    EXPECT_EQ(fault.code, FaultCode::closed);
    f.client.dial_failed(fault, f.now);
    EXPECT_EQ(f.reconnect().code, FaultCode::none);
}

TEST(Client, AllAddressesAreTriedInTurn) {
    Fixture f({.reconnect = patient()}, agreement(), 3);
    f.end();
    std::vector<std::size_t> tried;
    for (int i = 0; i < 3; ++i) {
        const auto chore = f.client.look_after(f.now);
        ASSERT_TRUE(chore.dial);
        tried.push_back(*chore.dial);
        if (i < 2) f.client.dial_failed({.code = FaultCode::connect_failed}, f.now);
    }
    EXPECT_THAT(tried, ElementsAre(0, 1, 2));
    ASSERT_EQ(f.attach(0).code, FaultCode::none);
    f.now += 10s;
    f.end();
    EXPECT_EQ(f.client.look_after(f.now).dial, 2U);
}

TEST(Client, AHalfSentWriteIsReplayedWhole) {
    Fixture f;
    f.wire().room = request_size + 100;
    Job write(CommandType::write);
    f.submit(write);
    EXPECT_EQ(f.wire().to_server.size(), request_size + 100);
    f.end();
    EXPECT_EQ(write.ended, 0U);
    ASSERT_EQ(f.reconnect().code, FaultCode::none);
    const auto seen = f.serve();
    ASSERT_THAT(seen, SizeIs(1));
    EXPECT_EQ(seen[0].payload, write.buffer);
    EXPECT_TRUE(write.good());
}

TEST(Client, ACommandOfSeveralPiecesIsReplayedFromItsBeginning) {
    auto small = agreement();
    small.info.maximum_payload = 512;
    Fixture f({.reconnect = patient()}, small);
    Job write(CommandType::write, 0, 1024);
    f.submit(write);
    EXPECT_THAT(f.serve(), SizeIs(1));
    EXPECT_EQ(write.ended, 0U);
    f.end();
    ASSERT_EQ(f.reconnect(small).code, FaultCode::none);
    auto seen = f.serve();
    ASSERT_THAT(seen, SizeIs(1));
    EXPECT_EQ(seen[0].offset, 0U);
    (void)f.serve();
    EXPECT_TRUE(write.good());
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
    Job blocker(CommandType::write, 0);
    Job waits(CommandType::trim, 0, std::size_t{64} << 20);
    f.submit({&blocker, &waits});
    f.client.close(f.now);
    EXPECT_EQ(waits.outcome.error, error_shutdown);
}

}  // namespace
}  // namespace wnbd::nbd
