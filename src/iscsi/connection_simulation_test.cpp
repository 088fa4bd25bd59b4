// SPDX-License-Identifier: LGPL-2.1-or-later
// Random lives: several initiators, honest and not, bytes in random pieces, backends that answer
// late, aborts, resets, logins that replace sessions. Whatever happens, every command is answered
// once at most, and once exactly when nobody ended it; numbers have no gaps; what was written is
// read; nothing is left behind.
#include <gtest/gtest.h>

#include <algorithm>
#include <map>
#include <random>

#include "iscsi/connection.h"
#include "iscsi/test_initiator.h"
#include "iscsi/test_target.h"

namespace wnbd::iscsi {
namespace {

using scsi::Status;
using test::Bytes;
using test::Initiator;
using test::Outcome;
using test::pattern;
using test::Reply;
using test::TestTarget;

constexpr std::uint32_t place_count = 16;   // of an initiator's on the disk
constexpr std::uint32_t place_blocks = 96;  // of a place

/// A random number generator that is the same everywhere.
class Dice {
  public:
    explicit Dice(std::uint32_t seed) : engine_(seed) {}
    std::uint32_t below(std::uint32_t limit) {
        return static_cast<std::uint32_t>(engine_() % limit);
    }
    bool one_in(std::uint32_t chance) { return below(chance) == 0; }

  private:
    std::mt19937 engine_;
};

struct Command {
    bool writes = false;
    std::uint32_t place = 0;
    std::uint32_t blocks = 0;
    std::uint32_t seed = 0;  // of what is written
    bool may_vanish = false;
    Outcome outcome{};
};

struct Place {
    bool busy = false;
    bool known = true;  // what is there
    std::uint32_t blocks = 0;
    std::uint32_t seed = 0;
};

/// An initiator and what it must see.
class Client {
  public:
    Client(TestTarget& served, Dice& dice, std::uint8_t isid)
        : served_(served), dice_(dice), isid_(isid) {
        connect();
    }

    void act() {
        if (initiator_->connection.finished()) return reconnect();
        switch (dice_.below(20)) {
            case 0: return abort_something();
            case 1: return dice_.one_in(4) ? reset() : ping();
            case 2: return dice_.one_in(10) ? reconnect() : ping();
            default: break;
        }
        if (commands_.size() < 6) start();
        collect();
    }

    /// Everything must come to its end.
    void finish() {
        for (int round = 0; round < 1000 && !commands_.empty(); ++round) {
            served_.backend().release_all();
            collect();
            std::erase_if(commands_, [](const auto& entry) { return entry.second.may_vanish; });
        }
        EXPECT_TRUE(initiator_->connection.finished() || commands_.empty())
            << commands_.size() << " commands were never answered";
    }

  protected:
    void connect() {
        commands_.clear();
        initiator_ = std::make_unique<Initiator>(served_.target);
        initiator_->chunk = [this] {
            return 1 + std::size_t{dice_.below(dice_.one_in(3) ? 60 : 9000)};
        };
        test::Portal portal{.isid = isid_};
        for (const char* key :
             {"HeaderDigest=CRC32C", "DataDigest=CRC32C", "InitialR2T=No", "ImmediateData=No",
              "MaxRecvDataSegmentLength=2000", "MaxBurstLength=6000", "FirstBurstLength=3000",
              "MaxOutstandingR2T=3"})
            if (dice_.one_in(2)) portal.keys.emplace_back(key);
        // FirstBurstLength never exceeds MaxBurstLength.
        initiator_->send(initiator_->login_request(portal));
        auto status = initiator_->login_answer();
        for (int i = 0; i < 10 && !status; ++i) {
            served_.backend().release_all();
            for (const auto& old : old_)
                old->connection.process_completions();
            status = initiator_->login_answer();
        }
        ASSERT_EQ(status, LoginStatus::success);
        old_.clear();
        immediate_data_ = initiator_->login_keys.find("ImmediateData=No") == std::string::npos;
        solicited_only_ = initiator_->login_keys.find("InitialR2T=No") == std::string::npos;
        // A nexus that was lost is told so; what was in the way of that is gone as well.
        const Outcome ready = initiator_->run(initiator_->command(Bytes(6), Initiator::none, 0));
        EXPECT_TRUE(ready.answered);
    }

