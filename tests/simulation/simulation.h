// SPDX-License-Identifier: LGPL-2.1-or-later
// One seed's world: a client with its network and its servers, what is asked of it, and what goes
// wrong. Stands where client_shell stands in the product: brings streams, time and turns.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "initiator.h"
#include "judge.h"
#include "link.h"
#include "model_servers.h"
#include "nbd/client.h"
#include "nbd/handshake.h"
#include "store.h"
#include "world.h"

namespace wnbd::nbd::sim {

/// What the shell knows of a connection.
struct ShellLane {
    std::shared_ptr<Link> link;
    SimStream* stream = nullptr;  // the connection's
    bool turn_due = false;
};
/// An attempt to connect, until it is attached or over.
struct Dialling {
    std::shared_ptr<Link> link;
    std::unique_ptr<SimStream> stream;
    std::unique_ptr<Handshake> handshake;
    unsigned index = 0;
    std::size_t address = 0;
    std::uint64_t number = 0;
    bool turn_due = false;
};

class Simulation {
  public:
    Simulation(std::uint64_t seed, std::uint64_t events);
    ~Simulation();

    /// Empty: everything held. Else what did not.
    [[nodiscard]] std::string run();
    [[nodiscard]] std::uint64_t events() const noexcept { return world_.moment(); }
    [[nodiscard]] std::uint64_t completed() const noexcept;
    [[nodiscard]] std::uint64_t reconnects() const noexcept;
    /// What kind of world it is, in a line.
    [[nodiscard]] std::string description() const;

  private:
    [[nodiscard]] Weather draw_weather();
    [[nodiscard]] ClientLimits draw_limits();
    void fail(const std::string& what) { world_.fail(what); }

    // Dialling.
    void dial(unsigned index, std::size_t address);
    void begin_negotiation(std::shared_ptr<Link> link);
    void negotiate();
    void dial_over(Fault fault);
    void dialled();
    void open_client();

    // The shell's work.
    void due(unsigned index);
    void turn(unsigned index);
    void look_after();
    void schedule_look(TimePoint time);

    // The course of things.
    void storm();
    void issue();
    bool step();
    [[nodiscard]] bool run_until(const std::function<bool()>& reached, std::chrono::seconds most);
    void finish();
    [[nodiscard]] bool ended() const;
    [[nodiscard]] std::string state() const;

    std::string kind_;
    World world_;
    Store store_;
    Judge judge_;
    const std::uint64_t events_;  // before the network is healed
    const unsigned depth_;
    const Micros between_requests_;
    const Micros between_disturbances_;
    ModelServers servers_;
    const ClientLimits limits_;
    std::unique_ptr<Client> client_;
    std::unique_ptr<Initiator> initiator_;
    std::vector<ShellLane> lanes_;
    std::unique_ptr<Dialling> dial_;
    std::uint64_t dials_ = 0;
    std::uint64_t look_ = 0;  // the present timer's number
};

}  // namespace wnbd::nbd::sim
