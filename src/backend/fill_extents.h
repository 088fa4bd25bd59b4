// SPDX-License-Identifier: LGPL-2.1-or-later
// The extents operation for backends that can say at once what a run of bytes is.
#pragma once

#include <algorithm>

#include "backend/backend.h"

namespace wnbd::backend {

/// `extent_at(offset)` gives the run that begins there, at least one byte long. The request has
/// been checked. What is not allocated reads as zeroes.
template <typename ExtentAt>
[[nodiscard]] Error fill_extents(Request& request, ExtentAt&& extent_at) noexcept {
    request.extent_count = 0;
    for (std::uint64_t done = 0; done < request.length;) {
        Extent run = extent_at(request.offset + done);
        run.length = std::min(run.length, request.length - done);
        run.zeroes = !run.allocated;
        done += run.length;
        if (request.extent_count > 0) {
            auto& last = request.extents[request.extent_count - 1];
            if (last.allocated == run.allocated) {
                last.length += run.length;
                continue;
            }
        }
        if (request.extent_count == request.extents.size()) break;
        request.extents[request.extent_count++] = run;
    }
    return Error::none;
}

}  // namespace wnbd::backend
