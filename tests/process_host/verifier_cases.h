// SPDX-License-Identifier: LGPL-2.1-or-later
// How a rule of the one-process host's verifier is broken on purpose, and the groups of such cases.
#pragma once

#include <functional>

#include "driver/ddk/kernel.h"

namespace wnbd::test {

/// Runs `wrong` and claims that exactly the rule `expected` was reported (nullptr: none), maybe
/// several times. A violation that nobody can go on from ends `wrong` there.
void expect(const char* name, const char* expected, const std::function<void()>& wrong);

/// Completes an IRP, and gives the status back.
NTSTATUS complete(PIRP irp, NTSTATUS status, ULONG_PTR information = 0);

void test_services();
void test_devices();
void test_irps();
void test_process_death();
/// What shows only when a driver is unloaded; loads the file several times.
void test_unloading(const char* misuse_driver);

}  // namespace wnbd::test
