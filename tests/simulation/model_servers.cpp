// SPDX-License-Identifier: LGPL-2.1-or-later
#include "model_servers.h"

#include <algorithm>

namespace wnbd::nbd::sim {

ModelServers::ModelServers(World& world, Store& store, Judge& judge, std::size_t addresses)
    : world_(world),
      store_(store),
      judge_(judge),
      right_(draw_personality(world.random())),
      servers_(addresses) {
    for (auto& server : servers_)
        live(server);
}

void ModelServers::live(Server& server) {
    server.up = true;
    server.life = ++lives_;
    server.right = true;
    server.personality = right_;
    if (world_.healed()) return;
    auto& random = world_.random();
    if (lives_ > servers_.size() && random.chance(1'000)) {
        server.right = false;
        server.personality = wrong_personality();
    }
    if (lives_ > servers_.size() && random.chance(1'500) && servers_.size() == 1) {
        right_.size = (disk_blocks - 8 * random.below(9)) * block_size;
        judge_.shrinks_to(right_.size);
        server.personality.size = right_.size;
    }
}

/// Something that may not take the export's place.
Personality ModelServers::wrong_personality() {
    auto wrong = right_;
    switch (world_.random().below(3)) {
        case 0: wrong.flags |= transmission_read_only; break;
        case 1:
            wrong.canonical_name = "another disk";
            if (!right_.canonical_name.empty() && right_.has_go) break;
            [[fallthrough]];
        default:
            wrong.flags &= static_cast<std::uint16_t>(
                ~(transmission_send_trim | transmission_send_flush | transmission_send_fua |
                  transmission_send_write_zeroes));
            if (wrong.flags == right_.flags) wrong.flags |= transmission_read_only;
    }
    return wrong;
}

bool ModelServers::accept(std::size_t address, const std::shared_ptr<Link>& link) {
    auto& server = servers_[address];
    if (!server.up) return false;
    fence();
    std::erase_if(server.sessions, [](const auto& session) { return session->over(); });
    const auto session = std::make_shared<ModelSession>(world_, store_, judge_, server.personality,
                                                        Holder{server.life, ++sessions_}, link);
    if (!server.right) session->forbid_requests();
    server.sessions.push_back(session);
    session->start();
    return true;
}

/// Orderly servers: when a client comes anew, nothing more is done for what it has cut off.
void ModelServers::fence() {
    for (auto& server : servers_)
        for (const auto& session : server.sessions)
            if (session->link()->client_closed) session->end();
}

void ModelServers::die(Server& server, bool loses) {
    server.up = false;
    // What is lost must not be made durable by the sessions' ends.
    if (loses)
        store_.lose(server.life, [this](std::uint32_t index, std::uint64_t durable) {
            judge_.loses(index, durable);
        });
    for (const auto& session : server.sessions) {
        session->end();
        if (world_.random().coin())
            session->link()->reset();
        else
            session->link()->to_client.end();
    }
    server.sessions.clear();
    store_.persist([&](const Holder& holder) { return holder.life == server.life; });
}

void ModelServers::disturb() {
    auto& random = world_.random();
    auto& server = servers_[random.below(servers_.size())];
    if (!server.up) {
        live(server);
    } else if (random.coin()) {
        die(server, random.coin());
        if (random.coin()) live(server);
    } else if (const auto link = some_link()) {
        link->reset();
    }
}

std::shared_ptr<Link> ModelServers::some_link() {
    std::vector<std::shared_ptr<Link>> links;
    for (const auto& server : servers_)
        for (const auto& session : server.sessions)
            if (!session->over()) links.push_back(session->link());
    return links.empty() ? nullptr : links[world_.random().below(links.size())];
}

void ModelServers::heal() {
    for (auto& server : servers_) {
        if (server.up && !server.right) die(server, false);
        if (!server.up) live(server);
        for (const auto& session : server.sessions)
            session->link()->heal();
    }
}

}  // namespace wnbd::nbd::sim
