// SPDX-License-Identifier: LGPL-2.1-or-later
#include "backend/nbd_backend.h"

#include <algorithm>
#include <array>
#include <new>
#include <utility>

#include "backend/checks.h"
#include "nbd/protocol.h"

namespace wnbd::backend {
namespace {

/// What the client needs of a request, in the request's storage.
struct Pending {
    nbd::Request request;
    nbd::ExtentList extents;
};
static_assert(sizeof(Pending) <= RequestStorage::capacity);
// Extents are received where the user's will be.
static_assert(sizeof(nbd::Extent) == sizeof(Extent) && alignof(nbd::Extent) == alignof(Extent));

constexpr std::size_t batch_max = 64;

Properties properties_of(const nbd::Agreement& agreement, bool write_through) noexcept {
    const auto& info = agreement.info;
    const auto has = [&](std::uint16_t flag) { return (info.transmission_flags & flag) != 0; };
    return {.size = info.size,
            .minimum_block = info.minimum_block,
            .preferred_block = info.preferred_block,
            .maximum_payload = std::min(info.maximum_payload, nbd::default_maximum_payload),
            .read_only = has(nbd::transmission_read_only),
            // Whatever was written through is stable: there is nothing left to flush.
            .can_flush = has(nbd::transmission_send_flush) && !write_through,
            .can_fua = has(nbd::transmission_send_fua) || write_through,
            .can_trim = has(nbd::transmission_send_trim),
            .can_write_zeroes = has(nbd::transmission_send_write_zeroes),
            .can_tell_extents = agreement.allocation_context.has_value(),
            .rotational = has(nbd::transmission_rotational)};
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

nbd::Command command_of(Request& request, bool write_through) noexcept {
    std::uint16_t flags = 0;
    const auto type = command_type(request.operation);
    // Written through, the client itself sees to it.
    if (request.force_unit_access && nbd::changes(type) && !write_through)
        flags |= nbd::command_flag_fua;
    if (request.operation == Operation::write_zeroes && !request.may_punch_hole)
        flags |= nbd::command_flag_no_hole;
    const bool flush = request.operation == Operation::flush;
    return {.type = type,
            .flags = flags,
            .offset = flush ? 0 : request.offset,
            .length = flush ? 0 : request.length,
            .data = request.buffer.data()};
}

/// What the client has put there, as the user wants it.
void translate_extents(Request& request, std::uint32_t count) noexcept {
    request.extent_count = count;
    for (std::uint32_t at = 0; at < count; ++at) {
        Extent* const place = &request.extents[at];
        const nbd::Extent received = *std::launder(reinterpret_cast<nbd::Extent*>(place));
        new (place) Extent{.length = received.length,
                           .allocated = (received.flags & nbd::allocation_hole) == 0,
                           .zeroes = (received.flags & nbd::allocation_zero) != 0};
    }
}

std::string open_failure(const nbd::ClientOptions& options, const nbd::Fault& fault) {
    std::string servers;
    for (const auto& address : options.addresses)
        servers += (servers.empty() ? "" : ", ") + address.endpoint();
    std::string name;
    if (!options.addresses.empty() && !options.addresses[0].export_name.empty()) {
        const auto& text = options.addresses[0].export_name;
        name = "export '" + nbd::printable(text.substr(0, 64)) +
               (text.size() > 64 ? "...' of " : "' of ");
    }
    return "cannot open " + name + "NBD server " + servers + ": " + nbd::describe(fault);
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

Result<std::unique_ptr<Backend>, std::string> NbdBackend::open(const nbd::ClientOptions& options) {
    auto shell = nbd::ClientShell::open(options);
    if (!shell) return Failure{open_failure(options, shell.error())};
    const auto flags = shell.value()->agreement().info.transmission_flags;
    constexpr auto enough =
        nbd::transmission_read_only | nbd::transmission_send_fua | nbd::transmission_send_flush;
    if (options.write_through && (flags & enough) == 0)
        return Failure{open_failure(
            options, {.code = nbd::FaultCode::unsupported,
                      .text = "write-through needs a server that can flush or force unit access, "
                              "and this one can do neither"})};
    return std::unique_ptr<Backend>(
        new NbdBackend(std::move(shell.value()), options.write_through));
}

NbdBackend::NbdBackend(std::unique_ptr<nbd::ClientShell> shell, bool write_through) noexcept
    : shell_(std::move(shell)),
      write_through_(write_through),
      properties_(properties_of(shell_->agreement(), write_through)) {
    shell_->observe(this);
}

NbdBackend::~NbdBackend() {
    NbdBackend::close();
}

std::string NbdBackend::failure() const {
    const auto status = shell_->status();
    return status.phase != nbd::Client::Phase::ended || status.fault.code == nbd::FaultCode::closed
               ? std::string()
               : nbd::describe(status.fault);
}

void NbdBackend::observe(Observer* observer) noexcept {
    const std::lock_guard lock(observer_lock_);
    observer_ = observer;
}

void NbdBackend::happened(const nbd::ClientEvent& event) noexcept {
    using Kind = nbd::ClientEvent::Kind;
    const std::lock_guard lock(observer_lock_);
    // The end is told by failure(), and by the requests themselves.
    if (observer_ == nullptr || event.kind == Kind::gave_up) return;
    const bool bad =
        event.kind == Kind::lost || event.kind == Kind::attempt_failed || event.may_have_lost;
    observer_->told(bad ? Observer::Weight::warning : Observer::Weight::information, event.text);
    if (event.kind == Kind::resized) observer_->resized(event.size);
}

void NbdBackend::submit(Request& request) noexcept {
    nbd::Request* const prepared = prepare(request);
    if (prepared != nullptr) shell_->submit({&prepared, 1});
}

void NbdBackend::submit_many(std::span<Request* const> requests) noexcept {
    std::array<nbd::Request*, batch_max> batch;
    std::size_t count = 0;
    for (Request* const request : requests) {
        if (count == batch.size()) shell_->submit(std::span(batch).first(std::exchange(count, 0)));
        if (nbd::Request* const prepared = prepare(*request)) batch[count++] = prepared;
    }
    if (count > 0) shell_->submit(std::span(batch).first(count));
}

nbd::Request* NbdBackend::prepare(Request& request) noexcept {
    const bool flush = request.operation == Operation::flush;
    auto error = closing_.load(std::memory_order_relaxed) ? Error::shutting_down : Error::none;
    bool nothing_to_do = flush ? write_through_ : request.length == 0;
    if (error == Error::none && !(flush && write_through_))
        error = check_request(request, properties_, size());
    if (error != Error::none || nothing_to_do) {
        request.done(request, error);
        return nullptr;
    }
    auto* const pending = new (request.storage.data())
        Pending{.request = {.command = command_of(request, write_through_),
                            .done = &NbdBackend::finished,
                            .context = &request},
                .extents = {}};
    if (request.operation == Operation::extents) {
        pending->extents.capacity =
            static_cast<std::uint32_t>(std::min<std::size_t>(request.extents.size(), 0xffffffff));
        pending->extents.first =
            new (request.extents.data()) nbd::Extent[pending->extents.capacity];
        pending->request.command.extents = &pending->extents;
    } else if (nbd::changes(pending->request.command.type) &&
               !unflushed_.load(std::memory_order_relaxed)) {
        // Only while false: a line that every write changes would travel between the CPUs.
        unflushed_.store(true, std::memory_order_relaxed);
    }
    return &pending->request;
}

void NbdBackend::finished(nbd::Request& done, nbd::Outcome outcome) noexcept {
    auto& request = *static_cast<Request*>(done.context);
    if (request.operation == Operation::extents && !outcome.disconnected && outcome.error == 0)
        translate_extents(request, done.command.extents->count);
    request.done(request,
                 outcome.disconnected ? Error::disconnected : from_nbd_error(outcome.error));
}

void NbdBackend::close() noexcept {
    closing_.store(true);
    shell_->close(properties_.can_flush && unflushed_.load(std::memory_order_relaxed));
}

}  // namespace wnbd::backend
