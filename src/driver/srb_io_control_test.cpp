// SPDX-License-Identifier: LGPL-2.1-or-later
// IO_CONTROL and PNP SRBs against a real disk of the engine's.
#include <gtest/gtest.h>

#include "driver/ddk/firmware.h"
#include "driver/srb_functions.h"
#include "driver/srb_test_srbs.h"

namespace wnbd::driver {
namespace {

using test::ClassicSrb;

class NoPort final : public engine::Port {
  public:
    void complete(void*, engine::Cause, const scsi::Answer&) noexcept override {}
    std::span<std::uint8_t> data(void*) noexcept override { return {}; }
    void reset_done(void*) noexcept override {}
    void disks_changed() noexcept override {}
    void schedule_removal(std::uint64_t) noexcept override {}
};

class SrbData : public testing::Test {
  protected:
    void SetUp() override {
        adapter->initialize(port);
        WNBD_PROPERTIES properties{};
        std::strcpy(properties.InstanceName, "disk");
        properties.BlockSize = 512;
        properties.BlockCount = 2048;
        properties.Flags.FlushSupported = 1;
        ASSERT_TRUE(adapter->create(properties, nullptr, 4).ok());
    }
    void TearDown() override { adapter->remove_all(); }

    /// A firmware request with room for `room` bytes of answer; changed by `change`.
    template <typename Change>
    UCHAR ask(ULONG room, Change&& change) {
        buffer.assign(sizeof(SRB_IO_CONTROL) + sizeof(FIRMWARE_REQUEST_BLOCK) + room, 0);
        SRB_IO_CONTROL header{};
        header.HeaderLength = sizeof header;
        std::memcpy(header.Signature, IOCTL_MINIPORT_SIGNATURE_FIRMWARE, sizeof header.Signature);
        header.ControlCode = IOCTL_SCSI_MINIPORT_FIRMWARE;
        header.ReturnCode = 0xAAAAAAAA;
        header.Length = sizeof(FIRMWARE_REQUEST_BLOCK) + room;
        FIRMWARE_REQUEST_BLOCK request{};
        request.Version = FIRMWARE_REQUEST_BLOCK_STRUCTURE_VERSION;
        request.Size = sizeof request;
        request.Function = FIRMWARE_FUNCTION_GET_INFO;
        request.DataBufferOffset = sizeof header + sizeof request;
        request.DataBufferLength = room;
        change(header, request);
        std::memcpy(buffer.data(), &header, sizeof header);
        std::memcpy(buffer.data() + sizeof header, &request, sizeof request);
        return send();
    }

    UCHAR send() {
        ClassicSrb srb(SRB_FUNCTION_IO_CONTROL);
        srb.srb->DataBuffer = buffer.data();
        srb.srb->DataTransferLength = static_cast<ULONG>(buffer.size());
        return answer_io_control(adapter->unit_at(0), srb.view());
    }

    [[nodiscard]] ULONG return_code() const {
        SRB_IO_CONTROL header;
        std::memcpy(&header, buffer.data(), sizeof header);
        return header.ReturnCode;
    }

