// SPDX-License-Identifier: LGPL-2.1-or-later
#include "link.h"

#include <algorithm>
#include <cerrno>
#include <cstring>

namespace wnbd::nbd::sim {

Pipe::Pipe(World& world, const Weather& weather, std::uint64_t stall_at)
    : world_(world), weather_(weather), stall_at_(stall_at) {}

std::size_t Pipe::room() const noexcept {
    const auto used = bytes_.size() - head_;
    return used >= weather_.room ? 0 : weather_.room - used;
}

std::size_t Pipe::put(std::span<const std::uint8_t> bytes) {
    auto count = std::min(room(), bytes.size());
    if (count < bytes.size()) full_ = true;
    if (count == 0) return 0;
    if (weather_.short_io && world_.random().coin()) {
        count = world_.random().between(1, count);
        full_ = true;
    }
    bytes_.insert(bytes_.end(), bytes.begin(), bytes.begin() + static_cast<std::ptrdiff_t>(count));
    schedule(count);
    return count;
}

void Pipe::end() {
    if (end_put_) return;
    end_put_ = true;
    schedule(0);
}

void Pipe::schedule(std::size_t size) {
    const Micros latency(
        1 + world_.random().below(static_cast<std::uint64_t>(weather_.latency_max.count())));
    last_due_ = std::max(last_due_, world_.now() + latency);
    parcels_.push_back({last_due_, size});
    world_.at(last_due_, [this, alive = owner] {
        if (const auto held = alive.lock()) deliver();
    });
}

bool Pipe::stalled() const noexcept {
    return carried_ >= stall_at_;
}

void Pipe::deliver() {
    bool news = false;
    while (first_ < parcels_.size() && parcels_[first_].due <= world_.now()) {
        if (stalled()) {
            if (!stall_begun_ && weather_.stall_time.count() != 0)
                world_.after(weather_.stall_time, [this, alive = owner] {
                    if (const auto held = alive.lock()) heal();
                });
            stall_begun_ = true;
            break;
        }
        const auto size = parcels_[first_++].size;
        if (size == 0) end_arrived_ = true;
        arrived_ += size;
        carried_ += size;
        news = true;
    }
    if (first_ == parcels_.size()) {
        parcels_.clear();
        first_ = 0;
    }
    if (news && on_carried) on_carried();
    if (news && on_arrival) on_arrival();
}

void Pipe::heal() {
    stall_at_ = Weather::never;
    deliver();
}

std::size_t Pipe::take(std::span<std::uint8_t> to) {
    const auto count = std::min(arrived_, to.size());
    if (count == 0) return 0;
    std::memcpy(to.data(), bytes_.data() + head_, count);
    head_ += count;
    arrived_ -= count;
    if (head_ == bytes_.size() || head_ > (64U << 10)) {
        bytes_.erase(bytes_.begin(), bytes_.begin() + static_cast<std::ptrdiff_t>(head_));
        head_ = 0;
    }
    if (full_ && on_room) {
        full_ = false;
        on_room();
    }
    return count;
}

void Pipe::lose() noexcept {
    bytes_.clear();
    parcels_.clear();
    head_ = arrived_ = first_ = 0;
}

Link::Link(World& world, const Weather& weather)
    : to_server(world, weather, weather.stall_at[0]),
      to_client(world, weather, weather.stall_at[1]),
      world_(world),
      weather_(weather) {}

std::shared_ptr<Link> Link::create(World& world, const Weather& weather) {
    std::shared_ptr<Link> link(new Link(world, weather));
    link->to_server.owner = link;
    link->to_client.owner = link;
    link->to_server.on_carried = [raw = link.get()] { raw->check_reset(); };
    link->to_client.on_carried = link->to_server.on_carried;
    return link;
}

void Link::check_reset() {
    if (!was_reset && to_server.carried() + to_client.carried() >= weather_.reset_at) reset();
}

void Link::reset() {
    if (was_reset) return;
    was_reset = true;
    // A reset overtakes what is under way; what has arrived may still be read, or not.
    to_server.lose();
    if (world_.random().coin()) to_client.lose();
    if (on_reset) on_reset();
    if (on_client) on_client();
}

void Link::heal() {
    weather_.reset_at = Weather::never;
    if (weather_.hopeless) return;
    to_server.heal();
    to_client.heal();
}

IoResult SimStream::send(std::span<const IoSlice> slices) noexcept {
    if (slices.size() > max_slices) world_.fail("a send of too many slices");
    if (link_->client_closed || link_->client_ended || link_->was_reset)
        return {.status = IoResult::Status::failed, .error = EPIPE};
    std::size_t total = 0;
    for (const auto& slice : slices) {
        const auto count = link_->to_server.put({slice.data, slice.size});
        total += count;
        if (count < slice.size) break;
    }
    if (total == 0) return {.status = IoResult::Status::would_block};
    return {.bytes = total};
}

IoResult SimStream::receive(std::span<const IoSlice> slices) noexcept {
    if (link_->client_closed) return {.status = IoResult::Status::closed};
    std::size_t total = 0;
    for (const auto& slice : slices) {
        if (slice.size == 0) continue;
        auto wanted = slice.size;
        if (short_io_ && world_.random().coin())
            wanted = world_.random().between(1, std::min<std::size_t>(wanted, 600));
        const auto count = link_->to_client.take({slice.data, wanted});
        total += count;
        if (count < slice.size) break;
    }
    if (total != 0) return {.bytes = total};
    if (link_->was_reset) return {.status = IoResult::Status::failed, .error = ECONNRESET};
    if (link_->to_client.ended()) return {.status = IoResult::Status::closed};
    return {.status = IoResult::Status::would_block};
}

Ready SimStream::ready(bool for_room) noexcept {
    Ready ready;
    ready.readable = link_->client_closed || link_->was_reset || link_->to_client.available() > 0 ||
                     link_->to_client.ended();
    ready.writable = for_room && (link_->client_closed || link_->was_reset || link_->client_ended ||
                                  link_->to_server.room() > 0);
    ready.woken = link_->woken;
    link_->woken = false;
    return ready;
}

Ready SimStream::wait(const WaitFor& what) noexcept {
    world_.fail("somebody waits in a passive part");
    return ready(what.room);
}

void SimStream::wake() noexcept {
    link_->woken = true;
    if (link_->on_client) link_->on_client();
}

void SimStream::shut_down() noexcept {
    if (link_->client_closed) return;
    link_->client_closed = true;
    link_->to_server.end();
    // To the server it looks like a close or like a reset.
    if (world_.random().coin())
        world_.after(Micros(1 + world_.random().below(2'000)), [link = link_] { link->reset(); });
    if (link_->on_client) link_->on_client();
}

void SimStream::shut_down_send() noexcept {
    link_->client_ended = true;
    link_->to_server.end();
}

}  // namespace wnbd::nbd::sim
