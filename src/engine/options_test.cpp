// SPDX-License-Identifier: LGPL-2.1-or-later
#include "engine/options.h"

#include <gtest/gtest.h>

#include <array>
#include <cstring>
#include <map>
#include <string>
#include <thread>
#include <vector>

#include "engine/model/memory_store.h"
#include "engine/native/control.h"

namespace wnbd::engine {
namespace {

using model::MemoryStore;

WNBD_OPTION_VALUE text(const std::u16string& characters) {
    WNBD_OPTION_VALUE value{};
    value.Type = WnbdOptWstr;
    characters.copy(value.Data.AsWstr, WNBD_MAX_NAME_LENGTH);
    return value;
}

WNBD_OPTION_VALUE number(std::int64_t n) {
    WNBD_OPTION_VALUE value{};
    value.Type = WnbdOptInt64;
    value.Data.AsInt64 = n;
    return value;
}

WNBD_OPTION_VALUE boolean(bool b) {
    WNBD_OPTION_VALUE value{};
    std::memset(&value.Data, 0xA5, sizeof(value.Data));
    value.Type = WnbdOptBool;
    value.Data.AsBool = b ? 1 : 0;
    return value;
}

struct OptionsTest : testing::Test {
    void SetUp() override { options.initialize(store); }

    std::int64_t current(const char16_t* name) {
        WNBD_OPTION_VALUE value{};
        EXPECT_EQ(options.get(name, false, value), nt::success);
        return value.Type == WnbdOptBool ? value.Data.AsBool : value.Data.AsInt64;
    }

