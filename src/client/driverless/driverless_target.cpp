// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/driverless/driverless_target.h"

#include <ntsecapi.h>

#include <chrono>
#include <cstdint>
#include <utility>

#include "client/driverless/driverless_plan.h"
#include "engine/platform.h"

namespace wnbd::client {
namespace {

constexpr char chap_user[] = "wnbd";
/// The initiator has logged out before, or is not to be waited for.
constexpr std::chrono::milliseconds logout_patience{0};
constexpr std::uint64_t ticks_per_ms = 10'000;

bool fill(DriverlessRandom& random) noexcept {
    return RtlGenRandom(random.data(), static_cast<ULONG>(random.size())) != FALSE;
}

/// From the engine's clock to the one that all processes share.
std::uint64_t shared_time(std::uint64_t time, std::uint64_t engine_now) noexcept {
    if (time == 0) return 0;
    const std::uint64_t now = GetTickCount64() * ticks_per_ms;
    const std::uint64_t age = engine_now > time ? engine_now - time : 0;
    return now > age ? now - age : 1;
}

}  // namespace

Result<std::unique_ptr<DriverlessTarget>, ServedTarget::Refusal> DriverlessTarget::start(
    const MapPlan& plan, bool debug) {
    DriverlessRandom name{};
    DriverlessRandom secret{};
    if (!fill(name) || !fill(secret)) {
        return Failure{ServedTarget::Refusal{.text = "Windows gives no random numbers.",
                                             .code = ERROR_NO_SYSTEM_RESOURCES}};
    }
    const ServePlan served = driverless_plan(plan, GetCurrentProcessId(), name);
    std::unique_ptr<DriverlessTarget> target(new DriverlessTarget(debug));
    LoginTarget& login = target->login_;
    login.name = served.target_name;
    login.user = chap_user;
    login.secret = chap_secret_text(secret);
    ChapCredentials credentials;
    credentials.initiator = {.name = login.user, .secret = login.secret};
    auto started = ServedTarget::start(served, credentials, target->log_);
    if (!started) return Failure{started.error()};
    target->served_ = std::move(started.value());
    const iscsi::Endpoint& endpoint = target->served_->server().endpoints().front();
    login.address = endpoint.address;
    login.port = endpoint.port;
    target->properties_ = plan.properties;
    target->complete_properties();
    return target;
}

void DriverlessTarget::complete_properties() {
    const scsi::Disk& disk = unit().description();
    properties_.MaxUnmapDescCount = disk.max_unmap_descriptors_per_step;
    WNBD_FLAGS& flags = properties_.Flags;
    flags.ReadOnly = disk.read_only ? 1 : 0;
    flags.FlushSupported = disk.flush_supported ? 1 : 0;
    flags.FUASupported = disk.fua_supported ? 1 : 0;
    flags.UnmapSupported = disk.unmap_supported ? 1 : 0;
}

WNBD_PROPERTIES DriverlessTarget::properties() const noexcept {
    WNBD_PROPERTIES now = properties_;
    now.BlockCount = unit().block_count();
    return now;
}

WNBD_DRV_STATS DriverlessTarget::stats() noexcept {
    const engine::Counters counters = unit().counters();
    const std::uint64_t now = platform::interrupt_time();
    WNBD_DRV_STATS stats{};
    stats.TotalReceivedIORequests = counters.received;
    stats.TotalSubmittedIORequests = counters.submitted;
    stats.TotalReceivedIOReplies = counters.replies;
    stats.UnsubmittedIORequests = counters.unsubmitted;
    stats.PendingSubmittedIORequests = counters.pending_submitted;
    stats.AbortedSubmittedIORequests = counters.aborted_submitted;
    stats.AbortedUnsubmittedIORequests = counters.aborted_unsubmitted;
    stats.CompletedAbortedIORequests = counters.late_replies;
    stats.OutstandingIOCount = counters.outstanding();
    stats.LastReceivedReqTimestamp = shared_time(counters.last_received_at, now);
    stats.LastSubmittedReqTimestamp = shared_time(counters.last_submitted_at, now);
    stats.LastReplyTimestamp = shared_time(counters.last_reply_at, now);
    return stats;
}

std::string DriverlessTarget::stop() {
    return served_->stop(logout_patience);
}

}  // namespace wnbd::client
