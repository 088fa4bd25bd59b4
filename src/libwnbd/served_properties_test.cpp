// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/served_properties.h"

#include <gtest/gtest.h>

#include <memory>
#include <string>

namespace wnbd::libwnbd {
namespace {

struct Fit {
    WNBD_PROPERTIES properties{};
    backend::Properties backend;
    std::string remark, refusal;

    void go() { refusal = fit_to_backend(properties, backend, remark); }
};

TEST(ServedProperties, ABlockSizeOfZeroIs512) {
    Fit fit;
    fit.backend.size = 1 << 20;
    fit.go();
    EXPECT_EQ(fit.refusal, "");
    EXPECT_EQ(fit.properties.BlockSize, 512U);
    EXPECT_EQ(fit.properties.BlockCount, 2048U);
    EXPECT_EQ(fit.properties.MaxUnmapDescCount, 256U);
}

TEST(ServedProperties, ABlockSizeOfZeroFollowsALargerMinimumBlock) {
    Fit fit;
    fit.backend.size = 1 << 20;
    fit.backend.minimum_block = 4096;
    fit.go();
    EXPECT_EQ(fit.refusal, "");
    EXPECT_EQ(fit.properties.BlockSize, 4096U);
}

TEST(ServedProperties, RefusesOtherBlockSizesAndWhatTheStorageCannotDo) {
    for (const UINT32 block_size : {1U, 511U, 520U, 1024U, 8192U, 0xFFFFFFFFU}) {
        Fit fit;
        fit.backend.size = 1 << 20;
        fit.properties.BlockSize = block_size;
        fit.go();
        EXPECT_NE(fit.refusal, "") << block_size;
    }
    Fit coarse;
    coarse.backend.size = 1 << 20;
    coarse.backend.minimum_block = 4096;
    coarse.properties.BlockSize = 512;
    coarse.go();
    EXPECT_NE(coarse.refusal.find("multiples of 4096"), std::string::npos) << coarse.refusal;
    Fit coarser;
    coarser.backend.size = 1 << 20;
    coarser.backend.minimum_block = 65536;
    coarser.go();
    EXPECT_NE(coarser.refusal, "");
}

class Coarse final : public backend::Backend {
  public:
    explicit Coarse(std::uint32_t minimum_block) {
        properties_.size = 1 << 20;
        properties_.minimum_block = minimum_block;
    }
    [[nodiscard]] const backend::Properties& properties() const noexcept override {
        return properties_;
    }
    void submit(backend::Request& request) noexcept override {
        request.done(request, backend::Error::io);
    }
    void close() noexcept override {}

  private:
    backend::Properties properties_;
};

TEST(ServedProperties, SmallBlocksAreMadeOfTheStoragesLargeOnes) {
    struct Case {
        UINT32 wanted, minimum, block, physical;
    };
    for (const Case& one :
         {Case{512, 512, 512, 512}, Case{512, 4096, 512, 4096}, Case{0, 1, 512, 512},
          Case{0, 4096, 4096, 4096}, Case{0, 65536, 4096, 65536}, Case{4096, 65536, 4096, 65536}}) {
        Fit fit;
        fit.properties.BlockSize = one.wanted;
        const auto disk = fit_storage(fit.properties, std::make_unique<Coarse>(one.minimum));
        fit.backend = disk->properties();
        fit.go();
        EXPECT_EQ(fit.refusal, "") << one.wanted << " of " << one.minimum;
        EXPECT_EQ(fit.properties.BlockSize, one.block);
        EXPECT_EQ(one.block << WnbdGetPhysicalBlockExponent(&fit.properties), one.physical);
        EXPECT_EQ(fit.properties.BlockCount * one.block, 1U << 20);
    }
    // What the caller says of physical blocks stays, and so does what makes no sense.
    Fit fit;
    fit.properties.BlockSize = 512;
    WnbdSetPhysicalBlockExponent(&fit.properties, 1);
    EXPECT_EQ(
        fit_storage(fit.properties, std::make_unique<Coarse>(4096))->properties().minimum_block,
        512U);
    EXPECT_EQ(WnbdGetPhysicalBlockExponent(&fit.properties), 1);
    fit.properties.BlockSize = 100;
    EXPECT_EQ(
        fit_storage(fit.properties, std::make_unique<Coarse>(4096))->properties().minimum_block,
        4096U);
}

TEST(ServedProperties, AUriOfAServerIsToldOf) {
    WNBD_PROPERTIES properties{};
    tell_of_server(properties, "nbds://[::1]:5/a%20b?host=c");
    EXPECT_STREQ(properties.NbdProperties.Hostname, "::1");
    EXPECT_EQ(properties.NbdProperties.PortNumber, 5U);
    EXPECT_STREQ(properties.NbdProperties.ExportName, "a b");
    EXPECT_TRUE(properties.Flags.UseUserspaceNbd);
    tell_of_server(properties, "nbd+unix:///?socket=/run/s");
    EXPECT_STREQ(properties.NbdProperties.Hostname, "/run/s");
    EXPECT_EQ(properties.NbdProperties.PortNumber, 0U);
    EXPECT_STREQ(properties.NbdProperties.ExportName, "");
    // Cut between characters.
    tell_of_server(properties, "nbd://s/" + std::string(254, 'n') + "\xC3\xA9");
    EXPECT_EQ(std::string(properties.NbdProperties.ExportName), std::string(254, 'n'));
    tell_of_server(properties, "nbd://s/" + std::string(300, 'n'));
    EXPECT_EQ(std::string(properties.NbdProperties.ExportName), std::string(255, 'n'));

    WNBD_PROPERTIES other{};
    tell_of_server(other, "memory:1M");
    EXPECT_FALSE(other.Flags.UseUserspaceNbd);
    EXPECT_STREQ(other.NbdProperties.Hostname, "");
}

TEST(ServedProperties, WhatIsLeftAfterTheLastBlockIsToldAndNotMapped) {
    Fit fit;
    fit.backend.size = 4096 * 3 + 700;
    fit.properties.BlockSize = 4096;
    fit.go();
    EXPECT_EQ(fit.refusal, "");
    EXPECT_EQ(fit.properties.BlockCount, 3U);
    EXPECT_NE(fit.remark.find("700"), std::string::npos) << fit.remark;
}

TEST(ServedProperties, LessThanOneBlockIsRefused) {
    Fit fit;
    fit.backend.size = 511;
    fit.go();
    EXPECT_NE(fit.refusal, "");
}

TEST(ServedProperties, AbilitiesAreAddedToTheCallersFlags) {
    Fit fit;
    fit.backend.size = 4096;
    fit.backend.can_flush = fit.backend.can_trim = true;
    fit.properties.Flags.ReadOnly = 1;
    fit.properties.Flags.FUASupported = 1;
    fit.properties.Flags.PersistResSupported = 1;
    fit.go();
    EXPECT_TRUE(fit.properties.Flags.ReadOnly) << "the caller's wish stays";
    EXPECT_TRUE(fit.properties.Flags.FUASupported);
    EXPECT_TRUE(fit.properties.Flags.FlushSupported);
    EXPECT_TRUE(fit.properties.Flags.UnmapSupported);
    EXPECT_FALSE(fit.properties.Flags.PersistResSupported);
}

TEST(ServedProperties, AClaimedSizeDoesNotOverflow) {
    WNBD_PROPERTIES properties{};
    properties.BlockCount = 10;
    EXPECT_EQ(claimed_size(properties), 5120U);
    properties.BlockCount = ~0ULL;
    EXPECT_EQ(claimed_size(properties), 0U);
}

}  // namespace
}  // namespace wnbd::libwnbd