    void reconnect() {
        for (auto& [tag, command] : commands_)
            places_[command.place].known = places_[command.place].known && !command.writes;
        for (Place& place : places_)
            place.busy = false;
        initiator_->connection.detach();
        old_.push_back(std::move(initiator_));
        connect();
    }

    [[nodiscard]] std::uint32_t lba_of(std::uint32_t place) const {
        return (isid_ * place_count + place) * place_blocks;
    }

    void start() {
        const std::uint32_t at = dice_.below(place_count);
        Place& place = places_[at];
        if (place.busy) return;
        place.busy = true;
        Command command{.writes = dice_.one_in(2), .place = at};
        command.blocks =
            command.writes || place.blocks == 0 ? 1 + dice_.below(place_blocks) : place.blocks;
        command.seed = dice_.below(1'000'000);
        const std::uint32_t bytes = command.blocks * 512;
        const auto blocks = static_cast<std::uint16_t>(command.blocks);
        if (!command.writes) {
            const auto request =
                initiator_->command(Initiator::read10(lba_of(at), blocks), Initiator::reads, bytes);
            commands_.emplace(request.task_tag, command);
            return initiator_->send(request);
        }
        const Bytes data = pattern(bytes, command.seed);
        const std::uint32_t first = std::min({bytes, 512U, 3000U});
        Bytes start;
        if (immediate_data_ && dice_.one_in(2)) start.assign(data.begin(), data.begin() + first);
        const bool unasked = !solicited_only_ && dice_.one_in(2);
        const auto unasked_end = static_cast<std::uint32_t>(
            std::min<std::size_t>({bytes, start.size() + dice_.below(1000), 2900}));
        const auto request = initiator_->command(Initiator::write10(lba_of(at), blocks),
                                                 Initiator::writes, bytes, start, !unasked);
        commands_.emplace(request.task_tag, command);
        initiator_->send(request);
        if (!unasked) return;
        const auto begin = static_cast<std::uint32_t>(start.size());
        initiator_->send(initiator_->data_out(
            request.task_tag, no_tag, 0, begin,
            Bytes(data.begin() + begin, data.begin() + std::max(begin, unasked_end)), true));
    }

    void collect() {
        while (auto reply = initiator_->next())
            take(*reply);
    }

    void take(const Reply& reply) {
        const auto found = commands_.find(reply.task_tag());
        const bool is_command = reply.opcode() == Opcode::ready_to_transfer ||
                                reply.opcode() == Opcode::data_in ||
                                reply.opcode() == Opcode::scsi_response;
        if (!is_command) return;
        ASSERT_NE(found, commands_.end()) << "an answer to nothing";
        Command& command = found->second;
        if (reply.opcode() == Opcode::ready_to_transfer) {
            initiator_->answer_r2t(reply, pattern(std::size_t{512} * command.blocks, command.seed),
                                   1 + dice_.below(8000));
            return;
        }
        Initiator::take(reply, command.outcome);
        if (!command.outcome.answered) return;
        settle(command);
        commands_.erase(found);
    }

    void settle(const Command& command) {
        Place& place = places_[command.place];
        place.busy = false;
        if (command.outcome.status != Status::good) {
            // Only what somebody else's reset has left to be told.
            EXPECT_EQ(command.outcome.sense >> 16, 0x06U);
            if (command.writes) place.known = false;
            return;
        }
        EXPECT_EQ(command.outcome.residual, Residual::none);
        if (command.writes) {
            place = {.blocks = command.blocks, .seed = command.seed};
        } else if (place.known && place.blocks == command.blocks) {
            EXPECT_EQ(command.outcome.data, pattern(std::size_t{512} * place.blocks, place.seed));
        }
    }

    void vanish(Command& command) {
        command.may_vanish = true;
        Place& place = places_[command.place];
        if (command.writes) place.known = false;
        place.busy = true;  // whatever becomes of it
    }

    void abort_something() {
        if (commands_.empty()) return;
        auto victim = commands_.begin();
        std::advance(victim, dice_.below(static_cast<std::uint32_t>(commands_.size())));
        vanish(victim->second);
        initiator_->send(initiator_->task_management(TaskFunction::abort_task, victim->first));
    }

    void reset() {
        ++resets;
        initiator_->send(initiator_->task_management(
            dice_.one_in(2) ? TaskFunction::logical_unit_reset : TaskFunction::clear_task_set));
        for (auto& [tag, command] : commands_)
            vanish(command);
    }

