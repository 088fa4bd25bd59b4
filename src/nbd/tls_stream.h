// SPDX-License-Identifier: LGPL-2.1-or-later
// A stream over a TLS session over another stream.
#pragma once

#include <chrono>
#include <cstddef>
#include <memory>
#include <mutex>
#include <string>

#include "base/result.h"
#include "nbd/fault.h"
#include "nbd/stream.h"
#include "nbd/tls.h"

namespace wnbd::nbd {

/// Nothing of ours is allocated after open(). A batch that is sent leaves as many records in one
/// call of the carrier; it is read in large pieces. The sender and the receiver share no lock.
class TlsStream final : public Stream {
  public:
    /// Puts TLS over `carrier`, which the server has just agreed to (NBD_REP_ACK to STARTTLS); no
    /// byte may have been received beyond that. Blocks until the session stands and the server's
    /// certificate has been checked, until the deadline (FaultCode::timed_out), or until someone
    /// wakes or shuts down the carrier (FaultCode::closed). The carrier is taken only if all goes
    /// well. `hostname`: see TlsSession::create().
    [[nodiscard]] static Result<std::unique_ptr<TlsStream>, Fault> open(
        std::unique_ptr<Stream>&& carrier, std::shared_ptr<const TlsCredentials> credentials,
        const std::string& hostname, std::chrono::steady_clock::time_point deadline);

    /// An established session over its carrier.
    TlsStream(std::unique_ptr<Stream> carrier, std::unique_ptr<TlsSession> session) noexcept;
    ~TlsStream() override;

    [[nodiscard]] IoResult send(std::span<const IoSlice> slices) noexcept override;
    /// `closed` is the server's close_notify; an end without one is a failure.
    [[nodiscard]] IoResult receive(std::span<const IoSlice> slices) noexcept override;
    [[nodiscard]] Ready wait(const WaitFor& what) noexcept override;
    void wake() noexcept override;
    void shut_down() noexcept override;
    /// The sender's, as it says a farewell.
    void shut_down_send() noexcept override;
    [[nodiscard]] Fault failure() const override;
    [[nodiscard]] FaultText explain(int error) const noexcept override {
        return carrier_->explain(error);
    }

    /// For messages: "TLS 1.3, AES-256-GCM".
    [[nodiscard]] std::string description() const { return session_->description(); }

  private:
    /// The end of the connection is about our certificate: then failure() says so.
    bool refused() noexcept;
    IoResult carrier_failed(const IoResult& result) noexcept;
    IoResult fail(Fault fault) noexcept;

    const std::unique_ptr<Stream> carrier_;
    const std::unique_ptr<TlsSession> session_;

    // The sender's.
    std::size_t encrypted_ = 0;  // plain bytes that are in the output but not yet called taken

    // The receiver's.
    bool maybe_more_ = false;  // the slices were full: more may be there without the carrier

    mutable std::mutex fault_lock_;  // taken only when something has failed
    Fault fault_;                    // the first one
};

}  // namespace wnbd::nbd
