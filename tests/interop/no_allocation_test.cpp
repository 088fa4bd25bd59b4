// SPDX-License-Identifier: LGPL-2.1-or-later
// Once the client is up, requests and their replies allocate nothing, on whatever thread: counted
// in this whole process, malloc and what stands on it. Plain connections; what a TLS library does
// inside is its own matter, and dialling anew after a loss allocates.
#include <gtest/gtest.h>

#include <atomic>
#include <condition_variable>
#include <cstdlib>
#include <mutex>
#include <vector>

#include "backend/nbd_backend.h"
#include "nbd/uri.h"
#include "tests/interop/server_process.h"

namespace {

std::atomic<bool> counting{false};
std::atomic<std::uint64_t> allocations{0};

void count() noexcept {
    if (counting.load(std::memory_order_relaxed)) ++allocations;
}

}  // namespace

// In front of the C library's own; operator new comes here, too.
// NOLINTBEGIN(bugprone-reserved-identifier)
extern "C" {
void* __libc_malloc(std::size_t size);
void* __libc_calloc(std::size_t count, std::size_t size);
void* __libc_realloc(void* old, std::size_t size);
void* __libc_memalign(std::size_t alignment, std::size_t size);

void* malloc(std::size_t size) {
    count();
    return __libc_malloc(size);
}
void* calloc(std::size_t number, std::size_t size) {
    count();
    return __libc_calloc(number, size);
}
void* realloc(void* old, std::size_t size) {
    count();
    return __libc_realloc(old, size);
}
void* aligned_alloc(std::size_t alignment, std::size_t size) {
    count();
    return __libc_memalign(alignment, size);
}
}
// NOLINTEND(bugprone-reserved-identifier)

namespace wnbd::test {
namespace {

using backend::Error;
using backend::Operation;

constexpr unsigned depth = 300;  // more than a connection's table takes
constexpr std::uint64_t disk_size = 64U << 20;

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
    bool run() {
        for (auto& request : requests_)
            next(request);
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

TEST(NoAllocation, RequestsAndRepliesAllocateNothing) {
    const TemporaryDirectory folder;
    const auto socket = folder.file("socket");
    const ServerProcess server({"nbdkit", "-f", "-U", socket, "memory", std::to_string(disk_size)},
                               socket, 0);
    const auto uri = nbd::parse_uri(server.uri());
    ASSERT_TRUE(uri.ok());
    auto disk =
        backend::NbdBackend::open({.addresses = uri.value().addresses,
                                   .connections = 2,
                                   .reconnect = {.timeout = std::chrono::milliseconds(60'000)}});
    ASSERT_TRUE(disk.ok()) << disk.error();
    // The further connection is dialled meanwhile, and each thread has its first time.
    Load first(*disk.value(), 20'000);
    ASSERT_TRUE(first.run());
    Load load(*disk.value(), 50'000);
    counting = true;
    const bool well = load.run();
    counting = false;
    EXPECT_TRUE(well);
    EXPECT_EQ(allocations.load(), 0U);
    // The count counts.
    counting = true;
    void* volatile memory = std::malloc(1);
    std::free(memory);
    counting = false;
    EXPECT_GE(allocations.load(), 1U);
    disk.value()->close();
}

}  // namespace
}  // namespace wnbd::test
