// SPDX-License-Identifier: LGPL-2.1-or-later
#include "iscsi/session_table.h"

#include <algorithm>
#include <new>
#include <string_view>
#include <utility>

namespace wnbd::iscsi {
namespace {

SessionTable::Entry refusal(LoginStatus status, const char* reason) noexcept {
    return {.status = status, .reason = reason};
}

}  // namespace

SessionTable::SessionTable(std::uint32_t sessions_max, std::function<bool(scsi::Nexus)> registered)
    : sessions_max_(sessions_max), registered_(std::move(registered)) {}

SessionTable::Port* SessionTable::find(const std::string& initiator,
                                       const std::array<std::uint8_t, 6>& isid) noexcept {
    const auto found = std::ranges::find_if(
        ports_, [&](const Port& port) { return port.initiator == initiator && port.isid == isid; });
    return found != ports_.end() ? &*found : nullptr;
}

SessionTable::Port* SessionTable::find(std::uint16_t tsih) noexcept {
    const auto found = std::ranges::find_if(ports_, [&](const Port& port) {
        return port.now.holder != nullptr && port.now.tsih == tsih;
    });
    return found != ports_.end() ? &*found : nullptr;
}

/// A number for a new port: one that nobody has, or that of a port which left nothing behind.
SessionTable::Port* SessionTable::claim(const std::string& initiator,
                                        const std::array<std::uint8_t, 6>& isid) {
    const auto reusable = [&](const Port& port) {
        return port.now.holder == nullptr &&
               !registered_(static_cast<scsi::Nexus>(&port - ports_.data()));
    };
    auto found = std::ranges::find_if(ports_, [](const Port& p) { return p.initiator.empty(); });
    if (found == ports_.end()) found = std::ranges::find_if(ports_, reusable);
    if (found == ports_.end()) return nullptr;
    found->initiator = initiator;
    found->isid = isid;
    return &*found;
}

std::uint16_t SessionTable::next_tsih() noexcept {
    do {
        ++last_tsih_;
    } while (last_tsih_ == 0 || std::ranges::any_of(ports_, [&](const Port& port) {
                 return (port.now.holder != nullptr && port.now.tsih == last_tsih_) ||
                        (port.next.holder != nullptr && port.next.tsih == last_tsih_);
             }));
    return last_tsih_;
}

SessionTable::Entry SessionTable::enter(SessionHolder& holder, const LoginHeader& request,
                                        const Parameters& parameters) noexcept {
    const std::lock_guard lock(lock_);
    try {
        if (!parameters.discovery) return enter_normal(holder, request, parameters);
        if (request.tsih != 0)
            return refusal(LoginStatus::session_does_not_exist,
                           "it would enter a session that is not its own");
        if (sessions_ >= sessions_max_)
            return refusal(LoginStatus::out_of_resources, "there are too many sessions");
        discoverers_.push_back(&holder);
        ++sessions_;
        return {.tsih = next_tsih()};
    } catch (const std::bad_alloc&) {
        return refusal(LoginStatus::out_of_resources, "there are too many sessions");
    }
}

SessionTable::Entry SessionTable::enter_normal(SessionHolder& holder, const LoginHeader& request,
                                               const Parameters& parameters) {
    Session session{.holder = &holder, .connection_id = request.connection_id};
    if (request.tsih != 0) {
        // Only the initiator port whose session it is may enter it, and only with the connection it
        // has, which is then reinstated (RFC 7143, 6.3.4): MaxConnections is 1.
        Port* const port = find(request.tsih);
        if (port == nullptr || port->initiator != parameters.initiator_name ||
            port->isid != request.isid)
            return refusal(LoginStatus::session_does_not_exist,
                           "it would enter a session that is not its own");
        if (port->now.connection_id != request.connection_id)
            return refusal(LoginStatus::too_many_connections, "a session has one connection here");
        session.tsih = request.tsih;
        session.continues = !port->leaving;  // the units are told already that the nexus is lost
        return enter_port(*port, session);
    }
    Port* port = find(parameters.initiator_name, request.isid);
    if (port == nullptr || port->now.holder == nullptr) {
        if (sessions_ >= sessions_max_)
            return refusal(LoginStatus::out_of_resources, "there are too many sessions");
        if (port == nullptr) port = claim(parameters.initiator_name, request.isid);
        if (port == nullptr)
            return refusal(LoginStatus::out_of_resources, "there are too many sessions");
    }
    session.tsih = next_tsih();
    return enter_port(*port, session);
}

/// Session reinstatement (RFC 7143, 6.3.5) when the port has one: the old session ends first.
SessionTable::Entry SessionTable::enter_port(Port& port, const Session& session) noexcept {
    Entry entry{.tsih = session.tsih,
                .nexus = static_cast<scsi::Nexus>(&port - ports_.data()),
                .continues = session.continues};
    if (port.now.holder == nullptr) {
        port.now = session;
        ++sessions_;
        return entry;
    }
    entry.waits = true;
    if (port.next.holder != nullptr)
        port.next.holder->evicted();
    else if (!port.leaving)
        port.now.holder->evicted();
    port.next = session;
    return entry;
}

void SessionTable::leave(SessionHolder& holder,
                         const std::function<void(scsi::Nexus)>& lose) noexcept {
    std::unique_lock lock(lock_);
    if (std::erase(discoverers_, &holder) != 0) {
        --sessions_;
        return;
    }
    for (Port& port : ports_) {
        if (port.next.holder == &holder) {
            port.next = {};
            return;
        }
        if (port.now.holder != &holder) continue;
        if (!port.next.continues) {
            // Who comes next must not meet what this one has left; units have locks of their own.
            port.leaving = true;
            lock.unlock();
            lose(static_cast<scsi::Nexus>(&port - ports_.data()));
            lock.lock();
            port.leaving = false;
        }
        port.now = std::exchange(port.next, {});
        if (port.now.holder != nullptr)
            port.now.holder->turn_has_come();
        else
            --sessions_;
        return;
    }
}

void SessionTable::evict_others(const SessionHolder& but) noexcept {
    const std::lock_guard lock(lock_);
    for (Port& port : ports_) {
        for (const Session* session : {&port.now, &port.next})
            if (session->holder != nullptr && session->holder != &but) session->holder->evicted();
    }
    for (SessionHolder* const holder : discoverers_)
        if (holder != &but) holder->evicted();
}

std::uint32_t SessionTable::size() noexcept {
    const std::lock_guard lock(lock_);
    return sessions_;
}

void SessionTable::write_transport_id(scsi::Nexus nexus, ByteWriter& out) const noexcept {
    constexpr std::uint8_t port_format = 0x40;  // with the ISID, not a device's name alone
    constexpr std::uint8_t iscsi = 0x05;
    constexpr std::string_view separator = ",i,0x";
    constexpr std::size_t least = 20;
    const auto write = [&out](std::string_view text) {
        for (const char c : text)
            out.byte(static_cast<std::uint8_t>(c));
    };
    const std::lock_guard lock(lock_);
    const Port& port = ports_[nexus];
    const std::size_t text = port.initiator.size() + separator.size() + 2 * port.isid.size();
    const std::size_t length = std::max(least, (text + 1 + 3) / 4 * 4);
    out.byte(port_format | iscsi);
    out.byte(0);
    out.big_endian(static_cast<std::uint16_t>(length));
    write(port.initiator);
    write(separator);
    for (const std::uint8_t byte : port.isid) {
        constexpr std::string_view digits = "0123456789abcdef";
        out.byte(static_cast<std::uint8_t>(digits[byte >> 4]));
        out.byte(static_cast<std::uint8_t>(digits[byte & 0x0F]));
    }
    out.fill(length - text);
}

}  // namespace wnbd::iscsi
