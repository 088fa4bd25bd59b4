// SPDX-License-Identifier: LGPL-2.1-or-later
#include "model_session.h"

#include <algorithm>
#include <utility>

#include "base/big_endian.h"

namespace wnbd::nbd::sim {

ModelSession::ModelSession(World& world, Store& store, Judge& judge, const Personality& personality,
                           Holder holder, std::shared_ptr<Link> link)
    : world_(world),
      store_(store),
      judge_(judge),
      personality_(personality),
      holder_(holder),
      link_(std::move(link)),
      negotiation_(world, personality),
      writer_(world, store, personality) {}

void ModelSession::start() {
    link_->to_server.on_arrival = [self = weak_from_this()] {
        if (const auto held = self.lock()) held->on_arrival();
    };
    link_->to_client.on_room = [self = weak_from_this()] {
        if (const auto held = self.lock()) held->pump();
    };
    link_->on_reset = [self = weak_from_this()] {
        if (const auto held = self.lock()) held->end();
    };
    say(negotiation_.output());
}

void ModelSession::end() {
    if (std::exchange(over_, true)) return;
    judge_.dropped(holder_.session);
    // An orderly server makes durable what a client has left behind; where a flush covers only one
    // connection nobody else could.
    store_.persist([&](const Holder& holder) { return holder.session == holder_.session; });
}

void ModelSession::on_arrival() {
    if (over_) return;
    std::uint8_t bytes[4096];
    while (const auto count = link_->to_server.take(bytes))
        input_.insert(input_.end(), bytes, bytes + count);
    if (!negotiation_.done()) {
        negotiation_.receive(input_);
        if (!negotiation_.complaint().empty()) judge_.complain(negotiation_.complaint());
        say(negotiation_.output());
        if (negotiation_.done())
            writer_.agreed(negotiation_.format(), negotiation_.allocation_agreed());
    }
    if (negotiation_.done())
        while (!ending_ && take_request()) {
        }
    if (negotiation_.over() || link_->to_server.ended()) ending_ = true;
    finish_if_done();
}

void ModelSession::finish_if_done() {
    if (over_ || !ending_ || jobs_ != 0 || sent_ != output_.size()) return;
    link_->to_client.end();
    end();
}

bool ModelSession::take_request() {
    Job job;
    std::uint64_t payload = 0;
    const bool extended = negotiation_.format() == WireFormat::extended;
    const auto header = extended ? extended_request_size : request_size;
    if (input_.size() < header) return false;
    if (!decode(job, payload) || !acceptable(job, payload)) {
        end();
        link_->reset();
        return false;
    }
    if (input_.size() < header + payload) return false;
    input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(header));
    read_payload(job, payload);
    if (job.type == CommandType::disconnect) {
        ending_ = true;
        return false;
    }
    if (changes(job.type)) judge_.received(holder_.session, job);
    ++jobs_;
    const Micros time(
        world_.random().below(static_cast<std::uint64_t>(personality_.service_max.count()) + 1));
    world_.after(time, [self = weak_from_this(), job = std::move(job)] {
        if (const auto held = self.lock(); held && !held->over_) held->serve(job);
    });
    return true;
}

bool ModelSession::decode(Job& job, std::uint64_t& payload) {
    const auto* const at = input_.data();
    const bool extended = negotiation_.format() == WireFormat::extended;
    const auto magic = load_big_endian<std::uint32_t>(at);
    if (magic != (extended ? extended_request_magic : request_magic)) {
        judge_.complain("a request with a wrong magic");
        return false;
    }
    job.flags = load_big_endian<std::uint16_t>(at + 4);
    job.type = static_cast<CommandType>(load_big_endian<std::uint16_t>(at + 6));
    job.cookie = load_big_endian<std::uint64_t>(at + 8);
    job.offset = load_big_endian<std::uint64_t>(at + 16);
    job.length = extended ? load_big_endian<std::uint64_t>(at + 24)
                          : load_big_endian<std::uint32_t>(at + 24);
    payload = job.type == CommandType::write ? job.length : 0;
    const bool says_payload = (job.flags & command_flag_payload_len) != 0;
    if (says_payload != (extended && job.type == CommandType::write)) {
        judge_.complain("the payload flag of a request does not fit");
        return false;
    }
    return true;
}

