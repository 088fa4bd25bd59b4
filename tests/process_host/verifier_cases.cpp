// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/process_host/verifier_cases.h"

#include <vector>

#include "lab/kernel/verifier.h"
#include "tests/process_host/check.h"

namespace wnbd::test {

namespace kernel = lab::kernel;

namespace {

struct Fatal {};

}  // namespace

void expect(const char* name, const char* expected, const std::function<void()>& wrong) {
    kernel::set_violations_quiet(true);
    kernel::set_fatal_hook([] { throw Fatal{}; });
    kernel::take_violations();
    try {
        wrong();
    } catch (const Fatal&) {
    }
    kernel::ThreadState& thread = kernel::this_thread();
    thread.irql = kernel::passive_level;
    thread.held_count = 0;
    thread.critical_regions = 0;
    const std::vector<kernel::Violation> found = kernel::take_violations();
    if (expected == nullptr) {
        claim(found.empty(), "%s: nothing is wrong, but %s", name,
              found.empty() ? "" : found[0].detail.c_str());
        return;
    }
    bool only = !found.empty();
    claim(!found.empty(), "%s: %s was not reported", name, expected);
    for (const kernel::Violation& violation : found) {
        only &= claim(violation.rule == expected, "%s: expected %s, got %s: %s", name, expected,
                      violation.rule.c_str(), violation.detail.c_str());
    }
    if (only) fired(expected);
}

NTSTATUS complete(PIRP irp, NTSTATUS status, ULONG_PTR information) {
    irp->IoStatus.Status = status;
    irp->IoStatus.Information = information;
    IoCompleteRequest(irp, IO_NO_INCREMENT);
    return status;
}

}  // namespace wnbd::test