    void ping() {
        initiator_->send({.immediate = dice_.one_in(2),
                          .task_tag = 0x4000'0000 + initiator_->next_tag++,
                          .data = Bytes(dice_.below(700))});
    }

  public:
    /// Another client has reset the unit.
    void expect_losses() {
        for (auto& [tag, command] : commands_)
            vanish(command);
    }
    unsigned resets = 0;

  protected:
    TestTarget& served_;
    Dice& dice_;
    const std::uint8_t isid_;
    std::unique_ptr<Initiator> initiator_;
    std::vector<std::unique_ptr<Initiator>> old_;
    std::map<std::uint32_t, Command> commands_;
    std::array<Place, place_count> places_;
    bool immediate_data_ = true;
    bool solicited_only_ = true;
};

/// Sends what comes to its mind.
class Vandal {
  public:
    Vandal(TestTarget& served, Dice& dice) : served_(served), dice_(dice) {}

    void act() {
        if (!initiator_ || initiator_->connection.finished()) {
            initiator_ = std::make_unique<Initiator>(served_.target);
            if (!dice_.one_in(3)) initiator_->login({.isid = 99});
        }
        Bytes bytes(header_length);
        for (auto& byte : bytes)
            byte = static_cast<std::uint8_t>(dice_.below(256));
        static constexpr std::uint8_t opcodes[] = {0, 1, 2, 3, 4, 5, 6, 0x10, 0x41, 0x42, 0x46};
        if (!dice_.one_in(8)) bytes[0] = opcodes[dice_.below(std::size(opcodes))];
        // Mostly, lengths that can be, and numbers near those that are expected.
        if (!dice_.one_in(20)) {
            bytes[4] = dice_.one_in(4) ? 2 : 0;
            store_big_endian(&bytes[4], static_cast<std::uint32_t>(std::uint32_t{bytes[4]} << 24 |
                                                                   dice_.below(3000)));
        }
        if (dice_.one_in(2)) store_big_endian(&bytes[24], initiator_->command_sn++);
        if (!dice_.one_in(4)) store_big_endian(&bytes[8], std::uint64_t{0});
        if (!dice_.one_in(4)) store_big_endian(&bytes[16], dice_.below(20));
        if (dice_.one_in(2)) store_big_endian(&bytes[20], dice_.below(3000));
        // Commands that do little to the others' places.
        if ((bytes[0] & 0x3F) == 1) bytes[32] = dice_.one_in(2) ? 0x28 : 0x12;
        if ((bytes[0] & 0x3F) == 2) bytes[1] = static_cast<std::uint8_t>(0x81 + dice_.below(2));
        const std::size_t rest = bytes[4] * 4U + padded(load_big_endian_24(&bytes[5]));
        bytes.resize(bytes.size() + std::min<std::size_t>(rest, 70'000));
        initiator_->feed(bytes);
        initiator_->replies.clear();
    }

  private:
    TestTarget& served_;
    Dice& dice_;
    std::unique_ptr<Initiator> initiator_;
};

void live(std::uint32_t seed) {
    Dice dice(seed);
    TestTarget served;
    {
        std::vector<std::unique_ptr<Client>> clients;
        for (std::uint8_t isid = 1; isid <= 3; ++isid)
            clients.push_back(std::make_unique<Client>(served, dice, isid));
        Vandal vandal(served, dice);
        for (int step = 0; step < 300; ++step) {
            served.backend().hold = !dice.one_in(3);
            if (dice.one_in(3)) vandal.act();
            auto& client = *clients[dice.below(3)];
            const unsigned resets = client.resets;
            client.act();
            if (client.resets != resets) {
                for (auto& other : clients)
                    other->expect_losses();
            }
            while (!served.backend().held.empty() && dice.one_in(2))
                served.backend().release_one();
        }
        served.backend().hold = false;
        served.backend().release_all();
        for (auto& client : clients)
            client->finish();
        served.backend().release_all();
    }
    EXPECT_EQ(served.target.buffers().in_use(), 0U);
    EXPECT_EQ(served.target.sessions().size(), 0U);
}

TEST(ConnectionSimulation, WhateverHappensAddsUp) {
    for (std::uint32_t seed = 1; seed <= 25 && !testing::Test::HasFailure(); ++seed) {
        SCOPED_TRACE(testing::Message() << "seed " << seed);
        live(seed);
    }
}

}  // namespace
}  // namespace wnbd::iscsi
