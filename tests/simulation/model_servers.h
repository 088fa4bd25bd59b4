// SPDX-License-Identifier: LGPL-2.1-or-later
// The servers of one export, at one address or two: they live, die with or without what they had
// not made durable, and come back as they were or otherwise.
#pragma once

#include <memory>
#include <vector>

#include "judge.h"
#include "model_session.h"
#include "personality.h"
#include "store.h"

namespace wnbd::nbd::sim {

class ModelServers {
  public:
    ModelServers(World& world, Store& store, Judge& judge, std::size_t addresses);

    [[nodiscard]] std::size_t addresses() const noexcept { return servers_.size(); }
    [[nodiscard]] const Personality& personality() const noexcept { return right_; }

    /// A connection arrives. Nothing: nobody listens there.
    [[nodiscard]] bool accept(std::size_t address, const std::shared_ptr<Link>& link);
    /// One of the things that happen to servers.
    void disturb();
    /// All are there, and what they should be.
    void heal();
    /// Some connection.
    [[nodiscard]] std::shared_ptr<Link> some_link();

  private:
    struct Server {
        bool up = true;
        bool right = true;  // it is the export, not something else in its place
        Personality personality;
        std::uint32_t life = 0;
        std::vector<std::shared_ptr<ModelSession>> sessions;
    };

    void fence();
    void die(Server& server, bool loses);
    void live(Server& server);
    [[nodiscard]] Personality wrong_personality();

    World& world_;
    Store& store_;
    Judge& judge_;
    Personality right_;
    std::vector<Server> servers_;
    std::uint32_t lives_ = 0;
    std::uint32_t sessions_ = 0;
};

}  // namespace wnbd::nbd::sim
