// SPDX-License-Identifier: LGPL-2.1-or-later
#include "engine/adapter.h"

#include <gtest/gtest.h>

#include <atomic>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "engine/model/initiator.h"
#include "engine/model/memory_store.h"

namespace wnbd::engine {
namespace {

using model::block_size;

constexpr std::uint32_t capacity = 8;

struct Port final : model::TestPort {};

WNBD_PROPERTIES properties(const std::string& name) {
    WNBD_PROPERTIES made{};
    name.copy(made.InstanceName, WNBD_MAX_NAME_LENGTH);
    name.copy(made.SerialNumber, WNBD_MAX_NAME_LENGTH);
    made.BlockCount = 100;
    made.BlockSize = block_size;
    return made;
}

struct AdapterTest : testing::Test {
    AdapterTest() {
        options.initialize(store);
        adapter->initialize(port, &options);
    }
    void TearDown() override {
        adapter->remove_all();
        EXPECT_EQ(platform::native::allocations_outstanding(), 0);
    }

    /// The new disk's connection id, or 0 and the reason in `refusal`.
    std::uint64_t create(const std::string& name, Owner owner = nullptr) {
        const auto created = adapter->create(properties(name), owner, capacity);
        refusal = created ? nt::success : created.error();
        return created ? created.value()->disk.connection_id() : 0;
    }

    unsigned count() {
        unsigned found = 0;
        for (unsigned target = 0; target < max_disks; ++target)
            found += adapter->unit_at(static_cast<std::uint8_t>(target)) ? 1 : 0;
        return found;
    }

    void allow_new_disks(bool allowed) {
        WNBD_OPTION_VALUE value{};
        value.Type = WnbdOptBool;
        value.Data.AsBool = allowed ? 1 : 0;
        EXPECT_EQ(options.set(u"NewMappingsAllowed", value, false), nt::success);
    }

