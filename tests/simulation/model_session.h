// SPDX-License-Identifier: LGPL-2.1-or-later
// One connection, seen from the server: negotiation, then requests that are served in any order.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "judge.h"
#include "link.h"
#include "model_negotiation.h"
#include "personality.h"
#include "reply_writer.h"
#include "store.h"

namespace wnbd::nbd::sim {

class ModelSession : public std::enable_shared_from_this<ModelSession> {
  public:
    ModelSession(World& world, Store& store, Judge& judge, const Personality& personality,
                 Holder holder, std::shared_ptr<Link> link);
    /// Begins to speak.
    void start();
    /// Nothing is executed or said any more.
    void end();

    [[nodiscard]] bool over() const noexcept { return over_; }
    [[nodiscard]] const std::shared_ptr<Link>& link() const noexcept { return link_; }
    [[nodiscard]] Holder holder() const noexcept { return holder_; }
    /// The client must not ask this server for anything: it is the wrong one.
    void forbid_requests() noexcept { forbidden_ = true; }

  private:
    void on_arrival();
    void finish_if_done();
    [[nodiscard]] bool take_request();
    [[nodiscard]] bool decode(Job& job, std::uint64_t& payload);
    [[nodiscard]] bool acceptable(const Job& job, std::uint64_t payload);
    void read_payload(Job& job, std::uint64_t size);
    void serve(const Job& job);
    [[nodiscard]] std::uint32_t refusal(const Job& job);
    void execute(const Job& job);
    void say(std::vector<std::uint8_t> bytes);
    void pump();

    World& world_;
    Store& store_;
    Judge& judge_;
    const Personality personality_;
    const Holder holder_;
    std::shared_ptr<Link> link_;
    ModelNegotiation negotiation_;
    ReplyWriter writer_;
    std::vector<std::uint8_t> input_;
    std::vector<std::uint8_t> output_;
    std::size_t sent_ = 0;    // of output_
    std::uint32_t jobs_ = 0;  // taken and not yet answered
    bool forbidden_ = false;
    bool ending_ = false;  // the client has said that it is the end: what is begun is finished
    bool over_ = false;
};

}  // namespace wnbd::nbd::sim
