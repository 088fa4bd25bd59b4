// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/command_table.h"

#include <gtest/gtest.h>

#include <map>
#include <random>
#include <vector>

namespace wnbd::iscsi {
namespace {

// Few positions and tags of every kind: probes run into each other all the time.
TEST(CommandTable, FindsWhatIsThereAndNothingElseWhateverWentBefore) {
    CommandTable table(12);
    std::mt19937 random(20261123);
    std::map<std::uint32_t, CommandSlot*> known;
    const auto some_tag = [&] {
        const std::uint32_t number = random() % 24;
        return random() % 2 == 0 ? number : number << 16;
    };
    for (int i = 0; i < 200000; ++i) {
        const std::uint32_t tag = some_tag();
        const auto found = known.find(tag);
        ASSERT_EQ(table.find(tag), found == known.end() ? nullptr : found->second);
        if (found != known.end()) {
            table.give_back(*found->second);
            known.erase(found);
        } else if (table.slots_free() > 0) {
            known[tag] = &table.take(tag);
        }
        ASSERT_EQ(table.slots_free(), 12 - known.size());
        for (const auto& [one, slot] : known)
            ASSERT_EQ(table.find(one), slot) << "after " << tag;
    }
}

TEST(CommandTable, ATagIsFreeBeforeItsSlot) {
    CommandTable table(2);
    CommandSlot& first = table.take(7);
    table.forget_tag(first);
    EXPECT_EQ(table.find(7), nullptr);
    EXPECT_EQ(table.slots_free(), 1U);
    CommandSlot& second = table.take(7);
    EXPECT_NE(&first, &second);
    table.give_back(first);  // does not touch the tag's new owner
    EXPECT_EQ(table.find(7), &second);
}

TEST(CommandTable, ASlotKeepsNothingOfItsLastCommand) {
    CommandTable table(1);
    std::uint8_t bytes[8];
    CommandSlot& used = table.take(1);
    used.state = SlotState::answering;
    used.data = bytes;
    used.cause = engine::Cause::aborted;
    used.answer.status = scsi::Status::busy;
    used.moves_out = 512;
    used.whole = used.delivered = used.unsolicited = true;
    used.wanted = used.received = used.asked_until = used.burst_end = 512;
    used.data_sn = used.r2t_sent = used.r2t_done = 3;
    used.verdict = scsi::Answer{};
    used.send_length = used.sent_until = used.data_in_sn = 4;
    used.residual = Residual::overflow;
    used.residual_count = 5;
    table.give_back(used);

    const CommandSlot& fresh = table.take(2);
    ASSERT_EQ(&fresh, &used);
    EXPECT_EQ(fresh.state, SlotState::gathering);
    EXPECT_TRUE(fresh.data.empty());
    EXPECT_EQ(fresh.cause, engine::Cause::answered);
    EXPECT_EQ(fresh.answer.status, scsi::Status::good);
    EXPECT_EQ(fresh.moves_out, 0U);
    EXPECT_FALSE(fresh.whole || fresh.delivered || fresh.unsolicited || fresh.verdict);
    EXPECT_EQ(fresh.wanted | fresh.received | fresh.asked_until | fresh.burst_end, 0U);
    EXPECT_EQ(fresh.data_sn | fresh.r2t_sent | fresh.r2t_done, 0U);
    EXPECT_EQ(fresh.send_length | fresh.sent_until | fresh.data_in_sn, 0U);
    EXPECT_EQ(fresh.residual, Residual::none);
    EXPECT_EQ(fresh.residual_count, 0U);
}

}  // namespace
}  // namespace wnbd::iscsi
