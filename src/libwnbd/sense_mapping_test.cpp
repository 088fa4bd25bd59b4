// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/sense_mapping.h"

#include <gtest/gtest.h>

namespace wnbd::libwnbd {
namespace {

using backend::Error;
using backend::Operation;

struct Expected {
    Operation operation;
    Error error;
    int key, asc, ascq;
};

class SenseMapping : public testing::TestWithParam<Expected> {};

TEST_P(SenseMapping, TellsTheCause) {
    const auto& expected = GetParam();
    const WNBD_STATUS status = status_of(expected.operation, expected.error);
    EXPECT_EQ(status.ScsiStatus, 0x02);
    EXPECT_EQ(status.SenseKey, expected.key);
    EXPECT_EQ(status.ASC, expected.asc);
    EXPECT_EQ(status.ASCQ, expected.ascq);
    EXPECT_EQ(status.InformationValid, 0U);
}

INSTANTIATE_TEST_SUITE_P(
    All, SenseMapping,
    testing::Values(Expected{Operation::read, Error::io, 0x3, 0x11, 0x00},
                    Expected{Operation::write, Error::io, 0x3, 0x0C, 0x00},
                    Expected{Operation::flush, Error::io, 0x3, 0x0C, 0x00},
                    Expected{Operation::trim, Error::io, 0x3, 0x0C, 0x00},
                    Expected{Operation::write, Error::not_permitted, 0x7, 0x27, 0x00},
                    Expected{Operation::trim, Error::not_permitted, 0x7, 0x27, 0x00},
                    Expected{Operation::read, Error::not_permitted, 0x5, 0x20, 0x02},
                    Expected{Operation::write, Error::no_space, 0x7, 0x27, 0x07},
                    Expected{Operation::write, Error::no_memory, 0xB, 0x55, 0x03},
                    Expected{Operation::read, Error::invalid, 0x5, 0x24, 0x00},
                    Expected{Operation::read, Error::overflow, 0x5, 0x24, 0x00},
                    Expected{Operation::trim, Error::not_supported, 0x5, 0x20, 0x00},
                    Expected{Operation::read, Error::shutting_down, 0x2, 0x04, 0x00},
                    Expected{Operation::write, Error::disconnected, 0x2, 0x08, 0x00}));

TEST(SenseMappingOfSuccess, IsAllZero) {
    const WNBD_STATUS status = status_of(Operation::write, Error::none);
    EXPECT_EQ(status.ScsiStatus, 0);
    EXPECT_EQ(status.SenseKey, 0);
    EXPECT_EQ(status.ASC, 0);
}

}  // namespace
}  // namespace wnbd::libwnbd
