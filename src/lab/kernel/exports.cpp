// SPDX-License-Identifier: LGPL-2.1-or-later
// The table of names. The functions are declared here without their parameters: only their
// addresses matter.
#include <iterator>

#include "lab/kernel/services.h"

#define KERNEL_FUNCTION(name) extern "C" void lab_##name();
#include "lab/kernel/crt_functions.inc"
#include "lab/kernel/functions.inc"
#undef KERNEL_FUNCTION

namespace wnbd::lab::kernel {
namespace {

#define KERNEL_FUNCTION(name) {#name, reinterpret_cast<void*>(&lab_##name)},
const Export exports[] = {
#include "lab/kernel/crt_functions.inc"
#include "lab/kernel/functions.inc"
};
#undef KERNEL_FUNCTION

}  // namespace

const Export* kernel_exports(std::size_t& count) noexcept {
    count = std::size(exports);
    return exports;
}

void* find_kernel_export(std::string_view name) noexcept {
    for (const Export& entry : exports) {
        if (name == entry.name) return entry.function;
    }
    return nullptr;
}

}  // namespace wnbd::lab::kernel
