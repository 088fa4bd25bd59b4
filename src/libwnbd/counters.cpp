// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/counters.h"

#include <iterator>

namespace wnbd::libwnbd {

void Counters::received() noexcept {
    const std::lock_guard lock(mutex_);
    ++values_.received;
    ++values_.unsubmitted;
}

void Counters::rejected() noexcept {
    const std::lock_guard lock(mutex_);
    --values_.unsubmitted;
    ++values_.invalid;
}

void Counters::submitted(const WNBD_IO_REQUEST& request) noexcept {
    const std::lock_guard lock(mutex_);
    --values_.unsubmitted;
    ++values_.submitted;
    ++values_.pending_submitted;
    if (request.RequestType == WnbdReqTypeRead) {
        ++values_.read_write;
        values_.read_blocks += request.Cmd.Read.BlockCount;
    } else if (request.RequestType == WnbdReqTypeWrite) {
        ++values_.read_write;
        values_.written_blocks += request.Cmd.Write.BlockCount;
    }
}

void Counters::reply_begun(WnbdRequestType type, bool failed) noexcept {
    const std::lock_guard lock(mutex_);
    ++values_.pending_replies;
    // An application may answer twice, or what it fetched by itself: the sums hold all the same.
    if (values_.pending_submitted > 0) {
        --values_.pending_submitted;
        ++values_.replies;
    }
    const auto index = static_cast<std::size_t>(type);
    if (failed && index < std::size(values_.errors)) ++values_.errors[index];
}

void Counters::reply_ended() noexcept {
    const std::lock_guard lock(mutex_);
    --values_.pending_replies;
}

CounterValues Counters::snapshot() const noexcept {
    const std::lock_guard lock(mutex_);
    return values_;
}

}  // namespace wnbd::libwnbd