    MemoryStore store;
    Options options;
};

TEST_F(OptionsTest, TenOptionsAreListedInOrderWithTypesAndDefaults) {
    struct Expected {
        std::u16string name;
        WnbdOptValType type;
        std::int64_t initial;
    };
    const std::vector<Expected> expected = {
        {u"LogLevel", WnbdOptInt64, 1},
        {u"NewMappingsAllowed", WnbdOptBool, 1},
        {u"EtwLoggingEnabled", WnbdOptBool, 1},
        {u"WppLoggingEnabled", WnbdOptBool, 0},
        {u"DbgPrintEnabled", WnbdOptBool, 1},
        {u"MaxIOReqPerAdapter", WnbdOptInt64, 1000},
        {u"MaxIOReqPerLun", WnbdOptInt64, 255},
        {u"RemoveStaleConnections", WnbdOptBool, 1},
        {u"StaleReqTimeoutMs", WnbdOptInt64, 15000},
        {u"StaleConnTimeoutMs", WnbdOptInt64, 60000},
    };
    std::array<WNBD_OPTION, option_count> list{};
    std::memset(list.data(), 0xCC, sizeof(list));
    ASSERT_EQ(options.list(false, list), option_count);
    for (std::size_t i = 0; i < option_count; ++i) {
        SCOPED_TRACE(i);
        const WNBD_OPTION& entry = list[i];
        EXPECT_EQ(std::u16string(entry.Name), expected[i].name);
        EXPECT_EQ(entry.Type, expected[i].type);
        for (const WNBD_OPTION_VALUE* const value : {&entry.Default, &entry.Value}) {
            EXPECT_EQ(value->Type, expected[i].type);
            EXPECT_EQ(value->Data.AsInt64, expected[i].initial);  // the union is zeroed around it
        }
        for (const BYTE reserved : entry.Reserved)
            EXPECT_EQ(reserved, 0);
        EXPECT_EQ(options.value(static_cast<OptionId>(i)), expected[i].initial);
    }
}

TEST_F(OptionsTest, AListIsCutAtTheRoomGiven) {
    std::array<WNBD_OPTION, 3> list{};
    EXPECT_EQ(options.list(false, list), 3u);
}

TEST_F(OptionsTest, NamesAreFoundWithoutCaseAndOnlyWhole) {
    WNBD_OPTION_VALUE value{};
    EXPECT_EQ(options.get(u"loglevel", false, value), nt::success);
    EXPECT_EQ(options.get(u"LOGLEVEL", false, value), nt::success);
    const std::u16string too_long(WNBD_MAX_OPT_NAME_LENGTH + 1, u'x');
    for (const std::u16string& name :
         {std::u16string(u""), std::u16string(u"LogLeve"), std::u16string(u"LogLevel2"),
          std::u16string(u"Log Level"), std::u16string(u"LogLeve\u014C"), too_long}) {
        EXPECT_EQ(options.get(name.c_str(), false, value), nt::object_name_not_found);
        EXPECT_EQ(options.get(name.c_str(), true, value), nt::object_name_not_found);
        EXPECT_EQ(options.set(name.c_str(), number(1), false), nt::object_name_not_found);
        EXPECT_EQ(options.reset(name.c_str(), false), nt::object_name_not_found);
    }
}

TEST_F(OptionsTest, BooleanWordsAreTakenInAnyCase) {
    for (const char16_t* const word : {u"1", u"t", u"T", u"true", u"TrUe", u"yes", u"YES", u"y"}) {
        ASSERT_EQ(options.set(u"WppLoggingEnabled", text(u"0"), false), nt::success);
        EXPECT_EQ(options.set(u"WppLoggingEnabled", text(word), false), nt::success);
        EXPECT_EQ(current(u"WppLoggingEnabled"), 1);
    }
    for (const char16_t* const word : {u"0", u"f", u"F", u"false", u"FALSE", u"no", u"No", u"n"}) {
        ASSERT_EQ(options.set(u"WppLoggingEnabled", text(u"1"), false), nt::success);
        EXPECT_EQ(options.set(u"WppLoggingEnabled", text(word), false), nt::success);
        EXPECT_EQ(current(u"WppLoggingEnabled"), 0);
    }
    for (const char16_t* const word : {u"", u"2", u"tr", u"truee", u" true", u"on", u"00", u"-1"})
        EXPECT_EQ(options.set(u"WppLoggingEnabled", text(word), false), nt::invalid_parameter);
    EXPECT_EQ(current(u"WppLoggingEnabled"), 0);
}

TEST_F(OptionsTest, NumbersAreDecimalOrHexadecimalWithoutGarbage) {
    const std::vector<std::pair<std::u16string, std::int64_t>> good = {
        {u"1", 1},     {u"131072", 131072}, {u"0x10", 16},  {u"007", 7},
        {u"0b101", 5}, {u"0O17", 15},       {u"0X1fF", 511}};
    for (const auto& [characters, expected] : good) {
        EXPECT_EQ(options.set(u"MaxIOReqPerAdapter", text(characters), false), nt::success);
        EXPECT_EQ(current(u"MaxIOReqPerAdapter"), expected);
    }
    for (const char16_t* const bad :
         {u"", u" 1", u"1 ", u"12a", u"0x", u"0xg", u"0b", u"0b2", u"0o8", u"-5", u"+5", u"1.0",
          u"0x-1", u"\uFF11", u"9223372036854775808", u"18446744073709551617",
          u"0x8000000000000000"})
        EXPECT_EQ(options.set(u"MaxIOReqPerAdapter", text(bad), false), nt::invalid_parameter);
    EXPECT_EQ(current(u"MaxIOReqPerAdapter"), 511) << "a refused value changes nothing";
}

TEST_F(OptionsTest, AStringWithoutEndIsReadNoFurtherThanItsArray) {
    // The last character of the array counts as the terminator: 255 zeroes are left.
    const std::u16string endless(WNBD_MAX_NAME_LENGTH, u'0');
    EXPECT_EQ(options.set(u"StaleReqTimeoutMs", text(endless), false), nt::success);
    EXPECT_EQ(current(u"StaleReqTimeoutMs"), 15000);
    EXPECT_EQ(options.set(u"WppLoggingEnabled", text(endless), false), nt::invalid_parameter);
}

TEST_F(OptionsTest, RangesAreCheckedWhenAValueIsSet) {
    struct Range {
        const char16_t* name;
        std::vector<std::int64_t> good, bad;
    };
    constexpr std::int64_t low = std::numeric_limits<std::int64_t>::min();
    constexpr std::int64_t high = std::numeric_limits<std::int64_t>::max();
    const std::vector<Range> ranges = {
        {u"LogLevel", {0, 1, 3, 4}, {-1, 5, low, high}},
        {u"MaxIOReqPerAdapter", {1, 1000, 131072}, {0, -1, 131073, 0x1'0000'0001, high}},
        {u"MaxIOReqPerLun", {1, 255, 1024}, {0, -1, 1025, 0x1'0000'0001, high}},
        {u"StaleReqTimeoutMs", {1, 15000, high / 10000}, {-1, low, high / 10000 + 1, high}},
        {u"StaleConnTimeoutMs", {1, 60000, high / 10000}, {-1, low, high / 10000 + 1, high}},
    };
    for (const Range& range : ranges) {
        for (const std::int64_t n : range.good) {
            EXPECT_EQ(options.set(range.name, number(n), true), nt::success) << n;
            EXPECT_EQ(current(range.name), n);
            EXPECT_EQ(store.values[range.name], n);
        }
        const std::int64_t before = current(range.name);
        for (const std::int64_t n : range.bad) {
            EXPECT_EQ(options.set(range.name, number(n), true), nt::invalid_parameter) << n;
            EXPECT_EQ(current(range.name), before);
            EXPECT_EQ(store.values[range.name], before);
        }
    }
}

TEST_F(OptionsTest, ATimeoutOfZeroStandsForTheDefault) {
    ASSERT_EQ(options.set(u"StaleConnTimeoutMs", number(5), false), nt::success);
    EXPECT_EQ(options.set(u"StaleConnTimeoutMs", number(0), false), nt::success);
    EXPECT_EQ(options.value(OptionId::stale_conn_timeout_ms), 60000);
    store.values[u"StaleReqTimeoutMs"] = 0;
    EXPECT_EQ(options.reload(), nt::success);
    EXPECT_EQ(options.value(OptionId::stale_req_timeout_ms), 15000);
}

TEST_F(OptionsTest, OtherTypesAreRefusedWhateverTheirNumber) {
    EXPECT_EQ(options.set(u"LogLevel", boolean(true), false), nt::object_type_mismatch);
    EXPECT_EQ(options.set(u"DbgPrintEnabled", number(1), false), nt::object_type_mismatch);
    for (const std::uint32_t type : {0u, 4u, 0x80000000u, 0xFFFFFFFFu}) {
        WNBD_OPTION_VALUE value{};
        std::memcpy(&value.Type, &type, sizeof(type));
        EXPECT_EQ(options.set(u"LogLevel", value, false), nt::object_type_mismatch);
        EXPECT_EQ(options.set(u"DbgPrintEnabled", value, false), nt::object_type_mismatch);
    }
}

TEST_F(OptionsTest, OnlyTheByteOfABooleanIsStored) {
    EXPECT_EQ(options.set(u"DbgPrintEnabled", boolean(false), true), nt::success);
    EXPECT_EQ(store.values[u"DbgPrintEnabled"], 0);
    EXPECT_EQ(options.set(u"DbgPrintEnabled", boolean(true), true), nt::success);
    EXPECT_EQ(store.values[u"DbgPrintEnabled"], 1);
}

TEST_F(OptionsTest, ValuesAreStoredUnderTheNameOfTheTable) {
    EXPECT_EQ(options.set(u"LOGLEVEL", number(3), true), nt::success);
    ASSERT_EQ(store.values.size(), 1u);
    EXPECT_EQ(store.values.begin()->first, u"LogLevel");
    WNBD_OPTION_VALUE value{};
    EXPECT_EQ(options.get(u"logLEVEL", true, value), nt::success);
    EXPECT_EQ(value.Data.AsInt64, 3);
    EXPECT_EQ(options.get(u"MaxIOReqPerLun", true, value), nt::object_name_not_found);
}

TEST_F(OptionsTest, ARuntimeValueLeavesTheStoredOneAlone) {
    ASSERT_EQ(options.set(u"LogLevel", number(3), true), nt::success);
    ASSERT_EQ(options.set(u"LogLevel", number(4), false), nt::success);
    EXPECT_EQ(current(u"LogLevel"), 4);
    EXPECT_EQ(store.values[u"LogLevel"], 3);
}

TEST_F(OptionsTest, AFailedWriteChangesNothing) {
    store.write_fault = nt::access_denied;
    EXPECT_EQ(options.set(u"LogLevel", number(4), true), nt::access_denied);
    EXPECT_EQ(current(u"LogLevel"), 1);
    store.values[u"LogLevel"] = 3;
    EXPECT_EQ(options.reset(u"LogLevel", true), nt::access_denied);
    EXPECT_EQ(store.values[u"LogLevel"], 3);
    EXPECT_EQ(current(u"LogLevel"), 1);
}

TEST_F(OptionsTest, ResetReturnsToTheStoredValueElseToTheDefault) {
    ASSERT_EQ(options.set(u"LogLevel", number(3), true), nt::success);
    ASSERT_EQ(options.set(u"LogLevel", number(4), false), nt::success);
    EXPECT_EQ(options.reset(u"LogLevel", false), nt::success);
    EXPECT_EQ(current(u"LogLevel"), 3);

    ASSERT_EQ(options.set(u"MaxIOReqPerLun", number(7), false), nt::success);
    EXPECT_EQ(options.reset(u"MaxIOReqPerLun", false), nt::success);
    EXPECT_EQ(current(u"MaxIOReqPerLun"), 255);

    EXPECT_EQ(options.reset(u"LogLevel", true), nt::success);
    EXPECT_EQ(current(u"LogLevel"), 1);
    EXPECT_TRUE(store.values.empty());
}

TEST_F(OptionsTest, PersistentResetOfWhatWasNeverStoredStillResets) {
    ASSERT_EQ(options.set(u"MaxIOReqPerLun", number(7), false), nt::success);
    EXPECT_EQ(options.reset(u"MaxIOReqPerLun", true), nt::success);
    EXPECT_EQ(current(u"MaxIOReqPerLun"), 255);
}

TEST_F(OptionsTest, ReloadTakesStoredValuesAndRevertsTheOthers) {
    ASSERT_EQ(options.set(u"MaxIOReqPerLun", number(7), false), nt::success);
    store.values[u"LogLevel"] = 4;
    store.values[u"EtwLoggingEnabled"] = 0;
    store.values[u"WppLoggingEnabled"] = 0x100;  // any number but 0 is true
    EXPECT_EQ(options.reload(), nt::success);
    EXPECT_EQ(current(u"LogLevel"), 4);
    EXPECT_EQ(current(u"EtwLoggingEnabled"), 0);
    EXPECT_EQ(current(u"WppLoggingEnabled"), 1);
    EXPECT_EQ(current(u"MaxIOReqPerLun"), 255);
}

TEST_F(OptionsTest, AnUnreadableValueIsReportedAndHarmsNoOther) {
    ASSERT_EQ(options.set(u"LogLevel", number(3), false), nt::success);
    store.read_faults[u"LogLevel"] = nt::object_type_mismatch;
    store.values[u"MaxIOReqPerLun"] = 1025;
    store.values[u"StaleConnTimeoutMs"] = 100;
    EXPECT_EQ(options.reload(), nt::object_type_mismatch);
    using Ignored = std::vector<std::pair<std::string, nt::Status>>;
    EXPECT_EQ(store.ignored_values, (Ignored{{"LogLevel", nt::object_type_mismatch},
                                             {"MaxIOReqPerLun", nt::invalid_parameter}}));
    EXPECT_EQ(current(u"LogLevel"), 3);
    EXPECT_EQ(current(u"MaxIOReqPerLun"), 255);
    EXPECT_EQ(current(u"StaleConnTimeoutMs"), 100);
    store.read_faults.clear();
    EXPECT_EQ(options.reload(), nt::invalid_parameter);

    WNBD_OPTION_VALUE value{};
    EXPECT_EQ(options.get(u"MaxIOReqPerLun", true, value), nt::success);
    EXPECT_EQ(value.Data.AsInt64, 1025) << "the stored value is shown as it is";
}

TEST_F(OptionsTest, LoadingStartsFromDefaultsWhateverTheStoreHolds) {
    MemoryStore broken;
    broken.values[u"LogLevel"] = -1;
    broken.values[u"MaxIOReqPerAdapter"] = 0x1'0000'0001;
    broken.values[u"MaxIOReqPerLun"] = 12;
    broken.read_faults[u"EtwLoggingEnabled"] = nt::invalid_handle;
    Options loaded;
    loaded.initialize(broken);
    EXPECT_EQ(loaded.value(OptionId::log_level), 1);
    EXPECT_EQ(loaded.value(OptionId::max_io_req_per_adapter), 1000);
    EXPECT_EQ(loaded.value(OptionId::max_io_req_per_lun), 12);
    EXPECT_TRUE(loaded.enabled(OptionId::etw_logging_enabled));
}

TEST_F(OptionsTest, APersistentListHasOnlyWhatIsStored) {
    store.values[u"StaleReqTimeoutMs"] = 1;
    store.values[u"DbgPrintEnabled"] = 0;
    store.read_faults[u"LogLevel"] = nt::object_type_mismatch;
    std::array<WNBD_OPTION, option_count> list{};
    ASSERT_EQ(options.list(true, list), 2u);
    EXPECT_EQ(std::u16string(list[0].Name), u"DbgPrintEnabled");
    EXPECT_EQ(list[0].Value.Data.AsBool, 0);
    EXPECT_EQ(list[0].Default.Data.AsBool, 1);
    EXPECT_EQ(std::u16string(list[1].Name), u"StaleReqTimeoutMs");
    EXPECT_EQ(list[1].Value.Data.AsInt64, 1);
    EXPECT_EQ(list[1].Default.Data.AsInt64, 15000);
}

/// A held clock, so that time passes when a test says so.
struct PauseTest : OptionsTest {
    void SetUp() override {
        platform::native::hold_time(1);
        OptionsTest::SetUp();
    }
    void TearDown() override { platform::native::release_time(); }

