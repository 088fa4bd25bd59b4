// SPDX-License-Identifier: LGPL-2.1-or-later
// A disk on an NBD server.
#pragma once

#include <atomic>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>

#include "backend/backend.h"
#include "base/result.h"
#include "nbd/client_shell.h"

namespace wnbd::backend {

/// Checks requests and hands them to the client, which lives in each request's own storage. Losses,
/// reconnects and several connections are the client's matter; when it gives up, every request
/// completes with Error::disconnected, now and later.
class NbdBackend final : public Backend, private nbd::ClientObserver {
  public:
    /// The error is one line that names the server, the export and the reason.
    [[nodiscard]] static Result<std::unique_ptr<Backend>, std::string> open(
        const nbd::ClientOptions& options);
    ~NbdBackend() override;

    [[nodiscard]] const Properties& properties() const noexcept override { return properties_; }
    [[nodiscard]] std::uint64_t size() const noexcept override { return shell_->size(); }
    void submit(Request& request) noexcept override;
    void submit_many(std::span<Request* const> requests) noexcept override;
    void observe(Observer* observer) noexcept override;
    [[nodiscard]] std::string failure() const override;
    /// Also flushes first if anything was written. Ends at once while no server is there.
    void close() noexcept override;

  private:
    NbdBackend(std::unique_ptr<nbd::ClientShell> shell, bool write_through) noexcept;

    void happened(const nbd::ClientEvent& event) noexcept override;
    /// Checks, and makes what the client takes; nullptr: completed at once.
    [[nodiscard]] nbd::Request* prepare(Request& request) noexcept;
    static void finished(nbd::Request& request, nbd::Outcome outcome) noexcept;

    const std::unique_ptr<nbd::ClientShell> shell_;
    const bool write_through_;
    const Properties properties_;
    std::atomic<bool> closing_{false};
    std::atomic<bool> unflushed_{false};

    std::mutex observer_lock_;
    Observer* observer_ = nullptr;
};

/// What an error of the NBD protocol means. Unknown numbers are EINVAL, as the protocol asks.
[[nodiscard]] Error from_nbd_error(std::uint32_t error) noexcept;

}  // namespace wnbd::backend
