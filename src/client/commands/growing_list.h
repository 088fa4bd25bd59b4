// SPDX-License-Identifier: LGPL-2.1-or-later
// Reads the lists of the API, which tell the size they need and may have grown by the next call.
#pragma once

#include <windows.h>

#include <algorithm>
#include <cstddef>
#include <memory>
#include <new>
#include <span>
#include <string>

#include "client/system.h"

namespace wnbd::client {

template <typename Element>
class GrowingList {
  public:
    /// `read(buffer, &size)` is WnbdList or a function of the same contract: 0 with a larger size
    /// when the buffer is too small. `List` has the elements' count and the elements. Returns a
    /// Win32 error; that of a failed allocation is already `reported`.
    template <typename List, typename Read>
    DWORD fill(Element (List::*elements)[1], Read read) {
        DWORD needed = 0;
        if (const DWORD code = read(nullptr, &needed); code != ERROR_SUCCESS) return code;
        for (unsigned attempt = 0; attempt < attempts_max; ++attempt) {
            const DWORD size = std::max<DWORD>(needed, sizeof(List));
            buffer_.reset(new (std::nothrow) std::byte[size]{});
            if (!buffer_) {
                print_error("Could not allocate " + std::to_string(size) + " bytes.");
                reported_ = true;
                return ERROR_NOT_ENOUGH_MEMORY;
            }
            auto* const list = reinterpret_cast<List*>(buffer_.get());
            needed = size;
            if (const DWORD code = read(list, &needed); code != ERROR_SUCCESS) return code;
            if (needed > size) continue;
            // More elements than fit would be the driver's fault; it must not become ours.
            const std::size_t room = (size - offset_of_elements<List>()) / sizeof(Element);
            if (list->Count > room) return ERROR_INVALID_DATA;
            elements_ = std::span<const Element>(&(list->*elements)[0], list->Count);
            return ERROR_SUCCESS;
        }
        return ERROR_MORE_DATA;
    }

    [[nodiscard]] std::span<const Element> elements() const noexcept { return elements_; }
    [[nodiscard]] bool reported() const noexcept { return reported_; }

  private:
    static constexpr unsigned attempts_max = 100;

    template <typename List>
    static constexpr std::size_t offset_of_elements() {
        return sizeof(List) - sizeof(Element);
    }

    std::unique_ptr<std::byte[]> buffer_;
    std::span<const Element> elements_;
    bool reported_ = false;
};

}  // namespace wnbd::client
