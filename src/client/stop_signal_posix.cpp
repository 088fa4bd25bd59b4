// SPDX-License-Identifier: LGPL-2.1-or-later
#include <csignal>
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

void StopSignal::wait() {
    const sigset_t set = watched();
    int number = 0;
    while (sigwait(&set, &number) != 0) {
    }
    for (const int each : {SIGINT, SIGTERM, SIGHUP})
        std::signal(each, SIG_DFL);
    pthread_sigmask(SIG_UNBLOCK, &set, nullptr);
}

}  // namespace wnbd::client