    NoPort port;
    std::unique_ptr<engine::Adapter> adapter = std::make_unique<engine::Adapter>();
    std::vector<std::uint8_t> buffer;
};

constexpr auto unchanged = [](SRB_IO_CONTROL&, FIRMWARE_REQUEST_BLOCK&) {};

TEST_F(SrbData, FirmwareIsOneSlotThatCantBeUpgraded) {
    ASSERT_EQ(ask(sizeof(STORAGE_FIRMWARE_INFO_V2), unchanged), SRB_STATUS_SUCCESS);
    EXPECT_EQ(return_code(), FIRMWARE_STATUS_SUCCESS);
    STORAGE_FIRMWARE_INFO_V2 info;
    std::memcpy(&info, buffer.data() + buffer.size() - sizeof info, sizeof info);
    EXPECT_EQ(info.Version, STORAGE_FIRMWARE_INFO_STRUCTURE_VERSION_V2);
    EXPECT_FALSE(info.UpgradeSupport);
    EXPECT_EQ(info.SlotCount, 1);
    EXPECT_TRUE(info.Slot[0].ReadOnly);
    EXPECT_NE(info.Slot[0].Revision[0], 0);
}

TEST_F(SrbData, DownloadAndActivateAreRefused) {
    for (const ULONG function : {2U, 3U, 0U, 0xFFFFFFFFU}) {
        EXPECT_EQ(ask(64, [&](auto&, auto& request) { request.Function = function; }),
                  SRB_STATUS_SUCCESS);
        EXPECT_EQ(return_code(), FIRMWARE_STATUS_ILLEGAL_REQUEST) << function;
    }
}

TEST_F(SrbData, AnAnswerThatDoesNotFitIsNotGiven) {
    ASSERT_EQ(ask(sizeof(STORAGE_FIRMWARE_INFO_V2) - 1, unchanged), SRB_STATUS_SUCCESS);
    EXPECT_EQ(return_code(), FIRMWARE_STATUS_OUTPUT_BUFFER_TOO_SMALL);
}

TEST_F(SrbData, OffsetsAndLengthsBeyondTheBufferAreRefused) {
    constexpr ULONG room = sizeof(STORAGE_FIRMWARE_INFO_V2);
    for (const ULONG offset : {0U, 28U, 51U, 53U, 52U + room, 0xFFFFFFFFU}) {
        ASSERT_EQ(ask(room, [&](auto&, auto& request) { request.DataBufferOffset = offset; }),
                  SRB_STATUS_SUCCESS);
        EXPECT_EQ(return_code(), FIRMWARE_STATUS_INVALID_PARAMETER) << offset;
    }
    ASSERT_EQ(ask(room, [](auto&, auto& request) { request.DataBufferLength = 0xFFFFFFFF; }),
              SRB_STATUS_SUCCESS);
    EXPECT_EQ(return_code(), FIRMWARE_STATUS_INVALID_PARAMETER);
}

TEST_F(SrbData, AHeaderThatLiesAboutItsLengthIsRefused) {
    for (const ULONG length : {0U, 27U, 29U})
        EXPECT_EQ(ask(64, [&](auto& header, auto&) { header.HeaderLength = length; }),
                  SRB_STATUS_INVALID_REQUEST);
    EXPECT_EQ(ask(64, [](auto& header, auto&) { ++header.Length; }), SRB_STATUS_INVALID_REQUEST);
    EXPECT_EQ(ask(64, [](auto& header, auto&) { header.Length = 0xFFFFFFFF; }),
              SRB_STATUS_INVALID_REQUEST);
}

TEST_F(SrbData, WhatTheHeaderDoesNotClaimIsNotTouched) {
    constexpr ULONG room = sizeof(STORAGE_FIRMWARE_INFO_V2);
    ASSERT_EQ(ask(room, [](auto& header, auto&) { --header.Length; }), SRB_STATUS_SUCCESS);
    EXPECT_EQ(return_code(), FIRMWARE_STATUS_INVALID_PARAMETER);
    EXPECT_EQ(buffer.back(), 0);
}

TEST_F(SrbData, AShortOrMissingBufferIsRefused) {
    for (std::size_t size = 0; size < sizeof(SRB_IO_CONTROL); ++size) {
        buffer.assign(size, 0);
        EXPECT_EQ(send(), SRB_STATUS_INVALID_REQUEST) << size;
    }
    ClassicSrb srb(SRB_FUNCTION_IO_CONTROL);
    srb.srb->DataTransferLength = 4096;
    EXPECT_EQ(answer_io_control(adapter->unit_at(0), srb.view()), SRB_STATUS_INVALID_REQUEST);
}

TEST_F(SrbData, OtherControlCodesAreRefused) {
    EXPECT_EQ(ask(64, [](auto& header, auto&) { header.ControlCode = 0x001B0500; }),
              SRB_STATUS_INVALID_REQUEST);
    EXPECT_EQ(ask(64, [](auto& header, auto&) { header.Signature[0] = 'f'; }),
              SRB_STATUS_INVALID_REQUEST);
}

TEST_F(SrbData, CapabilitiesLetWindowsAskBeforeItRemoves) {
    STOR_DEVICE_CAPABILITIES_EX capabilities{};
    ClassicSrb srb(SRB_FUNCTION_PNP);
    auto& pnp = reinterpret_cast<SCSI_PNP_REQUEST_BLOCK&>(*srb.srb);
    pnp.PnPAction = StorQueryCapabilities;
    pnp.DataBuffer = &capabilities;
    pnp.DataTransferLength = sizeof capabilities;
    ASSERT_EQ(answer_pnp(adapter->unit_at(0), srb.view()), SRB_STATUS_SUCCESS);
    EXPECT_EQ(capabilities.Version, 1);
    EXPECT_EQ(capabilities.Size, sizeof capabilities);
    EXPECT_TRUE(capabilities.Bits & STOR_CAPABILITY_REMOVABLE);
    EXPECT_TRUE(capabilities.Bits & STOR_CAPABILITY_EJECT_SUPPORTED);
    EXPECT_TRUE(capabilities.Bits & STOR_CAPABILITY_EX_DEFAULT_WRITE_CACHE_ENABLED);
    EXPECT_FALSE(capabilities.Bits & STOR_CAPABILITY_EX_SURPRISE_REMOVAL_OK);

    pnp.DataTransferLength = sizeof capabilities - 1;
    EXPECT_EQ(answer_pnp(adapter->unit_at(0), srb.view()), SRB_STATUS_INVALID_REQUEST);
    pnp.DataTransferLength = sizeof capabilities;
    EXPECT_EQ(answer_pnp(adapter->unit_at(1), srb.view()), SRB_STATUS_NO_DEVICE);
    pnp.SrbPnPFlags = SRB_PNP_FLAGS_ADAPTER_REQUEST;
    EXPECT_EQ(answer_pnp(adapter->unit_at(0), srb.view()), SRB_STATUS_INVALID_REQUEST);
}

}  // namespace
}  // namespace wnbd::driver
