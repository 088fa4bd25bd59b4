// SPDX-License-Identifier: LGPL-2.1-or-later
// Connections on threads of their own, over a backend that completes on yet another: what a task's
// end, a wake-up, an abort and the connection's own end do to each other.
#include <gtest/gtest.h>

#include <condition_variable>
#include <deque>
#include <thread>

#include "iscsi/connection.h"
#include "iscsi/test_initiator.h"
#include "iscsi/test_target.h"

namespace wnbd::iscsi {
namespace {

using test::Initiator;

/// Memory behind a thread.
class LateBackend final : public backend::Backend {
  public:
    LateBackend()
        : memory_(std::move(backend::MemoryBackend::create(test::disk_size).value())),
          thread_([this] { serve(); }) {}
    ~LateBackend() override { close(); }

    [[nodiscard]] const backend::Properties& properties() const noexcept override {
        return memory_->properties();
    }
    void submit(backend::Request& request) noexcept override {
        const std::lock_guard lock(lock_);
        queue_.push_back(&request);
        changed_.notify_one();
    }
    void close() noexcept override {
        {
            const std::lock_guard lock(lock_);
            closing_ = true;
            changed_.notify_one();
        }
        if (thread_.joinable()) thread_.join();
    }

  private:
    void serve() {
        std::unique_lock lock(lock_);
        for (;;) {
            changed_.wait(lock, [this] { return closing_ || !queue_.empty(); });
            if (queue_.empty()) return;
            backend::Request& request = *queue_.front();
            queue_.pop_front();
            lock.unlock();
            memory_->submit(request);
            lock.lock();
        }
    }

    const std::unique_ptr<backend::Backend> memory_;
    std::mutex lock_;
    std::condition_variable changed_;
    std::deque<backend::Request*> queue_;
    bool closing_ = false;
    std::thread thread_;
};

/// One initiator's life after the other, each cut off with commands under way.
void live(Target& target, std::uint8_t isid, unsigned lives) {
    for (unsigned life = 0; life < lives; ++life) {
        Initiator initiator(target);
        initiator.send(initiator.login_request({.isid = isid}));
        auto status = initiator.login_answer();
        while (!status && !initiator.connection.finished()) {
            std::this_thread::yield();
            status = initiator.login_answer();
        }
        if (!status) continue;  // another one has come before it began
        ASSERT_EQ(status, LoginStatus::success);
        const test::Bytes data = test::pattern(4096, isid);
        for (std::uint32_t i = 0; i < 200; ++i) {
            const bool writes = i % 2 == 0;
            const auto request = writes ? initiator.command(Initiator::write10(isid * 64U, 8),
                                                            Initiator::writes, 4096, data)
                                        : initiator.command(Initiator::read10(isid * 64U, 8),
                                                            Initiator::reads, 4096);
            initiator.send(request);
            if (i % 31 == 0)
                initiator.send(
                    initiator.task_management(TaskFunction::abort_task, request.task_tag));
            initiator.replies.clear();
            if (initiator.connection.finished()) break;
        }
    }
}

TEST(ConnectionThreads, EndsOnOtherThreadsComeToTheirConnections) {
    test::TestLog log;
    Target target(test::small_settings(), log);
    auto unit = LogicalUnit::create(std::make_unique<LateBackend>(), {}, target.names());
    ASSERT_TRUE(unit.ok());
    target.add(std::move(unit.value()));
    {
        std::vector<std::jthread> threads;
        // Two of them are the same port: they take each other's session.
        for (const std::uint8_t isid : {1, 2, 2})
            threads.emplace_back([&target, isid] { live(target, isid, 20); });
    }
    EXPECT_EQ(target.buffers().in_use(), 0U);
    EXPECT_EQ(target.sessions().size(), 0U);
}

}  // namespace
}  // namespace wnbd::iscsi
