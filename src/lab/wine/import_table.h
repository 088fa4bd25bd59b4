// SPDX-License-Identifier: LGPL-2.1-or-later
// What a mapped module imports, and other functions in the place of those.
#pragma once

#include <cstddef>
#include <cstdint>

namespace wnbd::lab::wine {

struct Replacement {
    const char* name;
    void* function;
};

/// Whether the module at `base` imports anything from the DLL of this name, in whatever case.
[[nodiscard]] bool imports_from(const std::uint8_t* base, const char* dll);

/// Puts the replacements into the slots of the functions of those names that the module at `base`
/// imports from this DLL. The module must be bound and its code not running meanwhile.
void replace_imports(const std::uint8_t* base, const char* dll, const Replacement* replacements,
                     std::size_t count);

}  // namespace wnbd::lab::wine
