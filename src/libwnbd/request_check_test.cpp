// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/request_check.h"

#include <gtest/gtest.h>

namespace wnbd::libwnbd {
namespace {

ServerLimits everything() {
    ServerLimits limits;
    limits.flags.FlushSupported = 1;
    limits.flags.UnmapSupported = 1;
    limits.flags.UnmapAnchorSupported = 1;
    limits.flags.PersistResSupported = 1;
    limits.block_size = 512;
    limits.unmap_count_max = 16;
    limits.buffer_size = WNBD_DEFAULT_MAX_TRANSFER_LENGTH;
    limits.read = limits.write = limits.flush = limits.unmap = true;
    limits.persistent_reserve_in = limits.persistent_reserve_out = true;
    return limits;
}

WNBD_IO_REQUEST of(WnbdRequestType type) {
    WNBD_IO_REQUEST request{};
    request.RequestType = type;
    if (type == WnbdReqTypeUnmap) request.Cmd.Unmap.Count = 1;
    return request;
}

/// The ASC of a refusal, 0 when there is none; checks what all refusals have in common.
int asc_of(const WNBD_IO_REQUEST& request, const ServerLimits& limits) {
    const auto refusal = refusal_of(request, limits);
    if (!refusal) return 0;
    EXPECT_EQ(refusal->ScsiStatus, 0x02);
    EXPECT_EQ(refusal->SenseKey, 0x05);
    EXPECT_EQ(refusal->ASCQ, 0x00);
    return refusal->ASC;
}

constexpr WnbdRequestType all_types[] = {WnbdReqTypeRead,         WnbdReqTypeWrite,
                                         WnbdReqTypeFlush,        WnbdReqTypeUnmap,
                                         WnbdReqTypePersistResIn, WnbdReqTypePersistResOut};

TEST(RequestCheck, PassesWhatIsAnnouncedAndServed) {
    for (const auto type : all_types)
        EXPECT_EQ(asc_of(of(type), everything()), 0) << type;
}

TEST(RequestCheck, RefusesWhatHasNoCallback) {
    auto limits = everything();
    limits.read = limits.write = limits.flush = limits.unmap = false;
    limits.persistent_reserve_in = limits.persistent_reserve_out = false;
    for (const auto type : all_types)
        EXPECT_EQ(asc_of(of(type), limits), 0x20) << type;
}

TEST(RequestCheck, RefusesWhatIsNotAnnounced) {
    auto limits = everything();
    limits.flags = {};
    EXPECT_EQ(asc_of(of(WnbdReqTypeFlush), limits), 0x20);
    EXPECT_EQ(asc_of(of(WnbdReqTypeUnmap), limits), 0x20);
    EXPECT_EQ(asc_of(of(WnbdReqTypePersistResIn), limits), 0x20);
    EXPECT_EQ(asc_of(of(WnbdReqTypePersistResOut), limits), 0x20);
    EXPECT_EQ(asc_of(of(WnbdReqTypeRead), limits), 0);
}

TEST(RequestCheck, RefusesUnknownTypes) {
    EXPECT_EQ(asc_of(of(WnbdReqTypeUnknown), everything()), 0x20);
    EXPECT_EQ(asc_of(of(static_cast<WnbdRequestType>(99)), everything()), 0x20);
}

TEST(RequestCheck, AnchorNeedsItsOwnFlag) {
    auto limits = everything();
    auto request = of(WnbdReqTypeUnmap);
    request.Cmd.Unmap.Anchor = 1;
    EXPECT_EQ(asc_of(request, limits), 0);
    limits.flags.UnmapAnchorSupported = 0;
    EXPECT_EQ(asc_of(request, limits), 0x24);
}

TEST(RequestCheck, UnmapCountsAreBounded) {
    auto limits = everything();
    auto request = of(WnbdReqTypeUnmap);
    request.Cmd.Unmap.Count = 16;
    EXPECT_EQ(asc_of(request, limits), 0);
    request.Cmd.Unmap.Count = 17;
    EXPECT_EQ(asc_of(request, limits), 0x26);
    request.Cmd.Unmap.Count = 0;
    EXPECT_EQ(asc_of(request, limits), 0x26);
    limits.unmap_count_max = 0xFFFFFFFF;
    request.Cmd.Unmap.Count = 0x10000001;  // times 16 wraps to 16 in 32 bits
    EXPECT_EQ(asc_of(request, limits), 0x26);
}

TEST(RequestCheck, AnUnmapLimitOfZeroMeansOne) {
    EXPECT_EQ(unmap_count_max(0), 1U);
    EXPECT_EQ(unmap_count_max(7), 7U);
}

TEST(RequestCheck, ATransferMustFitTheBuffer) {
    const auto limits = everything();
    for (const auto type : {WnbdReqTypeRead, WnbdReqTypeWrite}) {
        auto request = of(type);
        auto& count =
            type == WnbdReqTypeRead ? request.Cmd.Read.BlockCount : request.Cmd.Write.BlockCount;
        count = WNBD_DEFAULT_MAX_TRANSFER_LENGTH / 512;
        EXPECT_EQ(asc_of(request, limits), 0);
        ++count;
        EXPECT_EQ(asc_of(request, limits), 0x24);
        count = 0x00800000;  // times 512 is 0 in 32 bits
        EXPECT_EQ(asc_of(request, limits), 0x24);
    }
}

}  // namespace
}  // namespace wnbd::libwnbd
