// SPDX-License-Identifier: LGPL-2.1-or-later
// A client with its threads, and what it tells. For tests.
#pragma once

#include <algorithm>
#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <stdexcept>
#include <string>
#include <utility>
#include <vector>

#include "nbd/client_shell.h"

namespace wnbd::nbd::test {

class Events final : public ClientObserver {
  public:
    using Kind = ClientEvent::Kind;

    void happened(const ClientEvent& event) noexcept override {
        const std::lock_guard lock(lock_);
        events_.push_back(event);
        changed_.notify_all();
    }
    bool wait_for(Kind kind, std::size_t count = 1) {
        std::unique_lock lock(lock_);
        return changed_.wait_for(lock, std::chrono::seconds(30),
                                 [&] { return count_of(kind) >= count; });
    }
    /// Losses and returns in their order.
    std::vector<Kind> turns() {
        const std::lock_guard lock(lock_);
        std::vector<Kind> turns;
        for (const auto& event : events_)
            if (event.kind == Kind::lost || event.kind == Kind::returned)
                turns.push_back(event.kind);
        return turns;
    }
    std::string text(Kind kind) {
        const std::lock_guard lock(lock_);
        for (const auto& event : events_)
            if (event.kind == kind) return event.text;
        return {};
    }

  private:
    [[nodiscard]] std::size_t count_of(Kind kind) const {
        return static_cast<std::size_t>(
            std::count_if(events_.begin(), events_.end(),
                          [&](const ClientEvent& event) { return event.kind == kind; }));
    }
    std::mutex lock_;
    std::condition_variable changed_;
    std::vector<ClientEvent> events_;
};

inline ClientOptions options_for(std::vector<Address> addresses) {
    ClientOptions options;
    options.addresses = std::move(addresses);
    options.connections = 1;
    options.reconnect = {.delay = std::chrono::milliseconds(10),
                         .delay_max = std::chrono::milliseconds(100),
                         .timeout = std::chrono::seconds(60)};
    return options;
}

struct Opened {
    explicit Opened(ClientOptions options) {
        auto opened = ClientShell::open(std::move(options));
        if (!opened) throw std::runtime_error(describe(opened.error()));
        shell = std::move(opened.value());
        shell->observe(&events);
    }
    ~Opened() {
        shell->observe(nullptr);
        shell->close(false);
    }
    Outcome perform(Command command) {
        struct Waiter {
            std::mutex lock;
            std::condition_variable changed;
            bool over = false;
            Outcome outcome;
        } waiter;
        Request request{.command = command, .context = &waiter};
        request.done = [](Request& done, Outcome outcome) noexcept {
            auto& ended = *static_cast<Waiter*>(done.context);
            const std::lock_guard lock(ended.lock);
            ended.outcome = outcome;
            ended.over = true;
            ended.changed.notify_all();
        };
        Request* const list = &request;
        shell->submit({&list, 1});
        std::unique_lock lock(waiter.lock);
        waiter.changed.wait(lock, [&] { return waiter.over; });
        return waiter.outcome;
    }
    Outcome write(std::uint64_t offset, std::vector<std::uint8_t>& bytes) {
        return perform({.type = CommandType::write,
                        .offset = offset,
                        .length = bytes.size(),
                        .data = bytes.data()});
    }
    Outcome read(std::uint64_t offset, std::vector<std::uint8_t>& bytes) {
        return perform({.type = CommandType::read,
                        .offset = offset,
                        .length = bytes.size(),
                        .data = bytes.data()});
    }

    Events events;
    std::unique_ptr<ClientShell> shell;
};

inline bool good(Outcome outcome) {
    return outcome.error == 0 && !outcome.disconnected;
}

}  // namespace wnbd::nbd::test
