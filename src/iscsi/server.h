// SPDX-License-Identifier: LGPL-2.1-or-later
// The sockets and threads around a target. A connection belongs to one thread for its whole life,
// so that nothing in it is locked; every thread runs a loop of its own.
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "base/result.h"
#include "iscsi/endpoint.h"
#include "iscsi/target.h"

namespace wnbd::iscsi {

struct ServerSettings {
    std::vector<Endpoint> endpoints;  // with port 0 all of them get the port of the first one
    unsigned loops = 0;               // threads; 0: one per core, four at most
    unsigned connection_limit = 128;  // connections beyond it are closed at once
};

/// Thread-safe, but for the destructor.
class Server {
  public:
    struct Refusal {
        std::string text;     // one line without an end: what failed and why
        bool in_use = false;  // another program has the port
    };

    /// Listens, and serves from now on. `target` and `log` outlive it.
    [[nodiscard]] static Result<std::unique_ptr<Server>, Refusal> start(
        Target& target, Log& log, const ServerSettings& settings);
    virtual ~Server() = default;

    /// Where it listens, with real port numbers.
    [[nodiscard]] virtual const std::vector<Endpoint>& endpoints() const noexcept = 0;

    /// Connections that are open, or not yet over.
    [[nodiscard]] virtual unsigned connections() const noexcept = 0;

    /// Takes no more connections, asks the initiators to log out, waits until they have, at most
    /// `patience`, and closes the connections that are left. True: every command is over, so that
    /// the units may be closed. False: a backend has not let go of one within `drain_time` more.
    /// The destructor does the same without patience, and waits until every command is over.
    [[nodiscard]] virtual bool stop(std::chrono::milliseconds patience,
                                    std::chrono::milliseconds drain_time) = 0;
};

}  // namespace wnbd::iscsi
