// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/names.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

namespace wnbd::libwnbd {
namespace {

TEST(Names, FitsWithItsTerminatorAndZeroesTheRest) {
    CHAR field[8];
    std::memset(field, 'x', sizeof(field));
    ASSERT_EQ(copy_name(field, "abc"), NameFault::none);
    EXPECT_EQ(std::string(field, sizeof(field)), std::string("abc\0\0\0\0\0", 8));
}

TEST(Names, TheLongestNameIsOneLessThanTheArray) {
    CHAR field[WNBD_MAX_NAME_LENGTH];
    EXPECT_EQ(copy_name(field, std::string(255, 'n').c_str()), NameFault::none);
    EXPECT_EQ(std::strlen(field), 255U);
    EXPECT_EQ(copy_name(field, std::string(256, 'n').c_str()), NameFault::too_long);
    EXPECT_EQ(copy_name(field, std::string(70000, 'n').c_str()), NameFault::too_long);
    EXPECT_EQ(field[0], 0) << "nothing of a refused name is left behind";
}

TEST(Names, NullAndEmptyAreTold) {
    CHAR field[4];
    EXPECT_EQ(copy_name(field, nullptr), NameFault::null);
    EXPECT_EQ(copy_name(field, ""), NameFault::empty);
}

TEST(Names, EachStringOfThePropertiesMustEndInItsArray) {
    WNBD_PROPERTIES properties{};
    EXPECT_EQ(unterminated_field(properties), nullptr);
    const auto refused = [&](auto& field) {
        std::memset(field, 'x', sizeof(field));
        const char* const name = unterminated_field(properties);
        std::memset(field, 0, sizeof(field));
        return std::string(name == nullptr ? "" : name);
    };
    EXPECT_EQ(refused(properties.InstanceName), "InstanceName");
    EXPECT_EQ(refused(properties.SerialNumber), "SerialNumber");
    EXPECT_EQ(refused(properties.Owner), "Owner");
    EXPECT_EQ(refused(properties.NbdProperties.Hostname), "NbdProperties.Hostname");
    EXPECT_EQ(refused(properties.NbdProperties.ExportName), "NbdProperties.ExportName");
}

}  // namespace
}  // namespace wnbd::libwnbd