/// What a client may never send.
bool ModelSession::acceptable(const Job& job, std::uint64_t payload) {
    const char* wrong = nullptr;
    const bool ranged = job.type != CommandType::flush && job.type != CommandType::disconnect;
    if (forbidden_ && job.type != CommandType::disconnect)
        wrong = "a request goes to a server that is not the right one";
    else if (!ranged && (job.offset != 0 || job.length != 0))
        wrong = "a flush or disconnect with a range";
    else if (ranged && job.length == 0)
        wrong = "a request of no bytes";
    else if ((job.type == CommandType::read || payload != 0) &&
             job.length > personality_.maximum_payload)
        wrong = "a payload beyond the server's maximum";
    else if ((job.offset | job.length) % personality_.minimum_block != 0)
        wrong = "a range that breaks the server's minimum block";
    else if (job.type == CommandType::block_status && !negotiation_.allocation_agreed())
        wrong = "a block status that was not negotiated";
    else if (job.type == CommandType::flush && !personality_.has(transmission_send_flush))
        wrong = "a flush that the server does not offer";
    else if ((job.flags & command_flag_fua) != 0 && !personality_.has(transmission_send_fua))
        wrong = "a FUA that the server does not offer";
    else if ((job.flags & command_flag_df) != 0 && !personality_.has(transmission_send_df))
        wrong = "a DF that the server does not offer";
    if (wrong != nullptr) judge_.complain(wrong);
    return wrong == nullptr;
}

void ModelSession::read_payload(Job& job, std::uint64_t size) {
    for (std::uint64_t at = 0; at < size; at += block_size) {
        const auto lba = (job.offset + at) / block_size;
        const auto writer = writer_of(&input_[at], lba);
        if (!writer || *writer == 0)
            judge_.complain("a write's payload for LBA " + std::to_string(lba) + " is damaged");
        job.sequences.push_back(writer.value_or(0));
    }
    input_.erase(input_.begin(), input_.begin() + static_cast<std::ptrdiff_t>(size));
}

std::uint32_t ModelSession::refusal(const Job& job) {
    constexpr std::uint32_t errors[] = {error_io,        error_no_space, error_permission,
                                        error_no_memory, error_invalid,  error_not_supported};
    if (job.length != 0 && job.offset + job.length > personality_.size)
        return changes(job.type) ? error_no_space : error_invalid;
    if (!world_.random().chance(personality_.errors_in_10000)) return 0;
    return errors[world_.random().below(std::size(errors))];
}

void ModelSession::serve(const Job& job) {
    if (changes(job.type)) judge_.answered(holder_.session, job);
    const auto error = refusal(job);
    if (error != 0)
        judge_.says_error(job, error);
    else
        execute(job);
    // Parts of one answer come in their order, and among them those of others.
    auto parts = writer_.write(job, error);
    Micros time{0};
    for (auto& part : parts) {
        const bool last = &part == &parts.back();
        world_.after(time, [self = weak_from_this(), bytes = std::move(part), last] {
            const auto held = self.lock();
            if (!held || held->over_) return;
            if (last) --held->jobs_;
            held->say(bytes);
        });
        time += Micros(1 + world_.random().below(100));
    }
}

void ModelSession::execute(const Job& job) {
    if (job.type == CommandType::flush) {
        judge_.flushes();
        store_.persist([&](const Holder& holder) {
            return personality_.has(transmission_can_multi_conn)
                       ? holder.life == holder_.life
                       : holder.session == holder_.session;
        });
    }
    if (!changes(job.type)) return;
    judge_.executes(job);
    const bool durable = !personality_.volatile_cache || (job.flags & command_flag_fua) != 0;
    for_kept(job.range(), [&](std::uint64_t lba, std::uint32_t index) {
        store_.change(index,
                      job.type == CommandType::write ? job.sequences[lba - job.range().first] : 0,
                      holder_, durable);
    });
}

void ModelSession::say(std::vector<std::uint8_t> bytes) {
    output_.insert(output_.end(), bytes.begin(), bytes.end());
    pump();
}

void ModelSession::pump() {
    if (over_) return;
    while (sent_ < output_.size()) {
        const auto count = link_->to_client.put(std::span(output_).subspan(sent_));
        if (count == 0) return;
        sent_ += count;
    }
    output_.clear();
    sent_ = 0;
    finish_if_done();
}

}  // namespace wnbd::nbd::sim
