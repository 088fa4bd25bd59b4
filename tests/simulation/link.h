// SPDX-License-Identifier: LGPL-2.1-or-later
// A simulated connection: two byte pipes with delays, little room, short reads and writes, and all
// that a network does to them.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <vector>

#include "nbd/stream.h"
#include "world.h"

namespace wnbd::nbd::sim {

/// What a network is like, and what it will do to one connection.
struct Weather {
    static constexpr std::uint64_t never = ~std::uint64_t{0};

    Micros latency_max{200};
    std::size_t room = 64U << 10;                // bytes under way in one direction
    bool short_io = false;                       // reads and writes move less than they could
    std::uint64_t reset_at = never;              // after so many bytes both ways
    std::uint64_t stall_at[2] = {never, never};  // a direction stands still after so many bytes
    Micros stall_time{0};                        // for so long; 0: until the network is healed
    bool hopeless = false;                       // not even then: the connection is silent for good
};

/// One direction.
class Pipe {
  public:
    Pipe(World& world, const Weather& weather, std::uint64_t stall_at);

    [[nodiscard]] std::size_t room() const noexcept;
    /// Takes bytes off the sender's hands; how many is the weather's choice.
    std::size_t put(std::span<const std::uint8_t> bytes);
    /// No more will come.
    void end();
    [[nodiscard]] std::size_t available() const noexcept { return arrived_; }
    [[nodiscard]] bool ended() const noexcept { return end_arrived_; }
    std::size_t take(std::span<std::uint8_t> to);
    /// What is under way and not yet taken is lost.
    void lose() noexcept;
    void heal();
    /// Lets what is due arrive; when the next part is due, if anything is under way and moves.
    void deliver();
    [[nodiscard]] std::uint64_t carried() const noexcept { return carried_; }

    std::function<void()> on_arrival;
    std::function<void()> on_room;
    std::function<void()> on_carried;
    std::weak_ptr<void> owner;  // whose life the scheduled deliveries depend on

  private:
    struct Parcel {
        TimePoint due;
        std::size_t size;  // 0: the end
    };
    void schedule(std::size_t size);
    [[nodiscard]] bool stalled() const noexcept;

    World& world_;
    const Weather weather_;
    std::uint64_t stall_at_;
    std::vector<std::uint8_t> bytes_;  // from head_ on: what arrived, then what is under way
    std::size_t head_ = 0;
    std::size_t arrived_ = 0;
    std::uint64_t carried_ = 0;
    std::vector<Parcel> parcels_;  // from first_ on
    std::size_t first_ = 0;
    TimePoint last_due_{};
    bool stall_begun_ = false;
    bool end_put_ = false;
    bool end_arrived_ = false;
    bool full_ = false;  // the sender was told that there is no room
};

/// Both directions, and the state of both ends.
class Link : public std::enable_shared_from_this<Link> {
  public:
    static std::shared_ptr<Link> create(World& world, const Weather& weather);

    Pipe to_server;
    Pipe to_client;

    /// Both ends fail; what is under way may be lost.
    void reset();
    /// What stood still moves again, and nothing more goes wrong.
    void heal();

    bool was_reset = false;
    bool client_closed = false;  // by the client itself: it takes and gives nothing any more
    bool client_ended = false;   // it will send nothing any more
    bool woken = false;
    std::function<void()> on_client;  // something to do for the client's side
    std::function<void()> on_reset;   // for the server's side

  private:
    Link(World& world, const Weather& weather);
    void check_reset();

    World& world_;
    Weather weather_;
};

/// The client's end.
class SimStream final : public Stream {
  public:
    SimStream(World& world, std::shared_ptr<Link> link, bool short_io)
        : world_(world), link_(std::move(link)), short_io_(short_io) {}
    ~SimStream() override { shut_down(); }

    IoResult send(std::span<const IoSlice> slices) noexcept override;
    IoResult receive(std::span<const IoSlice> slices) noexcept override;
    /// Nobody may wait in a simulation.
    Ready wait(const WaitFor& what) noexcept override;
    void wake() noexcept override;
    void shut_down() noexcept override;
    void shut_down_send() noexcept override;

    [[nodiscard]] const std::shared_ptr<Link>& link() const noexcept { return link_; }
    /// What wait() would say now.
    [[nodiscard]] Ready ready(bool for_room) noexcept;

  private:
    World& world_;
    std::shared_ptr<Link> link_;
    bool short_io_;
};

}  // namespace wnbd::nbd::sim
