// SPDX-License-Identifier: LGPL-2.1-or-later
// A client whose streams, threads and time are the test's own: every step is the test's.
#pragma once

#include <gtest/gtest.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include "nbd/client.h"
#include "nbd/fake_stream.h"

namespace wnbd::nbd::test {

inline constexpr std::uint64_t disk_size = 1ULL << 30;
inline constexpr std::uint16_t usual_flags = transmission_has_flags | transmission_send_flush |
                                             transmission_send_fua | transmission_send_trim |
                                             transmission_can_multi_conn;

inline Agreement agreement(std::uint64_t size = disk_size, std::uint16_t flags = usual_flags) {
    return {.info = {.size = size, .transmission_flags = flags}};
}

inline ReconnectPolicy patient() {
    return {.delay = std::chrono::seconds(1), .timeout = std::chrono::seconds(60)};
}

/// A user's request with its buffer and its end.
struct Job {
    explicit Job(CommandType type, std::uint64_t offset = 0, std::size_t length = 512)
        : buffer(type == CommandType::read || type == CommandType::write ? length : 0, 0x77) {
        request.command = {.type = type,
                           .offset = offset,
                           .length = type == CommandType::flush ? 0 : length,
                           .data = buffer.empty() ? nullptr : buffer.data()};
        request.context = this;
        request.done = [](Request& done, Outcome outcome) noexcept {
            auto& job = *static_cast<Job*>(done.context);
            ++job.ended;
            job.outcome = outcome;
            if (job.then) job.then();
        };
    }
    Job(const Job&) = delete;
    Job& operator=(const Job&) = delete;

    [[nodiscard]] bool good() const {
        return ended == 1 && outcome.error == 0 && !outcome.disconnected;
    }

    std::vector<std::uint8_t> buffer;
    Request request;
    unsigned ended = 0;
    Outcome outcome;
    std::function<void()> then;
};

/// A client and the shell's part, done by hand.
struct Fixture {
    explicit Fixture(ClientLimits limits = {.reconnect = patient()},
                     const Agreement& first = test::agreement(), std::size_t addresses = 1)
        : client(limits, first, addresses, 0) {
        EXPECT_EQ(attach(0, first).code, FaultCode::none);
    }
    ~Fixture() {
        client.close(now);
        for (unsigned index = 0; index < wires.size(); ++index)
            if (attached[index]) end(index);
    }

    Fault attach(unsigned index, const Agreement& with = test::agreement()) {
        auto wire = std::make_shared<FakeWire>();
        auto fault = client.attach(index, std::make_unique<FakeStream>(wire), with, now);
        if (fault.code == FaultCode::none) {
            wires[index] = wire;
            attached[index] = true;
        }
        return fault;
    }
    FakeWire& wire(unsigned index = 0) { return *wires[index]; }
    void submit(Job& job) {
        Request* const request = &job.request;
        client.submit({&request, 1});
    }
    void submit(const std::vector<Job*>& jobs) {
        std::vector<Request*> requests;
        requests.reserve(jobs.size());
        for (Job* const job : jobs)
            requests.push_back(&job->request);
        client.submit(requests);
    }
    /// What the connection's thread would do until there is nothing more to do.
    void turn(unsigned index = 0) {
        if (!attached[index]) return;
        auto& connection = client.connection(index);
        for (int i = 0; i < 8; ++i) {
            const auto ready = connection.stream().wait(connection.wants());
            if (connection.step(ready) != Connection::Step::over) continue;
            client.detached(index, now);
            attached[index] = false;
            return;
        }
    }
    /// The server ends its side.
    void end(unsigned index = 0) {
        wire(index).server_ended = true;
        turn(index);
    }
    /// Time passes, in steps that a keeper would make.
    Client::Chore pass(std::chrono::milliseconds time) {
        Client::Chore chore;
        const auto until = now + time;
        while (now < until && !chore.dial) {
            now = std::min(until, now + std::chrono::milliseconds(100));
            chore = client.look_after(now);
        }
        return chore;
    }
    /// All the way back: the chore of dialling, and the connection.
    Fault reconnect(const Agreement& with = test::agreement()) {
        const auto chore = client.look_after(now);
        EXPECT_TRUE(chore.dial.has_value());
        auto fault = attach(0, with);
        if (fault.code != FaultCode::none) client.dial_failed(fault, now);
        return fault;
    }
    std::vector<FakeWire::Request> serve(unsigned index = 0, std::uint32_t error = 0) {
        auto requests = wire(index).take_all();
        for (const auto& request : requests)
            wire(index).answer(request, error, 0x42);
        turn(index);
        return requests;
    }

    Client client;
    TimePoint now{std::chrono::hours(1)};
    std::map<unsigned, std::shared_ptr<FakeWire>> wires;
    std::map<unsigned, bool> attached;
};

}  // namespace wnbd::nbd::test
