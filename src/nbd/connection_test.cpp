// SPDX-License-Identifier: LGPL-2.1-or-later
// A connection by itself: what it tells of time, how it ends, and how it begins anew.
#include "nbd/connection.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <functional>
#include <memory>
#include <vector>

#include "nbd/fake_stream.h"

namespace wnbd::nbd {
namespace {

using test::FakeStream;
using test::FakeWire;
using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using Bytes = std::vector<std::uint8_t>;
using Ending = Connection::Ending;
using Step = Connection::Step;

/// Lets the test act while somebody is the sender, as another thread would.
class WatchedStream final : public Stream {
  public:
    WatchedStream(std::shared_ptr<FakeWire> wire, const std::function<void()>& sending)
        : inner_(std::move(wire)), sending_(sending) {}

    IoResult send(std::span<const IoSlice> slices) noexcept override {
        if (sending_) sending_();
        return inner_.send(slices);
    }
    IoResult receive(std::span<const IoSlice> slices) noexcept override {
        return inner_.receive(slices);
    }
    Ready wait(const WaitFor& what) noexcept override { return inner_.wait(what); }
    void wake() noexcept override {}
    void shut_down() noexcept override { inner_.shut_down(); }
    void shut_down_send() noexcept override { inner_.shut_down_send(); }

  private:
    FakeStream inner_;
    const std::function<void()>& sending_;
};

class ConnectionTest : public ::testing::Test, private ConnectionSink {
  protected:
    void attach(std::uint32_t time = 0, std::uint32_t payload_max = default_maximum_payload) {
        wire = std::make_shared<FakeWire>();
        connection.attach(std::make_unique<WatchedStream>(wire, sending),
                          {.info = {.size = 1 << 20, .maximum_payload = payload_max}}, time);
    }
    void admit(const Command& command) {
        ASSERT_EQ(connection.admit(command), Connection::Admission::accepted);
        connection.kick();
    }
    void read(std::uint64_t offset = 0) {
        admit({.offset = offset, .length = buffer.size(), .data = buffer.data(), .cookie = this});
    }
    Step step() { return connection.step({.readable = true, .writable = true}); }
    /// The server ends its side, and what is unanswered comes back.
    void lose() {
        wire->server_ended = true;
        while (step() != Step::over) {
        }
        (void)connection.detach([this](void*) { ++taken_back; });
    }

    std::shared_ptr<FakeWire> wire;
    std::function<void()> sending;  // called before each send
    Bytes buffer = Bytes(1024);
    std::vector<std::uint32_t> ended;
    unsigned taken_back = 0;
    Connection connection{8, *this};

