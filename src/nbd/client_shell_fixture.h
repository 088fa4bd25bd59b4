// SPDX-License-Identifier: LGPL-2.1-or-later
// A client's shell on one connection to a scripted server. For tests.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <deque>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "nbd/client_shell.h"
#include "nbd/scripted_server.h"
#include "nbd/test_wire.h"

namespace wnbd::nbd::test {

inline constexpr std::uint64_t disk_size = 64U << 20;

inline Wire good_answer() {
    return export_info(disk_size).append(ack());
}

/// Submits commands and counts their completions by cookie.
class Completions {
  public:
    void submit(ClientShell& shell, const Command& command) {
        Request* request = nullptr;
        {
            const std::lock_guard lock(lock_);
            request = &requests_.emplace_back();
        }
        *request = {.command = command,
                    .done =
                        [](Request& done, Outcome outcome) noexcept {
                            static_cast<Completions*>(done.context)->completed(done, outcome);
                        },
                    .context = this};
        shell.submit({&request, 1});
    }
    bool wait_for_count(unsigned count) {
        std::unique_lock lock(lock_);
        return changed_.wait_for(lock, std::chrono::seconds(20), [&] { return count_ >= count; });
    }
    unsigned count() const { return locked(count_); }
    unsigned disconnected() const { return locked(disconnected_); }
    Outcome last() const { return locked(last_); }
    bool each_once() const {
        const std::lock_guard lock(lock_);
        for (const auto& [request, times] : times_)
            if (times != 1) return false;
        return true;
    }

  private:
    void completed(Request& request, Outcome outcome) {
        const std::lock_guard lock(lock_);
        ++count_;
        ++times_[&request];
        last_ = outcome;
        if (outcome.disconnected) ++disconnected_;
        changed_.notify_all();
    }
    template <typename T>
    T locked(const T& value) const {
        const std::lock_guard lock(lock_);
        return value;
    }
    mutable std::mutex lock_;
    std::condition_variable changed_;
    std::deque<Request> requests_;
    std::map<Request*, unsigned> times_;
    unsigned count_ = 0;
    unsigned disconnected_ = 0;
    Outcome last_;
};

inline Result<std::unique_ptr<ClientShell>, Fault> open(Address address,
                                                        ClientOptions options = {}) {
    options.addresses = {std::move(address)};
    // The scripts count the bytes of the plain negotiation.
    options.structured_replies = options.extended_headers = false;
    options.reconnect.timeout = std::chrono::milliseconds(0);
    return ClientShell::open(std::move(options));
}

inline Command read_into(std::vector<std::uint8_t>& buffer, std::uint64_t offset = 0) {
    return {.type = CommandType::read,
            .offset = offset,
            .length = buffer.size(),
            .data = buffer.data()};
}

}  // namespace wnbd::nbd::test
