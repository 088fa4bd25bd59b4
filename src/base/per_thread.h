// SPDX-License-Identifier: LGPL-2.1-or-later
// A value of each thread, for Windows. `thread_local` is not for values with a destructor there:
// GCC keeps them in memory that the thread library frees before their destructors run, so that
// these see garbage and close or free what is somebody else's (GCC bug 83562; seen with GCC 12).
#pragma once

#include <new>

namespace wnbd {

/// One pointer per thread, handed to `destroy` when the thread ends or the slot goes.
class ThreadSlot {
  public:
    using Destroy = void (*)(void* value);

    explicit ThreadSlot(Destroy destroy) noexcept;
    ThreadSlot(const ThreadSlot&) = delete;
    ThreadSlot& operator=(const ThreadSlot&) = delete;
    ~ThreadSlot();

    [[nodiscard]] void* get() const noexcept;
    /// False: Windows has no room for it.
    [[nodiscard]] bool set(void* value) noexcept;

  private:
    unsigned long index_;
};

/// For a variable with static storage duration. A thread's Value is made by its first `get` and
/// destroyed when the thread ends, or with this object when the module is unloaded.
template <typename Value>
class PerThread {
  public:
    /// The calling thread's own; nullptr when there is no memory for it.
    [[nodiscard]] Value* get() noexcept {
        if (void* const made = slot_.get(); made != nullptr) return static_cast<Value*>(made);
        auto* const fresh = new (std::nothrow) Value;
        if (fresh == nullptr || slot_.set(fresh)) return fresh;
        delete fresh;
        return nullptr;
    }

  private:
    ThreadSlot slot_{[](void* value) { delete static_cast<Value*>(value); }};
};

}  // namespace wnbd
