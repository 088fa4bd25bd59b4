// SPDX-License-Identifier: LGPL-2.1-or-later
// Where the bit-fields of the ABI lie: the one thing offsetof cannot assert at compile time. That
// all other fields lie right is asserted in the header, which this program includes.
#include <gtest/gtest.h>

#include <cstring>

#include "base/windows_types.h"
#include "wnbd_ioctl.h"

namespace {

/// The 32-bit word at `offset` of a structure.
template <typename T>
std::uint32_t word_at(const T& structure, std::size_t offset) {
    std::uint32_t word = 0;
    std::memcpy(&word, reinterpret_cast<const char*>(&structure) + offset, sizeof(word));
    return word;
}

/// What `set` puts into the word at `offset` of an otherwise zero structure.
template <typename T, typename Set>
std::uint32_t bits(std::size_t offset, Set&& set) {
    T structure{};
    set(structure);
    return word_at(structure, offset);
}

TEST(Layout, WnbdFlags) {
    using F = WNBD_FLAGS;
    EXPECT_EQ(bits<F>(0, [](F& f) { f.ReadOnly = 1; }), 1U << 0);
    EXPECT_EQ(bits<F>(0, [](F& f) { f.FlushSupported = 1; }), 1U << 1);
    EXPECT_EQ(bits<F>(0, [](F& f) { f.FUASupported = 1; }), 1U << 2);
    EXPECT_EQ(bits<F>(0, [](F& f) { f.UnmapSupported = 1; }), 1U << 3);
    EXPECT_EQ(bits<F>(0, [](F& f) { f.UnmapAnchorSupported = 1; }), 1U << 4);
    EXPECT_EQ(bits<F>(0, [](F& f) { f.UseKernelNbd = 1; }), 1U << 5);
    EXPECT_EQ(bits<F>(0, [](F& f) { f.PersistResSupported = 1; }), 1U << 6);
    EXPECT_EQ(bits<F>(0, [](F& f) { f.NaaIdSpecified = 1; }), 1U << 7);
    EXPECT_EQ(bits<F>(0, [](F& f) { f.UseUserspaceNbd = 1; }), 1U << 8);
    EXPECT_EQ(bits<F>(0, [](F& f) { f.Reserved = 0x7FFFFF; }), 0xFFFFFE00U);
}

TEST(Layout, OtherFlagWords) {
    EXPECT_EQ(bits<NBD_CONNECTION_FLAGS>(0, [](auto& f) { f.SkipNegotiation = 1; }), 1U);
    EXPECT_EQ(bits<WNBD_CONNECTION_INFO_FLAGS>(0, [](auto& f) { f.Disconnecting = 1; }), 1U);
    EXPECT_EQ(bits<WNBD_REMOVE_COMMAND_FLAGS>(0, [](auto& f) { f.Reserved = ~0U; }), ~0U);
}

TEST(Layout, Status) {
    EXPECT_EQ(bits<WNBD_STATUS>(28, [](auto& s) { s.ReservedFRU = 0xFF; }), 0xFFU);
    EXPECT_EQ(bits<WNBD_STATUS>(28, [](auto& s) { s.InformationValid = 1; }), 1U << 8);
}

TEST(Layout, Request) {
    using R = WNBD_IO_REQUEST;
    EXPECT_EQ(bits<R>(28, [](R& r) { r.Cmd.Read.ForceUnitAccess = 1; }), 1U);
    EXPECT_EQ(bits<R>(28, [](R& r) { r.Cmd.Write.ForceUnitAccess = 1; }), 1U);
    EXPECT_EQ(bits<R>(20, [](R& r) { r.Cmd.Unmap.Anchor = 1; }), 1U);
    EXPECT_EQ(bits<R>(16, [](R& r) { r.Cmd.PersistResOut.Scope = 0xF; }), 0x0F00U);
    EXPECT_EQ(bits<R>(16, [](R& r) { r.Cmd.PersistResOut.Type = 0xF; }), 0xF000U);
}

TEST(RemoveOptions, CarryAConnectionIdLittleEndianInTheFirstReservedBytes) {
    WNBD_REMOVE_COMMAND_OPTIONS options{};
    EXPECT_EQ(WnbdGetRemoveConnectionId(&options), 0U);
    WnbdSetRemoveConnectionId(&options, 0x8877665544332211);
    for (unsigned i = 0; i < 8; ++i)
        EXPECT_EQ(options.Reserved[i], 0x11 * (i + 1));
    for (unsigned i = 8; i < sizeof(options.Reserved); ++i)
        EXPECT_EQ(options.Reserved[i], 0);
    EXPECT_EQ(WnbdGetRemoveConnectionId(&options), 0x8877665544332211U);
    WnbdSetRemoveConnectionId(&options, 0);
    EXPECT_EQ(WnbdGetRemoveConnectionId(&options), 0U);
}

TEST(Names, OfRequestTypes) {
    EXPECT_STREQ(WnbdRequestTypeToStr(WnbdReqTypeRead), "READ");
    EXPECT_STREQ(WnbdRequestTypeToStr(WnbdReqTypeWrite), "WRITE");
    EXPECT_STREQ(WnbdRequestTypeToStr(WnbdReqTypeFlush), "FLUSH");
    EXPECT_STREQ(WnbdRequestTypeToStr(WnbdReqTypeUnmap), "UNMAP");
    EXPECT_STREQ(WnbdRequestTypeToStr(WnbdReqTypeDisconnect), "DISCONNECT");
    EXPECT_STREQ(WnbdRequestTypeToStr(WnbdReqTypePersistResIn), "PERSISTENT_RESERVE_IN");
    EXPECT_STREQ(WnbdRequestTypeToStr(WnbdReqTypePersistResOut), "PERSISTENT_RESERVE_OUT");
    EXPECT_STREQ(WnbdRequestTypeToStr(WnbdReqTypeUnknown), "UNKNOWN");
    EXPECT_STREQ(WnbdRequestTypeToStr(static_cast<WnbdRequestType>(77)), "UNKNOWN");
}

}  // namespace
