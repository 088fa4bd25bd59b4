// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/counters.h"

#include <gtest/gtest.h>

#include <atomic>
#include <thread>
#include <vector>

namespace wnbd::libwnbd {
namespace {

WNBD_IO_REQUEST write_of(UINT32 blocks) {
    WNBD_IO_REQUEST request{};
    request.RequestType = WnbdReqTypeWrite;
    request.Cmd.Write.BlockCount = blocks;
    return request;
}

TEST(Counters, FollowARequestThroughItsLife) {
    Counters counters;
    counters.received();
    EXPECT_EQ(counters.snapshot().unsubmitted, 1U);
    counters.submitted(write_of(8));
    EXPECT_EQ(counters.snapshot().unsubmitted, 0U);
    EXPECT_EQ(counters.snapshot().pending_submitted, 1U);
    EXPECT_EQ(counters.snapshot().written_blocks, 8U);
    counters.reply_begun(WnbdReqTypeWrite, true);
    EXPECT_EQ(counters.snapshot().pending_submitted, 0U);
    EXPECT_EQ(counters.snapshot().pending_replies, 1U);
    counters.reply_ended();
    const auto end = counters.snapshot();
    EXPECT_EQ(end.pending_replies, 0U);
    EXPECT_EQ(end.errors[WnbdReqTypeWrite], 1U);
    EXPECT_EQ(end.received, end.submitted);
}

TEST(Counters, ARejectedRequestIsNotSubmitted) {
    Counters counters;
    counters.received();
    counters.rejected();
    const auto values = counters.snapshot();
    EXPECT_EQ(values.invalid, 1U);
    EXPECT_EQ(values.submitted, 0U);
    EXPECT_EQ(values.unsubmitted, 0U);
}

TEST(Counters, AReplyTooManyDoesNotDrivePendingBelowZero) {
    Counters counters;
    counters.reply_begun(WnbdReqTypeRead, false);
    counters.reply_ended();
    EXPECT_EQ(counters.snapshot().pending_submitted, 0U);
    EXPECT_EQ(counters.snapshot().replies, 0U) << "submitted = replies + pending";
}

TEST(Counters, AnUnknownTypeCountsInNoErrorCounter) {
    Counters counters;
    counters.reply_begun(static_cast<WnbdRequestType>(4000), true);
    for (const auto errors : counters.snapshot().errors)
        EXPECT_EQ(errors, 0U);
}

TEST(Counters, AddUpInEverySnapshotWhileThreadsWork) {
    Counters counters;
    std::atomic<bool> stop{false};
    std::vector<std::thread> threads;
    for (int i = 0; i < 3; ++i)
        threads.emplace_back([&, i] {
            while (!stop) {
                counters.received();
                if (i == 0) {
                    counters.rejected();
                    continue;
                }
                counters.submitted(write_of(1));
                counters.reply_begun(WnbdReqTypeWrite, false);
                counters.reply_ended();
            }
        });
    for (int i = 0; i < 20000; ++i) {
        const auto values = counters.snapshot();
        ASSERT_EQ(values.received, values.submitted + values.unsubmitted + values.invalid);
        ASSERT_EQ(values.submitted, values.replies + values.pending_submitted);
        ASSERT_LE(values.pending_replies, 3U);
    }
    stop = true;
    for (auto& thread : threads)
        thread.join();
}

}  // namespace
}  // namespace wnbd::libwnbd