  private:
    void completed(Connection& /*connection*/, void* /*cookie*/,
                   std::uint32_t error) noexcept override {
        ended.push_back(error);
    }
    void received_all(Connection& /*connection*/) noexcept override {}
};

TEST_F(ConnectionTest, TheOldestRequestIsToldAlsoWhereTheTimeBeginsAnew) {
    attach(0xffffffff - 100);
    EXPECT_EQ(connection.oldest_age(), std::nullopt);
    read();
    connection.set_time(0xffffffff - 50);
    read(4096);
    connection.set_time(49);
    EXPECT_EQ(connection.oldest_age(), 150U);
    // The older one is answered.
    wire->answer(wire->take_all().at(0));
    (void)step();
    EXPECT_EQ(connection.oldest_age(), 100U);
}

TEST_F(ConnectionTest, EachPieceOfALongCommandHasATimeOfItsOwn) {
    attach(0, 512);
    read();
    connection.set_time(70);
    wire->answer(wire->take_all().at(0));
    (void)step();
    connection.set_time(100);
    EXPECT_EQ(connection.oldest_age(), 30U);
    EXPECT_THAT(ended, IsEmpty());
}

TEST_F(ConnectionTest, WhenTheServerWasHeardLastIsTold) {
    attach(7);
    EXPECT_EQ(connection.heard(), 7U);
    read();
    connection.set_time(50);
    EXPECT_EQ(connection.heard(), 7U);
    wire->to_client.push_back(0x67);  // a reply's first byte
    (void)step();
    EXPECT_EQ(connection.heard(), 50U);
    lose();
    attach(80);
    EXPECT_EQ(connection.heard(), 80U);
}

TEST_F(ConnectionTest, ABusyServerIsNotAskedForASignOfLife) {
    attach();
    connection.probe();
    EXPECT_THAT(wire->take_all(), SizeIs(1));
    connection.probe();
    EXPECT_THAT(wire->take_all(), IsEmpty());
}

TEST_F(ConnectionTest, DiscIsSaidOnlyWhereNothingIsInFlight) {
    attach();
    read();
    ASSERT_THAT(wire->take_all(), SizeIs(1));
    connection.end({.code = FaultCode::closed}, Ending::orderly);
    EXPECT_THAT(wire->to_server, IsEmpty());
    EXPECT_TRUE(wire->sending_over);
    EXPECT_EQ(connection.admit({}), Connection::Admission::gone);
    lose();
    EXPECT_EQ(taken_back, 1U);
    // Each stream has its own farewell.
    attach();
    connection.end({.code = FaultCode::closed}, Ending::orderly);
    const auto said = wire->take_all();
    ASSERT_THAT(said, SizeIs(1));
    EXPECT_EQ(said[0].type, CommandType::disconnect);
    EXPECT_TRUE(wire->sending_over);
}

TEST_F(ConnectionTest, AnAnswerAfterTheFarewellIsTakenStill) {
    attach();
    read();
    const auto request = wire->take_all().at(0);
    connection.end({.code = FaultCode::timed_out}, Ending::orderly);
    wire->answer(request);
    EXPECT_EQ(step(), Step::goes_on);
    EXPECT_THAT(ended, ElementsAre(0U));
    lose();
    EXPECT_EQ(taken_back, 0U);
}

TEST_F(ConnectionTest, TheFirstFaultIsTheCauseAndGoesWithItsStream) {
    attach();
    connection.end({.code = FaultCode::timed_out}, Ending::orderly);
    connection.end({.code = FaultCode::closed}, Ending::hard);
    EXPECT_EQ(connection.fault().code, FaultCode::timed_out);
    lose();
    EXPECT_EQ(connection.fault().code, FaultCode::timed_out);
    attach();
    EXPECT_EQ(connection.fault().code, FaultCode::none);
}

TEST_F(ConnectionTest, AHangUpSaysWhetherItCutAReply) {
    attach();
    lose();
    EXPECT_STREQ(connection.fault().step, "in transmission");
    attach();
    read();
    wire->to_client.push_back(0x67);
    lose();
    EXPECT_STREQ(connection.fault().step, "in the middle of a reply");
}

TEST_F(ConnectionTest, AFullStreamIsNothingToTheNextOne) {
    attach();
    wire->room = 0;
    read();
    EXPECT_TRUE(connection.wants().room);
    wire->server_ended = true;
    while (connection.step({.readable = true}) != Step::over) {
    }
    (void)connection.detach([](void*) {});
    attach();
    EXPECT_FALSE(connection.wants().room);
    read();
    EXPECT_THAT(wire->take_all(), SizeIs(1));
}

// The farewell must not come between the pieces of what is being sent.
TEST_F(ConnectionTest, WhoeverSendsSaysTheFarewellWhenItIsDone) {
    attach();
    bool within = false;
    sending = [&] {
        if (std::exchange(within, true)) return;
        connection.end({.code = FaultCode::closed}, Ending::orderly);
        EXPECT_FALSE(wire->sending_over);
    };
    read();
    EXPECT_TRUE(within);
    EXPECT_TRUE(wire->sending_over);
    EXPECT_THAT(wire->take_all(), SizeIs(1));
    lose();
}

TEST_F(ConnectionTest, ItIsNotOverWhileSomebodySends) {
    attach();
    bool within = false;
    sending = [&] {
        if (std::exchange(within, true)) return;
        connection.end({.code = FaultCode::closed}, Ending::hard);
        EXPECT_EQ(connection.step({}), Step::ending) << "its buffers would be given back";
    };
    read();
    EXPECT_TRUE(within);
    EXPECT_EQ(connection.step({}), Step::over);
    lose();
    EXPECT_EQ(taken_back, 1U);
}

}  // namespace
}  // namespace wnbd::nbd
