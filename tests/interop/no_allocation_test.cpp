// SPDX-License-Identifier: LGPL-2.1-or-later
// Once the client is up, requests and their replies allocate nothing, on whatever thread, and
// nothing when their server dies and its successor serves them either: counted in this whole
// process, malloc and what stands on it. Plain connections; what a TLS library does inside is its
// own matter. Dialling anew and telling of it allocate, on their own threads.
#include <gtest/gtest.h>
#include <unistd.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "backend/nbd_backend.h"
#include "nbd/uri.h"
#include "tests/interop/memory_hooks.h"
#include "tests/interop/server_process.h"

namespace wnbd::test {
namespace {

using backend::Error;
using backend::Operation;

constexpr unsigned depth = 300;  // more than a connection's table takes
constexpr std::uint64_t disk_size = 64U << 20;

/// A server with a disk in memory, and what it takes to start it again.
class Server {
  public:
    Server() { start(); }
    void start() {
        (void)::unlink(socket_.c_str());
        process_ = std::make_unique<ServerProcess>(
            std::vector<std::string>{"nbdkit", "-f", "-U", socket_, "memory",
                                     std::to_string(disk_size)},
            socket_, std::uint16_t{0});
    }
    void kill() { process_->kill(); }

    [[nodiscard]] std::unique_ptr<backend::Backend> open() const {
        const auto uri = nbd::parse_uri(process_->uri());
        nbd::ClientOptions options{.addresses = uri.value().addresses,
                                   .connections = 2,
                                   .reconnect = {.delay = std::chrono::milliseconds(20),
                                                 .delay_max = std::chrono::milliseconds(100),
                                                 .timeout = std::chrono::milliseconds(60'000)}};
        auto disk = backend::NbdBackend::open(options);
        EXPECT_TRUE(disk.ok()) << disk.error();
        return disk.ok() ? std::move(disk.value()) : nullptr;
    }

  private:
    const TemporaryDirectory folder_;
    const std::string socket_ = folder_.file("socket");
    std::unique_ptr<ServerProcess> process_;
};

/// Requests that are submitted again as soon as they are done, so many times in all.
class Load {
  public:
    Load(backend::Backend& disk, std::uint64_t total)
        : disk_(disk), left_(total), requests_(depth), buffers_(depth), extents_(depth) {
        for (unsigned i = 0; i < depth; ++i) {
            buffers_[i].resize(i % 16 == 0 ? 64U << 10 : 4U << 10);
            extents_[i].resize(16);
            requests_[i].context = this;
            requests_[i].done = [](backend::Request& request, Error error) noexcept {
                static_cast<Load*>(request.context)->done(request, error);
            };
        }
    }
    void begin() {
        for (auto& request : requests_)
            next(request);
    }
    /// So many have been submitted by now.
    void wait_for(std::uint64_t count) const {
        while (number_.load() < count)
            std::this_thread::yield();
    }
    bool ends_well() {
        std::unique_lock lock(lock_);
        changed_.wait(lock, [this] { return ended_ == depth; });
        return failed_ == 0;
    }

  private:
    void next(backend::Request& request) noexcept {
        constexpr Operation operations[] = {
            Operation::read, Operation::write,        Operation::read,  Operation::write,
            Operation::trim, Operation::write_zeroes, Operation::flush, Operation::extents};
        const auto index = static_cast<std::size_t>(&request - requests_.data());
        const auto number = number_.fetch_add(1);
        request.operation = operations[number % std::size(operations)];
        request.buffer = buffers_[index];
        request.extents = extents_[index];
        request.length = buffers_[index].size();
        // Some meet: they wait for each other in the line.
        request.offset = (number * 7919 % 64) * (64U << 10);
        disk_.submit(request);
    }
    void done(backend::Request& request, Error error) noexcept {
        if (error != Error::none) ++failed_;
        if (left_.fetch_sub(1) > static_cast<std::int64_t>(depth)) return next(request);
        const std::lock_guard lock(lock_);
        if (++ended_ == depth) changed_.notify_one();
    }

    backend::Backend& disk_;
    std::atomic<std::int64_t> left_;
    std::atomic<std::uint64_t> number_{0};
    std::atomic<unsigned> failed_{0};
    std::vector<backend::Request> requests_;
    std::vector<std::vector<std::uint8_t>> buffers_;
    std::vector<std::vector<backend::Extent>> extents_;
    std::mutex lock_;
    std::condition_variable changed_;
    unsigned ended_ = 0;
};

/// Whoever tells of a loss, of an attempt in vain or of a return is not on the way of requests.
class Listener final : public backend::Observer {
  public:
    void told(Weight, const std::string&) noexcept override {
        exempt_this_thread(true);
        ++lines;
    }
    void resized(std::uint64_t) noexcept override {}

    std::atomic<unsigned> lines{0};
};

/// What was allocated while the server died and came back in the middle of it.
std::uint64_t allocations_at_a_loss(Server& server, backend::Backend& disk, Listener& listener) {
    Load load(disk, 20'000);
    count_allocations();
    load.begin();
    exempt_this_thread(true);
    load.wait_for(5'000);
    const auto before = listener.lines.load();
    server.kill();
    // The loss, and the first attempt.
    while (listener.lines.load() < before + 2)
        std::this_thread::yield();
    server.start();
    const bool well = load.ends_well();
    // The return has been told, too.
    while (listener.lines.load() < before + 3)
        std::this_thread::yield();
    const auto counted = allocations_counted();
    exempt_this_thread(false);
    EXPECT_TRUE(well);
    return counted;
}

TEST(NoAllocation, RequestsAndRepliesAllocateNothing) {
    Server server;
    const auto disk = server.open();
    ASSERT_NE(disk, nullptr);
    // The further connection is dialled meanwhile, and each thread has its first time.
    Load first(*disk, 20'000);
    first.begin();
    ASSERT_TRUE(first.ends_well());
    Load load(*disk, 50'000);
    count_allocations();
    load.begin();
    const bool well = load.ends_well();
    EXPECT_EQ(allocations_counted(), 0U);
    EXPECT_TRUE(well);
    disk->close();
}

TEST(NoAllocation, ALossAndWhatIsReplayedAllocateNothingEither) {
    Server server;
    const auto disk = server.open();
    ASSERT_NE(disk, nullptr);
    Listener listener;
    disk->observe(&listener);
    // The first time shows which threads dial and tell.
    EXPECT_GT(allocations_at_a_loss(server, *disk, listener), 0U);
    EXPECT_EQ(allocations_at_a_loss(server, *disk, listener), 0U);
    disk->close();
    disk->observe(nullptr);
}

TEST(NoAllocation, TheCountCounts) {
    count_allocations();
    void* volatile memory = std::malloc(1);
    std::free(memory);
    EXPECT_GE(allocations_counted(), 1U);
}

}  // namespace
}  // namespace wnbd::test
