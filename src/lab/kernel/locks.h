// SPDX-License-Identifier: LGPL-2.1-or-later
// What all kinds of lock have in common: who holds what, and in which order locks were taken.
#pragma once

#include "lab/kernel/verifier.h"

namespace wnbd::lab::kernel {

/// Before waiting for the lock: reports recursion and an order that was the other way round
/// elsewhere. Recursion on a lock that cannot be shared ends the process, for the thread would wait
/// for itself.
void before_acquire(const void* lock, LockKind kind, bool shared, const char* function);
void after_acquire(const void* lock, LockKind kind, bool shared);
/// False (and a violation) if this thread does not hold the lock.
bool before_release(const void* lock, const char* function);
/// True if the thread holds a lock of this kind.
bool holds_kind(const ThreadState& thread, LockKind kind) noexcept;

}  // namespace wnbd::lab::kernel