    nt::Status pause(std::uint32_t lease_ms) {
        return options.lease(u"newmappingsallowed", boolean(false), lease_ms);
    }
};

TEST_F(PauseTest, APauseOfNewMappingsEndsByItself) {
    EXPECT_EQ(pause(5000), nt::success);
    EXPECT_FALSE(options.new_mappings_allowed());
    EXPECT_EQ(current(u"NewMappingsAllowed"), 0);
    std::array<WNBD_OPTION, option_count> list{};
    ASSERT_EQ(options.list(false, list), option_count);
    EXPECT_EQ(list[1].Value.Data.AsBool, 0) << "the list tells what is in force";
    platform::native::advance_time_ms(4999);
    EXPECT_FALSE(options.new_mappings_allowed());
    platform::native::advance_time_ms(1);
    EXPECT_TRUE(options.new_mappings_allowed());
    EXPECT_EQ(current(u"NewMappingsAllowed"), 1);
}

TEST_F(PauseTest, APauseLeavesTheValueUnderIt) {
    ASSERT_EQ(options.set(u"NewMappingsAllowed", boolean(false), false), nt::success);
    EXPECT_EQ(pause(5000), nt::success);
    EXPECT_EQ(options.lease(u"NewMappingsAllowed", boolean(true), 1), nt::success);
    EXPECT_FALSE(options.new_mappings_allowed()) << "what an administrator has set stays";
    EXPECT_TRUE(store.values.empty());
}

TEST_F(PauseTest, APauseIsRenewedEndedAndOverruled) {
    EXPECT_EQ(pause(5000), nt::success);
    platform::native::advance_time_ms(4000);
    EXPECT_EQ(pause(5000), nt::success);
    platform::native::advance_time_ms(4000);
    EXPECT_FALSE(options.new_mappings_allowed());
    EXPECT_EQ(options.reload(), nt::success);
    EXPECT_FALSE(options.new_mappings_allowed()) << "stored values are under it too";
    EXPECT_EQ(options.lease(u"NewMappingsAllowed", boolean(true), 1), nt::success);
    EXPECT_TRUE(options.new_mappings_allowed());
    for (const bool resets : {false, true}) {
        EXPECT_EQ(pause(5000), nt::success);
        const nt::Status status = resets ? options.reset(u"NewMappingsAllowed", false)
                                         : options.set(u"NewMappingsAllowed", boolean(true), false);
        EXPECT_EQ(status, nt::success);
        EXPECT_TRUE(options.new_mappings_allowed());
    }
    EXPECT_EQ(pause(5000), nt::success);
    options.end_pause();
    EXPECT_TRUE(options.new_mappings_allowed());
}

TEST_F(PauseTest, OnlyNewMappingsPauseAndNotForLong) {
    EXPECT_EQ(options.lease(u"LogLevel", number(4), 1), nt::invalid_parameter);
    EXPECT_EQ(options.lease(u"EtwLoggingEnabled", boolean(false), 1), nt::invalid_parameter);
    EXPECT_EQ(options.lease(u"NewMappingsAllowed", text(u"false"), 1), nt::invalid_parameter);
    EXPECT_EQ(options.lease(u"NoSuchOption", boolean(false), 1), nt::object_name_not_found);
    EXPECT_EQ(pause(0), nt::invalid_parameter);
    EXPECT_EQ(pause(WNBD_MAX_OPTION_LEASE_MS + 1), nt::invalid_parameter);
    EXPECT_TRUE(options.new_mappings_allowed());
    EXPECT_EQ(pause(WNBD_MAX_OPTION_LEASE_MS), nt::success);
}

TEST_F(OptionsTest, AListIsOneSnapshot) {
    constexpr std::int64_t last = WNBD_ABS_MAX_IO_REQ_PER_ADAPTER;
    ASSERT_EQ(options.set(u"MaxIOReqPerAdapter", number(1), true), nt::success);
    ASSERT_EQ(options.set(u"StaleConnTimeoutMs", number(1), true), nt::success);
    // The writer raises one option, then the other, which stands further down: no moment shows them
    // further apart.
    std::thread writer([&] {
        for (std::int64_t n = 1; n <= last; ++n) {
            const bool persistent = n % 2 == 0;
            static_cast<void>(options.set(u"MaxIOReqPerAdapter", number(n), persistent));
            static_cast<void>(options.set(u"StaleConnTimeoutMs", number(n), persistent));
        }
    });
    for (std::int64_t second = 0; second < last;) {
        for (const bool persistent : {false, true}) {
            std::array<WNBD_OPTION, option_count> list{};
            const std::size_t count = options.list(persistent, list);
            ASSERT_EQ(count, persistent ? 2 : option_count);
            const std::int64_t step = persistent ? 2 : 1;
            const std::int64_t first = list[persistent ? 0 : 5].Value.Data.AsInt64;
            second = list[persistent ? 1 : 9].Value.Data.AsInt64;
            EXPECT_TRUE(first >= second && first <= second + step) << first << ", " << second;
        }
    }
    writer.join();
}

TEST_F(OptionsTest, ReadersAndWritersMayMeet) {
    constexpr int rounds = 2000;
    std::thread writer([&] {
        for (int i = 0; i < rounds; ++i)
            static_cast<void>(options.set(u"MaxIOReqPerLun", number(i % 2 == 0 ? 1 : 1024), true));
    });
    std::thread reloader([&] {
        for (int i = 0; i < rounds; ++i)
            static_cast<void>(options.reload());
    });
    for (int i = 0; i < rounds; ++i) {
        const std::int64_t seen = options.value(OptionId::max_io_req_per_lun);
        EXPECT_TRUE(seen == 1 || seen == 1024 || seen == 255) << seen;
        std::array<WNBD_OPTION, option_count> list{};
        EXPECT_EQ(options.list(false, list), option_count);
    }
    writer.join();
    reloader.join();
}

}  // namespace
}  // namespace wnbd::engine
