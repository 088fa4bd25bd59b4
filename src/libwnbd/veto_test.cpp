// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/veto.h"

#include <gtest/gtest.h>

#include <climits>
#include <set>
#include <string>

namespace wnbd::libwnbd {
namespace {

TEST(Veto, EachTypeHasWordsOfItsOwn) {
    std::set<std::string> texts;
    for (int type = 0; type < 14; ++type)
        texts.insert(veto_text(type));
    EXPECT_EQ(texts.size(), 14u);
    EXPECT_STREQ(veto_text(5), "an open handle or file on");  // PNP_VetoOutstandingOpen
    EXPECT_STREQ(veto_text(13), "a removal under way of");    // PNP_VetoAlreadyRemoved
}

TEST(Veto, AnyOtherIsUnknown) {
    for (const int type : {14, -1, INT_MAX, INT_MIN})
        EXPECT_STREQ(veto_text(type), veto_text(0)) << type;
}

}  // namespace
}  // namespace wnbd::libwnbd
