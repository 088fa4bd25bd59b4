// SPDX-License-Identifier: LGPL-2.1-or-later
#include <csignal>
#include <ctime>
#include <initializer_list>

#include "client/stop_signal.h"

namespace wnbd::client {
namespace {

sigset_t watched() {
    sigset_t set;
    sigemptyset(&set);
    for (const int number : {SIGINT, SIGTERM, SIGHUP})
        sigaddset(&set, number);
    return set;
}

}  // namespace

StopSignal::StopSignal() {
    const sigset_t set = watched();
    pthread_sigmask(SIG_BLOCK, &set, nullptr);
    // Whoever read our output may be gone; that is no reason to drop the disks.
    std::signal(SIGPIPE, SIG_IGN);
}

StopSignal::~StopSignal() {
    const sigset_t set = watched();
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

bool StopSignal::wait(std::chrono::milliseconds time) {
    const sigset_t set = watched();
    const auto seconds = std::chrono::duration_cast<std::chrono::seconds>(time);
    const timespec limit{.tv_sec = seconds.count(),
                         .tv_nsec = std::chrono::nanoseconds(time - seconds).count()};
    if (sigtimedwait(&set, nullptr, &limit) < 0) return false;
    for (const int each : {SIGINT, SIGTERM, SIGHUP})
        std::signal(each, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
    return true;
}

}  // namespace wnbd::client
