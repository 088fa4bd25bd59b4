// SPDX-License-Identifier: LGPL-2.1-or-later
#include "simulation.h"

#include <algorithm>
#include <utility>

namespace wnbd::nbd::sim {
namespace {

using namespace std::chrono_literals;
using std::chrono::milliseconds;

constexpr std::chrono::seconds negotiation_time_max = 10s;
constexpr std::uint64_t busy_events = 1'000'000;  // more for one aim is running in circles
constexpr std::uint64_t idle_microseconds = 20'000;
constexpr std::chrono::seconds patience = 600s;  // for everything to end once all is well

}  // namespace

Simulation::Simulation(std::uint64_t seed, std::uint64_t events)
    : world_(seed),
      store_(world_),
      judge_(world_, store_),
      events_(events),
      depth_(static_cast<unsigned>(world_.random().between(1, 96))),
      between_requests_(Micros(world_.random().between(10, 2'000))),
      between_disturbances_(Micros(world_.random().between(20'000, 3'000'000))),
      servers_(world_, store_, judge_, world_.random().between(1, 2)),
      limits_(draw_limits()),
      lanes_(limits_.connections) {}

Simulation::~Simulation() {
    for (auto& lane : lanes_)
        if (lane.link) lane.link->on_client = nullptr;
    if (dial_ && dial_->link) dial_->link->on_client = nullptr;
}

ClientLimits Simulation::draw_limits() {
    auto& random = world_.random();
    ClientLimits limits;
    limits.commands_max = static_cast<std::uint32_t>(random.between(1, random.coin() ? 4 : 64));
    limits.connections = static_cast<unsigned>(random.between(1, 4));
    limits.request_time_max = milliseconds(random.between(500, 30'000));
    limits.keep_alive = milliseconds(random.between(500, 15'000));
    limits.linger = milliseconds(random.between(1, 2'000));
    limits.write_through = random.chance(4'000);
    limits.reconnect.delay = milliseconds(random.between(1, 1'000));
    limits.reconnect.delay_max = milliseconds(random.between(1'000, 30'000));
    limits.reconnect.timeout = milliseconds(random.between(2'000, 60'000));
    limits.reconnect.on_timeout = random.chance(7'000) ? OnTimeout::hold : OnTimeout::fail;
    kind_ = std::to_string(limits.connections) + " connections of " +
            std::to_string(limits.commands_max) + " commands, " +
            std::to_string(servers_.addresses()) + " addresses, depth " + std::to_string(depth_) +
            (limits.write_through ? ", write-through" : "") +
            (limits.reconnect.on_timeout == OnTimeout::hold ? ", holds" : ", may give up") +
            (servers_.personality().volatile_cache ? ", volatile cache" : "") +
            (servers_.personality().lies_in_10000 != 0 ? ", lies" : "");
    return limits;
}

Weather Simulation::draw_weather() {
    auto& random = world_.random();
    Weather weather;
    weather.latency_max = Micros(1 + random.below(random.coin() ? 50 : 5'000));
    weather.room = 512U << random.below(10);
    weather.short_io = random.coin();
    if (world_.healed() || client_ == nullptr) return weather;
    if (random.chance(3'000)) weather.reset_at = random.below(random.coin() ? 400 : 200'000);
    if (random.chance(2'000)) {
        weather.stall_at[random.below(2)] = random.below(random.coin() ? 400 : 200'000);
        if (random.coin()) weather.stall_time = Micros(random.between(1'000, 40'000'000));
        weather.hopeless = weather.stall_time.count() == 0 && random.coin();
    }
    return weather;
}

// Dialling.

void Simulation::dial(unsigned index, std::size_t address) {
    if (dial_) return fail("a dial is asked for while one is under way");
    if (index >= lanes_.size() || lanes_[index].link) return fail("a dial for a lane in use");
    dial_ = std::make_unique<Dialling>();
    dial_->index = index;
    dial_->address = address;
    dial_->number = ++dials_;
    world_.after(Micros(1 + world_.random().below(5'000)), [this, number = dials_] {
        if (!dial_ || dial_->number != number) return;
        const auto weather = draw_weather();
        auto link = Link::create(world_, weather);
        dial_->stream = std::make_unique<SimStream>(world_, link, weather.short_io);
        if (servers_.accept(dial_->address, link))
            begin_negotiation(std::move(link));
        else
            dial_over({.code = FaultCode::connect_failed});
    });
    world_.after(negotiation_time_max, [this, number = dials_] {
        if (dial_ && dial_->number == number) dial_over({.code = FaultCode::timed_out});
    });
}

void Simulation::begin_negotiation(std::shared_ptr<Link> link) {
    link->on_client = [this, number = dial_->number] {
        if (!dial_ || dial_->number != number || std::exchange(dial_->turn_due, true)) return;
        world_.after(Micros(1), [this, number] {
            if (!dial_ || dial_->number != number) return;
            dial_->turn_due = false;
            negotiate();
        });
    };
    link->to_client.on_arrival = [raw = link.get()] {
        if (raw->on_client) raw->on_client();
    };
    link->to_server.on_room = link->to_client.on_arrival;
    dial_->link = std::move(link);
    dial_->handshake = std::make_unique<Handshake>(HandshakeOptions{.export_name = "disk"});
    dial_->link->on_client();
}

void Simulation::negotiate() {
    auto& handshake = *dial_->handshake;
    while (!handshake.done() && !handshake.failed()) {
        const auto output = handshake.output();
        if (!output.empty()) {
            const IoSlice slice{const_cast<std::uint8_t*>(output.data()), output.size()};
            const auto sent = dial_->stream->send({&slice, 1});
            if (sent.status == IoResult::Status::failed)
                return dial_over({.code = FaultCode::socket_failed});
            handshake.sent(sent.bytes);
            if (sent.bytes != 0) continue;
        }
        std::uint8_t bytes[600];
        const IoSlice slice{bytes, std::min(sizeof bytes, handshake.needed())};
        const auto got = dial_->stream->receive({&slice, 1});
        if (got.status == IoResult::Status::would_block) return;
        if (got.status != IoResult::Status::ok) return dial_over(handshake.hang_up());
        (void)handshake.receive(std::span(bytes).first(got.bytes));
    }
    if (handshake.failed()) {
        if (handshake.fault().code == FaultCode::none) fail("a negotiation fails without a fault");
        return dial_over(handshake.fault());
    }
    dialled();
}

void Simulation::dial_over(Fault fault) {
    if (dial_->link) dial_->link->on_client = nullptr;
    const auto [index, address] = std::pair(dial_->index, dial_->address);
    dial_.reset();
    if (client_ == nullptr) return dial(index, address);
    client_->dial_failed(std::move(fault), world_.now());
    look_after();
}

void Simulation::dialled() {
    const auto agreement = dial_->handshake->agreement();
    const auto index = dial_->index;
    const auto address = dial_->address;
    if (client_ == nullptr) {
        client_ = std::make_unique<Client>(limits_, agreement, servers_.addresses(), address);
        initiator_ = std::make_unique<Initiator>(
            world_, judge_, agreement, depth_,
            [this](std::span<Request* const> requests) { client_->submit(requests); });
        const auto flags = agreement.info.transmission_flags;
        if (limits_.write_through &&
            (flags & (transmission_send_fua | transmission_send_flush)) != 0)
            judge_.expect_write_through();
    }
    auto& lane = lanes_[index];
    lane.link = dial_->link;
    lane.stream = dial_->stream.get();
    lane.link->on_client = [this, index] { due(index); };
    auto fault = client_->attach(index, std::move(dial_->stream), agreement, world_.now());
    if (fault.code == FaultCode::none) {
        dial_.reset();
        if (index == 0) judge_.returns(client_->status().unflushed_at_loss);
        due(index);
        return look_after();
    }
    lane.link->on_client = nullptr;
    lane = {};
    dial_over(std::move(fault));
}

// The shell's work.

void Simulation::due(unsigned index) {
    auto& lane = lanes_[index];
    if (std::exchange(lane.turn_due, true)) return;
    world_.after(Micros(1 + world_.random().below(30)), [this, index, link = lane.link] {
        // What was due for a stream that is gone is due no more.
        if (lanes_[index].link != link) return;
        lanes_[index].turn_due = false;
        turn(index);
    });
}

void Simulation::turn(unsigned index) {
    auto& lane = lanes_[index];
    auto& connection = client_->connection(index);
    const auto wants = connection.wants();
    const auto ready = lane.stream->ready(wants.room);
    if (!ready.readable && !ready.writable && !ready.woken) return;
    if (connection.step(ready) == Connection::Step::over) {
        lane.link->on_client = nullptr;
        lane = {};
        client_->detached(index, world_.now());
        return look_after();
    }
    // What waits is level-triggered: what is still there is a turn again.
    const auto again = lane.stream->ready(connection.wants().room);
    if (again.woken) lane.link->woken = true;
    if (again.readable || again.writable || again.woken) due(index);
}

void Simulation::look_after() {
    if (client_ == nullptr) return;
    const auto chore = client_->look_after(world_.now());
    if (chore.next) schedule_look(*chore.next);
    if (chore.abandon_dial && dial_) return dial_over({.code = FaultCode::closed});
    if (chore.dial) dial(chore.index, *chore.dial);
}

void Simulation::schedule_look(TimePoint time) {
    world_.at(time, [this, number = ++look_] {
        if (number == look_) look_after();
    });
}

bool Simulation::ended() const {
    return client_ != nullptr && client_->status().phase == Client::Phase::ended;
}

// The course of things.

void Simulation::storm() {
    if (world_.healed()) return;
    servers_.disturb();
    const auto mean = static_cast<std::uint64_t>(between_disturbances_.count());
    world_.after(Micros(1 + world_.random().below(2 * mean)), [this] { storm(); });
}

void Simulation::issue() {
    // Who waits for the network waits cheaply.
    const auto mean = initiator_->work() ? static_cast<std::uint64_t>(between_requests_.count())
                                         : idle_microseconds;
    world_.after(Micros(1 + world_.random().below(2 * mean)), [this] { issue(); });
}

bool Simulation::step() {
    if (!world_.step()) return false;
    if (judge_.disconnected() && !ended())
        fail("a request ended as disconnected, and nobody gave up; " + state());
    return !world_.failed();
}

/// False: not within that time.
bool Simulation::run_until(const std::function<bool()>& reached, std::chrono::seconds most) {
    const auto last = world_.now() + most;
    const auto last_moment = world_.moment() + busy_events;
    while (!reached())
        if (world_.now() > last || world_.moment() > last_moment || !step()) return false;
    return true;
}

std::string Simulation::run() {
    dial(0, world_.random().below(servers_.addresses()));
    if (!run_until([this] { return client_ != nullptr; }, patience))
        fail("the first connection never comes");
    if (world_.failed()) return world_.failure();
    issue();
    storm();
    while (world_.moment() < events_ && !ended() && step()) {
    }
    if (!world_.failed()) finish();
    return world_.failure();
}

/// Nothing goes wrong any more: everything must end, and end well.
void Simulation::finish() {
    world_.heal();
    servers_.heal();
    for (auto& lane : lanes_)
        if (lane.link) lane.link->heal();
    if (dial_ && dial_->link) dial_->link->heal();
    const auto quiet = [this] { return judge_.unfinished() == 0; };
    const auto target = initiator_->completed() + 200;
    if (!run_until([&] { return initiator_->completed() >= target || ended(); }, patience))
        return fail("requests do not end though all is well; " + state());
    initiator_->stop();
    if (!run_until(quiet, patience))
        return fail(std::to_string(judge_.unfinished()) +
                    " requests never end though all is well; " + state());
    if (ended()) {
        if (limits_.reconnect.on_timeout == OnTimeout::hold)
            fail("the client gave up, and should have held");
    } else if (!initiator_->read_all()) {
        // Too few slots: what was read before must do.
    } else if (!run_until(quiet, patience)) {
        return fail("the last reads never end");
    }
    judge_.closed();
    client_->close(world_.now());
    look_after();
    if (!run_until(
            [this] {
                return ended() &&
                       std::none_of(lanes_.begin(), lanes_.end(),
                                    [](const ShellLane& lane) { return lane.link != nullptr; });
            },
            patience))
        return fail("the client does not close");
    if (!client_->idle()) fail("something is left in a closed client");
}

/// Where the client stands, for a report.
std::string Simulation::state() const {
    const auto status = client_->status();
    return "phase " + std::to_string(static_cast<int>(status.phase)) + ", " +
           std::to_string(status.connections) + " connections up, " +
           std::to_string(status.attempts) + " attempts, " + (dial_ ? "dialling, " : "") +
           describe(status.fault);
}

std::uint64_t Simulation::completed() const noexcept {
    return initiator_ ? initiator_->completed() : 0;
}

std::uint64_t Simulation::reconnects() const noexcept {
    return client_ ? client_->status().reconnects : 0;
}

std::string Simulation::description() const {
    return kind_;
}

}  // namespace wnbd::nbd::sim
