// SPDX-License-Identifier: LGPL-2.1-or-later
#include "backend/nbd_backend.h"

#include <algorithm>
#include <thread>
#include <utility>

#include "backend/checks.h"
#include "nbd/protocol.h"

namespace wnbd::backend {
namespace {

Properties properties_of(const nbd::ExportInfo& info) noexcept {
    const auto has = [&](std::uint16_t flag) { return (info.transmission_flags & flag) != 0; };
    return {.size = info.size,
            .minimum_block = info.minimum_block,
            .preferred_block = info.preferred_block,
            .maximum_payload = std::min(info.maximum_payload, nbd::default_maximum_payload),
            .read_only = has(nbd::transmission_read_only),
            .can_flush = has(nbd::transmission_send_flush),
            .can_fua = has(nbd::transmission_send_fua),
            .can_trim = has(nbd::transmission_send_trim),
            .can_write_zeroes = has(nbd::transmission_send_write_zeroes),
            .rotational = has(nbd::transmission_rotational)};
}

/// The next request in the line.
Request*& next_of(Request& request) noexcept {
    return *static_cast<Request**>(request.storage.data());
}

nbd::CommandType command_type(Operation operation) noexcept {
    switch (operation) {
        case Operation::read: return nbd::CommandType::read;
        case Operation::write: return nbd::CommandType::write;
        case Operation::flush: return nbd::CommandType::flush;
        case Operation::trim: return nbd::CommandType::trim;
        case Operation::write_zeroes: return nbd::CommandType::write_zeroes;
        case Operation::extents: return nbd::CommandType::block_status;
    }
    return nbd::CommandType::read;
}

nbd::Command command_of(Request& request) noexcept {
    std::uint16_t flags = 0;
    const bool ranged_change =
        request.operation != Operation::read && request.operation != Operation::flush;
    if (request.force_unit_access && ranged_change) flags |= nbd::command_flag_fua;
    if (request.operation == Operation::write_zeroes && !request.may_punch_hole)
        flags |= nbd::command_flag_no_hole;
    const bool flush = request.operation == Operation::flush;
    return {.type = command_type(request.operation),
            .flags = flags,
            .offset = flush ? 0 : request.offset,
            .length = flush ? 0 : request.length,
            .data = request.buffer.data(),
            .cookie = &request};
}

}  // namespace

Error from_nbd_error(std::uint32_t error) noexcept {
    switch (error) {
        case 0: return Error::none;
        case nbd::error_permission: return Error::not_permitted;
        case nbd::error_io: return Error::io;
        case nbd::error_no_memory: return Error::no_memory;
        case nbd::error_no_space: return Error::no_space;
        case nbd::error_overflow: return Error::overflow;
        case nbd::error_not_supported: return Error::not_supported;
        case nbd::error_shutdown: return Error::shutting_down;
        default: return Error::invalid;
    }
}

Result<std::unique_ptr<Backend>, std::string> NbdBackend::open(const nbd::Address& address,
                                                               const NbdOptions& options) {
    std::unique_ptr<NbdBackend> backend(new NbdBackend(options));
    auto connection = nbd::Connection::open(address, options.connection, *backend);
    if (!connection) {
        std::string name;
        if (!address.export_name.empty())
            name = "export '" + nbd::printable(address.export_name.substr(0, 64)) +
                   (address.export_name.size() > 64 ? "...' of " : "' of ");
        return Failure{"cannot open " + name + "NBD server " + address.endpoint() + ": " +
                       nbd::describe(connection.error())};
    }
    backend->properties_ = properties_of(connection.value()->export_info());
    backend->connection_ = std::move(connection.value());
    return std::unique_ptr<Backend>(std::move(backend));
}

NbdBackend::~NbdBackend() {
    NbdBackend::close();
}

std::string NbdBackend::failure() const {
    const auto fault = connection_->fault();
    return fault.code == nbd::FaultCode::none || fault.code == nbd::FaultCode::closed
               ? std::string()
               : nbd::describe(fault);
}

Error NbdBackend::gone() const noexcept {
    return closing_.load(std::memory_order_relaxed) ? Error::shutting_down : Error::disconnected;
}

void NbdBackend::submit(Request& request) noexcept {
    accept(request);
    connection_->kick();
}

void NbdBackend::submit_many(std::span<Request* const> requests) noexcept {
    for (Request* const request : requests)
        accept(*request);
    connection_->kick();
}

void NbdBackend::accept(Request& request) noexcept {
    if (closing_.load(std::memory_order_relaxed))
        return request.done(request, Error::shutting_down);
    const auto error = check_request(request, properties_, properties_.size);
    const bool nothing_to_do = request.operation != Operation::flush && request.length == 0;
    if (error != Error::none || nothing_to_do) return request.done(request, error);
    // Only while false: a line that every write changes would travel between the CPUs.
    if (request.operation != Operation::read && request.operation != Operation::flush &&
        !unflushed_.load(std::memory_order_relaxed))
        unflushed_.store(true, std::memory_order_relaxed);
    // Nobody overtakes those who wait.
    if (waiting_count_.load() != 0) return wait_in_line(request);
    switch (connection_->admit(command_of(request))) {
        case Admission::accepted: return;
        case Admission::full: return wait_in_line(request);
        case Admission::gone: return request.done(request, gone());
    }
}

void NbdBackend::wait_in_line(Request& request) noexcept {
    next_of(request) = nullptr;
    {
        const std::lock_guard lock(waiting_lock_);
        ++waiting_count_;
        if (waiting_last_ == nullptr)
            waiting_first_ = &request;
        else
            next_of(*waiting_last_) = &request;
        waiting_last_ = &request;
    }
    // The slot that was missing may have come free before anybody could see us wait.
    admit_waiting();
}

void NbdBackend::admit_waiting() noexcept {
    for (;;) {
        Request* first = nullptr;
        {
            const std::lock_guard lock(waiting_lock_);
            first = waiting_first_;
            if (first == nullptr) return;
            // Read before admission: from then on the request may complete and be its owner's
            // again.
            Request* const second = next_of(*first);
            const auto admission = connection_->admit(command_of(*first));
            if (admission == Admission::full) return;
            waiting_first_ = second;
            if (second == nullptr) waiting_last_ = nullptr;
            --waiting_count_;
            if (admission == Admission::accepted) first = nullptr;
        }
        if (first != nullptr) first->done(*first, gone());
    }
}

void NbdBackend::completed(void* cookie, nbd::Outcome outcome) noexcept {
    // The flush of close() has no request behind it.
    if (cookie != nullptr) {
        auto& request = *static_cast<Request*>(cookie);
        request.done(request,
                     outcome.disconnected ? Error::disconnected : from_nbd_error(outcome.error));
    }
    if (waiting_count_.load() == 0) return;
    admit_waiting();
    connection_->kick();
}

bool NbdBackend::drain(nbd::Clock::time_point deadline) noexcept {
    while (connection_->drain(deadline)) {
        if (waiting_count_.load() == 0) return true;
        // A freed slot is on its way to whoever waits.
        std::this_thread::yield();
        if (nbd::Clock::now() >= deadline) return false;
    }
    return false;
}

void NbdBackend::flush_before_close(nbd::Clock::time_point deadline) noexcept {
    if (!properties_.can_flush || !unflushed_.load(std::memory_order_relaxed)) return;
    if (connection_->admit({.type = nbd::CommandType::flush}) != Admission::accepted) return;
    connection_->kick();
    (void)drain(deadline);
}

void NbdBackend::close() noexcept {
    const std::lock_guard lock(close_lock_);
    if (connection_ == nullptr || closing_.exchange(true)) return;
    const auto deadline = nbd::Clock::now() + options_.close_time_max;
    if (drain(deadline)) flush_before_close(deadline);
    connection_->close();
}

}  // namespace wnbd::backend
