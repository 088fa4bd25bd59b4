// SPDX-License-Identifier: LGPL-2.1-or-later
// A session of Schannel's. Private to tls_schannel.cpp.
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <utility>

#include "nbd/tls_buffer.h"
#include "nbd/tls_schannel.h"
#include "nbd/tls_text.h"

namespace wnbd::nbd::tls {

class SchannelSession final : public TlsSession {
  public:
    SchannelSession(std::shared_ptr<const SchannelCredentials> credentials,
                    const std::string& hostname)
        : credentials_(std::move(credentials)),
          hostname_(credentials_->settings().hostname.empty() ? hostname
                                                              : credentials_->settings().hostname),
          // An address goes into no SNI.
          target_(is_ip_address(hostname_) ? std::wstring() : wide(hostname_)) {}
    SchannelSession(const SchannelSession&) = delete;
    SchannelSession& operator=(const SchannelSession&) = delete;
    ~SchannelSession() override {
        if (begun_) ::DeleteSecurityContext(&context_);
    }

    std::span<std::uint8_t> receive_window() noexcept override { return input_.room(); }
    void received(std::size_t count) noexcept override { input_.put(count); }
    Result<bool, Fault> handshake() override;
    Result<std::size_t, Fault> encrypt(std::span<const IoSlice> slices) noexcept override;
    [[nodiscard]] std::span<const std::uint8_t> output() const noexcept override {
        return output_.content();
    }
    void sent(std::size_t count) noexcept override { output_.take(count); }
    void close() noexcept override;
    Result<Decrypted, Fault> decrypt(std::span<const IoSlice> slices) noexcept override;
    [[nodiscard]] Fault truncated() const override;
    [[nodiscard]] std::string description() const override { return description_; }

  private:
    /// One call of InitializeSecurityContext with what input there is; takes what it used and puts
    /// what it says to `answer`.
    SECURITY_STATUS negotiate(bool with_input, TlsBuffer& answer);
    Fault establish();
    /// Tells the peer: a close_notify, or a fatal alert.
    void say(void* token, ULONG size) noexcept;
    /// Whether Schannel has been asked often enough about the same bytes.
    [[nodiscard]] Fault stuck() const;
    /// Whether there is room for the bytes that Schannel wants besides.
    [[nodiscard]] Fault incomplete() noexcept;
    /// Under encrypting_; the output has room for it.
    void flush_answer() noexcept;
    Result<std::size_t, Fault> encrypt_record(std::span<const IoSlice> slices, std::size_t skip,
                                              std::size_t count) noexcept;
    /// The next record, or what Schannel has to do between records.
    Fault decrypt_record() noexcept;
    Fault after_handshake() noexcept;
    Fault fail(Fault fault) noexcept {
        broken_ = std::move(fault);
        return broken_;
    }
    [[nodiscard]] Fault status_fault(SECURITY_STATUS status) const;
    [[nodiscard]] Asked asked() const noexcept { return asked_.load(std::memory_order_relaxed); }
    void note_plain_records() noexcept;
    void note_request() noexcept;

    const std::shared_ptr<const SchannelCredentials> credentials_;
    const std::string hostname_;
    std::wstring target_;
    CtxtHandle context_{};
    bool begun_ = false;  // there is a context
    bool established_ = false;
    bool supplied_ = false;  // said that there are no other credentials than these
    // Until the server has shown that it needs none; both sides ask.
    std::atomic<Asked> asked_ = Asked::no;
    bool version_13_ = false;
    std::string description_;
    unsigned alert_ = 0;  // a fatal one that came in the clear
    SecPkgContext_StreamSizes sizes_{};

    // The sender's.
    TlsBuffer output_{buffer_size};

    // Schannel lets one thread encrypt while another decrypts, and nothing else side by side. The
    // sender holds `encrypting_` for each record, the receiver `decrypting_`; both are held for
    // what is neither: an answer between records, a farewell. In this order: decrypting_,
    // encrypting_.
    std::mutex decrypting_;
    std::mutex encrypting_;
    // By encrypting_: what Schannel answers to a message between records (a key update), which goes
    // before the next record of ours.
    TlsBuffer answer_{4 * record_extra_max};

    // The receiver's. The front of the input is a record that has been decrypted where it is.
    TlsBuffer input_{buffer_size};
    std::span<const std::uint8_t> plain_;  // of it, not yet taken
    std::size_t record_size_ = 0;          // of it, until it is taken whole
    bool more_needed_ = false;
    unsigned idle_calls_ = 0;       // of Schannel in a row, that took nothing
    bool between_records_ = false;  // Schannel has a message to work on
    bool closed_ = false;
    Fault broken_;
};

}  // namespace wnbd::nbd::tls
