// SPDX-License-Identifier: LGPL-2.1-or-later
// Claims of the one-process host's test programs: counted, printed when they fail, never fatal.
#pragma once

#include <cstdio>
#include <set>
#include <string>

namespace wnbd::test {

struct Claims {
    unsigned made = 0;
    unsigned failed = 0;
};
inline Claims claims;

/// Records one claim; `what` and its arguments say what was expected and seen.
template <typename... Arguments>
bool claim(bool holds, const char* what, Arguments... arguments) {
    ++claims.made;
    if (holds) return true;
    ++claims.failed;
    if (claims.failed <= 100) {
        std::fputs("FAILED: ", stdout);
        if constexpr (sizeof...(arguments) == 0) {
            std::fputs(what, stdout);
        } else {
            std::printf(what, arguments...);
        }
        std::fputs("\n", stdout);
        std::fflush(stdout);
    }
    return false;
}

/// Says (once) that a rule of the verifier was broken on purpose and reported. The tests compare
/// these lines with the rules that the sources name.
inline void fired(const std::string& rule) {
    static std::set<std::string> told;
    if (told.insert(rule).second) std::printf("fired: %s\n", rule.c_str());
}

/// The last line of a test program, and its exit code.
inline int report(const char* name) {
    std::printf("%s: %u claims, %u failed\n", name, claims.made, claims.failed);
    std::fflush(stdout);
    return claims.failed == 0 ? 0 : 1;
}

}  // namespace wnbd::test
