// SPDX-License-Identifier: LGPL-2.1-or-later
#include "driver/unit_identities.h"

#include <gtest/gtest.h>

#include <cstring>
#include <memory>

namespace wnbd::driver {
namespace {

class NoPort final : public engine::Port {
  public:
    void complete(void*, engine::Cause, const scsi::Answer&) noexcept override {}
    std::span<std::uint8_t> data(void*) noexcept override { return {}; }
    void reset_done(void*) noexcept override {}
    void disks_changed() noexcept override {}
    void schedule_removal(std::uint64_t) noexcept override {}
};

struct UnitIdentitiesTest : testing::Test {
    UnitIdentitiesTest() { adapter->initialize(port); }
    ~UnitIdentitiesTest() override { adapter->remove_all(); }

    /// A disk at target 0, which has answered an INQUIRY; gives its connection id.
    std::uint64_t insert(const char* serial) {
        adapter->saw_vacancy(0);
        WNBD_PROPERTIES properties{};
        std::strcpy(properties.InstanceName, "disk");
        std::strcpy(properties.SerialNumber, serial);
        properties.BlockSize = 512;
        properties.BlockCount = 8;
        auto created = adapter->create(properties, nullptr, 1);
        EXPECT_TRUE(created.ok());
        EXPECT_EQ(adapter->target_of(*created.value()), 0);
        const std::uint64_t id = created.value()->disk.connection_id();
        identities->present(0, *created.value());
        return id;
    }

    NoPort port;
    std::unique_ptr<engine::Adapter> adapter = std::make_unique<engine::Adapter>();
    std::unique_ptr<UnitIdentities> identities = std::make_unique<UnitIdentities>();
};

TEST_F(UnitIdentitiesTest, NothingIsThereAtFirst) {
    EXPECT_EQ(identities->current(0).connection_id, 0U);
    identities->absent(0);
    EXPECT_EQ(identities->current(0).generation, 0U);
}

TEST_F(UnitIdentitiesTest, ADiskThatAnswersAgainIsTheSame) {
    const std::uint64_t id = insert("one");
    const UnitIdentities::Identity before = identities->current(0);
    EXPECT_EQ(before.connection_id, id);
    identities->present(0, *adapter->unit_at(0));
    EXPECT_EQ(identities->current(0).generation, before.generation);
}

TEST_F(UnitIdentitiesTest, ADiskThatWentUnnoticedHandsItsDeviceToItsTwin) {
    const std::uint64_t first = insert("one");
    const std::uint32_t generation = identities->current(0).generation;
    adapter->remove(first);
    const std::uint64_t second = insert("one");
    EXPECT_EQ(identities->current(0).connection_id, second);
    EXPECT_EQ(identities->current(0).generation, generation);
}

TEST_F(UnitIdentitiesTest, AnotherSerialNumberIsAnotherDevice) {
    adapter->remove(insert("one"));
    const std::uint32_t generation = identities->current(0).generation;
    insert("two");
    EXPECT_NE(identities->current(0).generation, generation);
}

TEST_F(UnitIdentitiesTest, ATwinAfterAnAbsenceIsAnotherDevice) {
    adapter->remove(insert("one"));
    const std::uint32_t generation = identities->current(0).generation;
    identities->absent(0);
    EXPECT_NE(identities->current(0).generation, generation);
    EXPECT_EQ(identities->current(0).connection_id, 0U);
    insert("one");
    EXPECT_NE(identities->current(0).generation, generation);
}

TEST_F(UnitIdentitiesTest, TargetsBeyondTheLastAreNothing) {
    insert("one");
    identities->present(engine::max_disks, *adapter->unit_at(0));
    identities->absent(255);
    EXPECT_EQ(identities->current(255).connection_id, 0U);
}

}  // namespace
}  // namespace wnbd::driver