    Port port;
    model::MemoryStore store;
    Options options;
    std::unique_ptr<Adapter> adapter = std::make_unique<Adapter>();
    nt::Status refusal = nt::success;
};

TEST_F(AdapterTest, ADiskIsFoundByAddressConnectionAndName) {
    const std::uint64_t connection = create("one");
    ASSERT_NE(connection, 0u);
    EXPECT_EQ(port.changes(), 1u);
    {
        const UnitReference by_address = adapter->find(0, 0, 0);
        const UnitReference by_connection = adapter->find(connection);
        const UnitReference by_name = adapter->find_by_name("one");
        ASSERT_TRUE(by_address && by_connection && by_name);
        EXPECT_EQ(&*by_address, &*by_connection);
        EXPECT_EQ(&*by_address, &*by_name);
        EXPECT_EQ(adapter->target_of(*by_name), 0);
        EXPECT_EQ(by_name->disk.block_count(), 100u);
        EXPECT_STREQ(by_name->properties.InstanceName, "one");
    }
    EXPECT_FALSE(adapter->find(1, 0, 0));
    EXPECT_FALSE(adapter->find(0, 1, 0));
    EXPECT_FALSE(adapter->find(0, 0, 1));
    EXPECT_FALSE(adapter->find(0, 255, 0));
    EXPECT_FALSE(adapter->find_by_name("ONE"));
    EXPECT_FALSE(adapter->find_by_name("on"));
    EXPECT_FALSE(adapter->find_by_name("one2"));
    for (const std::uint64_t other : {std::uint64_t{0}, ~std::uint64_t{0}, connection + 1,
                                      connection ^ 0x100, connection + 128})
        EXPECT_FALSE(adapter->find(other)) << other;
}

TEST_F(AdapterTest, NamesThatFillTheirArrayAreTakenWhole) {
    const std::string longest(WNBD_MAX_NAME_LENGTH - 1, 'n');
    ASSERT_NE(create(longest), 0u);
    EXPECT_EQ(create(longest), 0u);
    EXPECT_EQ(refusal, nt::object_name_collision);
    std::string other = longest;
    other.back() = 'm';
    EXPECT_NE(create(other), 0u);
    EXPECT_TRUE(adapter->find_by_name(other.c_str()));
}

TEST_F(AdapterTest, TheLowestFreeTargetIsTaken) {
    std::vector<std::uint64_t> connections;
    for (unsigned i = 0; i < max_disks; ++i) {
        connections.push_back(create("disk" + std::to_string(i)));
        ASSERT_NE(connections.back(), 0u);
        EXPECT_EQ(adapter->target_of(*adapter->find(connections.back())), i);
    }
    EXPECT_EQ(create("one too many"), 0u);
    EXPECT_EQ(refusal, nt::too_many_addresses);
    EXPECT_TRUE(adapter->remove(connections[5]));
    EXPECT_TRUE(adapter->remove(connections[3]));
    EXPECT_EQ(adapter->target_of(*adapter->find(create("again"))), 3);
    EXPECT_EQ(adapter->target_of(*adapter->find(create("and again"))), 5);
    EXPECT_EQ(count(), max_disks);
}

TEST_F(AdapterTest, ATargetIsUsedAgainRatherWhenTheInitiatorHasFoundItEmpty) {
    EXPECT_TRUE(adapter->remove(create("first")));
    EXPECT_EQ(adapter->target_of(*adapter->find(create("second"))), 1);
    adapter->saw_vacancy(0);
    EXPECT_EQ(adapter->target_of(*adapter->find(create("third"))), 0);
    adapter->saw_vacancy(255);
}

TEST_F(AdapterTest, ANameIsTakenOnce) {
    const std::uint64_t first = create("name");
    EXPECT_EQ(create("name"), 0u);
    EXPECT_EQ(refusal, nt::object_name_collision);
    EXPECT_TRUE(adapter->remove(first));
    const std::uint64_t second = create("name");
    EXPECT_NE(second, 0u);
    EXPECT_NE(second, first) << "a connection id is never given twice";
    EXPECT_FALSE(adapter->find(first)) << "the old id does not lead to the new disk";
    EXPECT_FALSE(adapter->remove(first));
    EXPECT_TRUE(adapter->find(second));
}

TEST_F(AdapterTest, RefusalsLeaveNothingBehind) {
    allow_new_disks(false);
    EXPECT_EQ(create("closed"), 0u);
    EXPECT_EQ(refusal, nt::shutdown_in_progress);
    allow_new_disks(true);
    platform::native::fail_allocations_after(0);
    EXPECT_EQ(create("no memory"), 0u);
    EXPECT_EQ(refusal, nt::insufficient_resources);
    platform::native::restore_allocations();
    EXPECT_EQ(count(), 0u);
    EXPECT_NE(create("no memory"), 0u);
    EXPECT_EQ(adapter->target_of(*adapter->find_by_name("no memory")), 0);
}

TEST_F(AdapterTest, ADiskThatTheCommandsCouldNotServeIsRefused) {
    WNBD_PROPERTIES no_blocks = properties("odd");
    no_blocks.BlockSize = 0;
    const auto created = adapter->create(no_blocks, nullptr, capacity);
    ASSERT_FALSE(created);
    EXPECT_EQ(created.error(), nt::invalid_parameter);
    EXPECT_EQ(count(), 0u);
}

TEST_F(AdapterTest, AClosedHandleTakesItsDisksAlongAndNoOther) {
    const int mine = 0;
    const int yours = 0;
    create("mine 1", &mine);
    create("yours", &yours);
    create("mine 2", &mine);
    create("nobody's");
    adapter->remove_owned_by(&mine);
    EXPECT_EQ(count(), 2u);
    EXPECT_TRUE(adapter->find_by_name("yours"));
    EXPECT_TRUE(adapter->find_by_name("nobody's"));
    adapter->remove_owned_by(nullptr);
    EXPECT_EQ(count(), 2u) << "nobody's death removes nobody's disks";
}

TEST_F(AdapterTest, AServingHandleAdoptsADiskThatHasNoOwner) {
    const int first = 0;
    const int second = 0;
    create("orphan");
    adapter->adopt(*adapter->find_by_name("orphan"), &first);
    adapter->adopt(*adapter->find_by_name("orphan"), &second);
    adapter->remove_owned_by(&second);
    EXPECT_EQ(count(), 1u);
    adapter->remove_owned_by(&first);
    EXPECT_EQ(count(), 0u);
    create("orphan");
    adapter->remove_owned_by(&first);
    EXPECT_EQ(count(), 1u) << "a new disk in the same place has no owner of the past";
}

TEST_F(AdapterTest, ARemovalWaitsForWhoeverUsesTheDiskAndOthersWaitWithIt) {
    const std::uint64_t connection = create("busy");
    std::atomic<int> through{0};
    std::vector<std::thread> removers;
    {
        const UnitReference user = adapter->find(connection);
        ASSERT_TRUE(user);
        for (int i = 0; i < 3; ++i)
            removers.emplace_back([&] {
                EXPECT_TRUE(adapter->remove(connection));
                through.fetch_add(1);
            });
        while (platform::native::threads_waiting() < 3)
            std::this_thread::yield();
        EXPECT_EQ(through.load(), 0);
        EXPECT_TRUE(user->disk.removing());
        EXPECT_FALSE(adapter->find(connection));
        EXPECT_FALSE(adapter->find_by_name("busy"));
        EXPECT_EQ(create("busy"), 0u);
        EXPECT_EQ(refusal, nt::object_name_collision) << "the name is free when the disk is gone";
        EXPECT_NE(create("other"), 0u) << "a removal that waits is in nobody's way";
    }
    for (auto& remover : removers)
        remover.join();
    EXPECT_EQ(through.load(), 3);
    EXPECT_FALSE(adapter->remove(connection));
    EXPECT_NE(create("busy"), 0u);
}

TEST_F(AdapterTest, TheInitiatorIsToldOfEachDiskThatComesOrGoes) {
    const std::uint64_t connection = create("one");
    EXPECT_EQ(port.changes(), 1u);
    EXPECT_EQ(create("one"), 0u);
    EXPECT_EQ(port.changes(), 1u);
    EXPECT_TRUE(adapter->remove(connection));
    EXPECT_EQ(port.changes(), 2u);
    EXPECT_FALSE(adapter->remove(connection));
    EXPECT_EQ(port.changes(), 2u);
}

TEST_F(AdapterTest, EndingAReferenceTwiceIsImpossibleByMoving) {
    const std::uint64_t connection = create("moved");
    {
        UnitReference first = adapter->find(connection);
        const UnitReference second = std::move(first);
        EXPECT_TRUE(second);
    }
    EXPECT_TRUE(adapter->remove(connection));  // would wait for ever for a lost reference
}

TEST_F(AdapterTest, ClosingWaitsForNoneToSlipThrough) {
    constexpr int rounds = 50;
    for (int round = 0; round < rounds; ++round) {
        std::atomic<bool> stop{false};
        std::thread creator([&] {
            for (int i = 0; !stop.load(); ++i)
                if (const auto made =
                        adapter->create(properties("n" + std::to_string(i)), nullptr, 1);
                    !made && made.error() == nt::too_many_addresses)
                    std::this_thread::yield();
        });
        while (count() == 0)
            std::this_thread::yield();
        allow_new_disks(false);
        adapter->await_creations();
        adapter->remove_all();
        EXPECT_EQ(count(), 0u);
        stop.store(true);
        creator.join();
        EXPECT_EQ(count(), 0u) << "no disk comes after the adapter was closed";
        allow_new_disks(true);
    }
}

TEST_F(AdapterTest, OnceCreationsAreAwaitedNoneIsUnderWay) {
    for (int round = 0; round < 200; ++round) {
        std::atomic<bool> refused{false};
        std::thread creator([&] {
            for (int i = 0; i < max_disks && !refused.load(); ++i)
                if (!adapter->create(properties(std::to_string(i)), nullptr, 1))
                    refused.store(true);
            refused.store(true);
        });
        while (count() == 0)
            std::this_thread::yield();
        allow_new_disks(false);
        adapter->await_creations();
        const unsigned before = count();
        while (!refused.load())
            std::this_thread::yield();
        EXPECT_EQ(count(), before);
        creator.join();
        adapter->remove_all();
        allow_new_disks(true);
    }
}

TEST_F(AdapterTest, AnAdapterThatGoesIsNotOpenedByAnOption) {
    EXPECT_NE(create("old"), 0u);
    adapter->retire();
    EXPECT_EQ(count(), 0u);
    allow_new_disks(true);
    EXPECT_EQ(create("new"), 0u);
    EXPECT_EQ(refusal, nt::shutdown_in_progress);
}

}  // namespace
}  // namespace wnbd::engine
