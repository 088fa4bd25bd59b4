// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/server.h"

#include <algorithm>
#include <asio/error.hpp>
#include <asio/post.hpp>
#include <atomic>
#include <condition_variable>
#include <mutex>
#include <system_error>
#include <thread>
#include <utility>

#include "iscsi/listener.h"
#include "iscsi/loop.h"

namespace wnbd::iscsi {
namespace {

constexpr unsigned most_loops = 4;

unsigned loop_count(const ServerSettings& settings) {
    if (settings.loops != 0) return settings.loops;
    return std::clamp(std::thread::hardware_concurrency(), 1U, most_loops);
}

class SocketServer final : public Server, private LoopOwner, private ConnectionTaker {
  public:
    SocketServer(Target& target, Log& log, const ServerSettings& settings)
        : log_(log), limit_(settings.connection_limit) {
        LoopOwner& owner = *this;
        for (unsigned i = 0; i < loop_count(settings); ++i)
            loops_.push_back(std::make_unique<Loop>(target, log, owner));
    }

    ~SocketServer() override {
        static_cast<void>(stop({}, {}));
        {
            std::unique_lock lock(mutex_);
            ended_.wait(lock, [this] { return connections_ == 0; });
        }
        for (const auto& loop : loops_)
            loop->finish();
        // Before the loops, whose sockets they are.
        listeners_.clear();
    }

    /// Empty when it listens.
    Refusal listen(const std::vector<Endpoint>& endpoints) {
        for (Endpoint endpoint : endpoints) {
            if (endpoint.port == 0 && !endpoints_.empty()) endpoint.port = endpoints_.front().port;
            ConnectionTaker& taker = *this;
            auto listener = std::make_unique<Listener>(loops_.front()->context(), log_, taker);
            const std::error_code error = listener->open(endpoint);
            if (error) {
                return {.text = "cannot listen on " + portal_text(endpoint.address, endpoint.port) +
                                ": " + error_text(error),
                        .in_use = error == asio::error::address_in_use};
            }
            listeners_.push_back(std::move(listener));
            endpoints_.push_back(std::move(endpoint));
        }
        return {};
    }

    void run() {
        for (const auto& listener : listeners_)
            listener->start();
        // The first one last: it takes the connections, and none is to wait in a loop without a
        // thread when one of the others cannot be started.
        std::for_each(loops_.rbegin(), loops_.rend(), [](const auto& loop) { loop->start(); });
    }

    [[nodiscard]] const std::vector<Endpoint>& endpoints() const noexcept override {
        return endpoints_;
    }
    [[nodiscard]] unsigned connections() const noexcept override {
        const std::lock_guard lock(mutex_);
        return connections_;
    }

    [[nodiscard]] bool stop(std::chrono::milliseconds patience,
                            std::chrono::milliseconds drain_time) override {
        using std::chrono::steady_clock;
        asio::post(loops_.front()->context(), [this] {
            for (const auto& listener : listeners_)
                listener->close();
        });
        if (patience.count() > 0) {
            const auto seconds = std::chrono::ceil<std::chrono::seconds>(patience).count();
            on_each_loop([seconds](Loop& loop) {
                loop.ask_for_logout(
                    static_cast<std::uint16_t>(std::min<long long>(seconds, 65535)));
            });
            wait_until(steady_clock::now() + patience);
        }
        on_each_loop([](Loop& loop) { loop.close_all(); });
        return wait_until(steady_clock::now() + drain_time);
    }

  private:
    template <typename Action>
    void on_each_loop(Action action) {
        for (const auto& loop : loops_)
            asio::post(loop->context(), [action, &loop = *loop] { action(loop); });
    }

    bool wait_until(std::chrono::steady_clock::time_point deadline) {
        std::unique_lock lock(mutex_);
        return ended_.wait_until(lock, deadline, [this] { return connections_ == 0; });
    }

    void peer_ended() noexcept override {
        const std::lock_guard lock(mutex_);
        if (--connections_ == 0) ended_.notify_all();
    }

    Loop& loop_for_next() noexcept override {
        return **std::ranges::min_element(loops_, {},
                                          [](const auto& loop) { return loop->load.load(); });
    }

    void take(Loop& loop, asio::ip::tcp::socket socket) noexcept override {
        if (!count_one_more()) {
            refuse(std::move(socket));
            return;
        }
        ++loop.load;
        asio::post(loop.context(), [&loop, socket = std::move(socket)]() mutable {
            loop.adopt(std::move(socket));
        });
    }

    [[nodiscard]] bool count_one_more() noexcept {
        const std::lock_guard lock(mutex_);
        if (connections_ >= limit_) return false;
        ++connections_;
        return true;
    }

    /// Says so once a second at most: whoever floods us is not to fill the log, too.
    // NOLINTNEXTLINE(bugprone-exception-escape): only for want of memory, which ends the process
    void refuse(asio::ip::tcp::socket socket) noexcept {
        const auto now = std::chrono::steady_clock::now();
        if (now < next_complaint_) return;
        next_complaint_ = now + std::chrono::seconds(1);
        std::error_code error;
        const auto peer = socket.remote_endpoint(error);
        log_.write(Log::Level::warning, portal_text(peer.address().to_string(), peer.port()) +
                                            ": closed, since there are " + std::to_string(limit_) +
                                            " connections already");
    }

    Log& log_;
    const unsigned limit_;
    std::vector<std::unique_ptr<Loop>> loops_;
    std::vector<std::unique_ptr<Listener>> listeners_;  // on the first loop
    std::vector<Endpoint> endpoints_;
    std::chrono::steady_clock::time_point next_complaint_;  // the first loop's thread's
    mutable std::mutex mutex_;
    std::condition_variable ended_;
    unsigned connections_ = 0;  // guarded by mutex_
};

}  // namespace

Result<std::unique_ptr<Server>, Server::Refusal> Server::start(Target& target, Log& log,
                                                               const ServerSettings& settings) {
    try {
        auto server = std::make_unique<SocketServer>(target, log, settings);
        if (auto refusal = server->listen(settings.endpoints); !refusal.text.empty())
            return Failure{std::move(refusal)};
        server->run();
        return std::unique_ptr<Server>(std::move(server));
    } catch (const std::system_error& error) {
        return Failure{Refusal{.text = std::string("cannot serve: ") + error.what()}};
    }
}

}  // namespace wnbd::iscsi
