// SPDX-License-Identifier: LGPL-2.1-or-later
// A disk on an NBD server.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "backend/backend.h"
#include "base/result.h"
#include "nbd/connection.h"
#include "nbd/uri.h"

namespace wnbd::backend {

struct NbdOptions {
    nbd::ConnectOptions connection{};
    /// How long close() waits for requests in flight before it cuts the connection.
    std::chrono::milliseconds close_time_max{10'000};
};

/// Requests go out on one connection. What does not fit its table waits in a list that runs through
/// the requests themselves. Ranges larger than the server takes are sent piece by piece. When the
/// connection is lost, every request completes with Error::disconnected, now and later.
class NbdBackend final : public Backend, private nbd::CompletionSink {
  public:
    [[nodiscard]] static Result<std::unique_ptr<Backend>, std::string> open(
        const nbd::Address& address, const NbdOptions& options = {});
    ~NbdBackend() override;

    [[nodiscard]] const Properties& properties() const noexcept override { return properties_; }
    void submit(Request& request) noexcept override;
    void submit_many(std::span<Request* const> requests) noexcept override;
    /// Also flushes first if anything was written.
    void close() noexcept override;
    [[nodiscard]] std::string failure() const override;

  private:
    using Admission = nbd::Connection::Admission;

    explicit NbdBackend(const NbdOptions& options) noexcept : options_(options) {}

    void completed(void* cookie, nbd::Outcome outcome) noexcept override;
    /// Checks and admits, or completes at once. Nothing is sent yet.
    void accept(Request& request) noexcept;
    void wait_in_line(Request& request) noexcept;
    void admit_waiting() noexcept;
    void flush_before_close(nbd::Clock::time_point deadline) noexcept;
    [[nodiscard]] bool drain(nbd::Clock::time_point deadline) noexcept;
    [[nodiscard]] Error gone() const noexcept;

    const NbdOptions options_;
    Properties properties_;
    std::atomic<bool> closing_{false};
    std::atomic<bool> unflushed_{false};
    std::mutex close_lock_;  // one close() at a time; rank: before waiting_lock_

    std::mutex waiting_lock_;  // of the list, linked through Request::storage
    Request* waiting_first_ = nullptr;
    Request* waiting_last_ = nullptr;
    // Grows before its request is first refused by a full table, so that whoever frees a slot sees
    // it.
    std::atomic<std::uint32_t> waiting_count_{0};

    std::unique_ptr<nbd::Connection> connection_;  // last: its reader uses all of the above
};

/// What an error of the NBD protocol means. Unknown numbers are EINVAL, as the protocol asks.
[[nodiscard]] Error from_nbd_error(std::uint32_t error) noexcept;

}  // namespace wnbd::backend
