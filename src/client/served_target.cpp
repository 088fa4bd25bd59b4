// SPDX-License-Identifier: LGPL-2.1-or-later
#include "client/served_target.h"

#include <condition_variable>
#include <mutex>
#include <utility>

#include "backend/aligning_backend.h"
#include "backend/open_backend.h"
#include "client/text.h"

namespace wnbd::client {
namespace {

using std::chrono::milliseconds;

/// A backend that lets nothing go for this long is taken for hung.
constexpr milliseconds drain_time{10'000};
constexpr std::uint32_t address_in_use = 10048;  // WSAEADDRINUSE

/// Waits for the flush; a backend that hangs is closed, which ends it, too.
backend::Error flush(backend::Backend& backend) {
    struct Waiter {
        std::mutex mutex;
        std::condition_variable changed;
        bool over = false;
        backend::Error error = backend::Error::none;
    } waiter;
    backend::Request request{.operation = backend::Operation::flush, .context = &waiter};
    request.done = [](backend::Request& done, backend::Error error) noexcept {
        auto& ended = *static_cast<Waiter*>(done.context);
        const std::lock_guard lock(ended.mutex);
        ended.over = true;
        ended.error = error;
        ended.changed.notify_one();
    };
    backend.submit(request);
    std::unique_lock lock(waiter.mutex);
    const auto over = [&waiter] { return waiter.over; };
    if (!waiter.changed.wait_for(lock, drain_time, over)) {
        lock.unlock();
        backend.close();
        lock.lock();
        waiter.changed.wait(lock, over);
    }
    return waiter.error;
}

DWORD code_of_backend(std::string_view text) {
    return text.find("://") == std::string_view::npos ? ERROR_BAD_PATHNAME : ERROR_NOT_CONNECTED;
}

}  // namespace

Result<std::unique_ptr<ServedTarget>, ServedTarget::Refusal> ServedTarget::start(
    const ServePlan& plan, const ChapCredentials& credentials, iscsi::Log& log) {
    std::unique_ptr<ServedTarget> served(new ServedTarget);
    iscsi::TargetSettings settings;
    settings.name = plan.target_name;
    settings.initiator = credentials.initiator;
    settings.self = credentials.self;
    served->target_ = std::make_unique<iscsi::Target>(std::move(settings), log);
    if (auto refusal = served->open_units(plan, log); !refusal.text.empty())
        return Failure{std::move(refusal)};
    if (auto refusal = served->listen(plan, log); !refusal.text.empty())
        return Failure{std::move(refusal)};
    return served;
}

ServedTarget::~ServedTarget() {
    if (server_) static_cast<void>(stop(milliseconds(0)));
}

void ServedTarget::Storage::serves(iscsi::LogicalUnit& unit) noexcept {
    const std::lock_guard lock(lock_);
    unit_ = &unit;
    if (size_) unit.resize(*size_);
}

void ServedTarget::Storage::resized(std::uint64_t size) noexcept {
    const std::lock_guard lock(lock_);
    size_ = size;
    if (unit_ != nullptr) unit_->resize(size);
}

void ServedTarget::Storage::told(Weight weight, const std::string& line) noexcept {
    const auto level = weight == Weight::error     ? iscsi::Log::Level::error
                       : weight == Weight::warning ? iscsi::Log::Level::warning
                                                   : iscsi::Log::Level::info;
    log_.write(level, name_ + ": " + line);
}

ServedTarget::Refusal ServedTarget::open_units(const ServePlan& plan, iscsi::Log& log) {
    for (const ServedUnit& unit : plan.units) {
        auto backend = backend::open_backend(unit.backend);
        if (!backend) return {backend.error() + ".", code_of_backend(unit.backend)};
        iscsi::UnitSettings settings = unit.settings;
        const std::uint32_t minimum = backend.value()->properties().minimum_block;
        // What initiators align to costs no reading.
        if (minimum > settings.block_size && settings.physical_block_size <= settings.block_size)
            settings.physical_block_size = minimum;
        auto storage = backend::aligned_to(std::move(backend.value()), settings.block_size);
        backends_.push_back(storage.get());
        Storage& observer =
            *storages_.emplace_back(std::make_unique<Storage>(in_quotes(unit.backend), log));
        storage->observe(&observer);
        auto made = iscsi::LogicalUnit::create(std::move(storage), settings, target_->names());
        if (!made)
            return {in_quotes(unit.backend) + ": " + made.error() + ".", ERROR_INVALID_PARAMETER};
        observer.serves(*made.value());
        target_->add(std::move(made.value()));
    }
    return {};
}

ServedTarget::Refusal ServedTarget::listen(const ServePlan& plan, iscsi::Log& log) {
    iscsi::ServerSettings settings;
    for (const ListenPlace& place : plan.listen) {
        auto found = iscsi::resolve(place.host, place.port);
        if (!found) return {found.error() + ".", ERROR_INVALID_PARAMETER};
        for (iscsi::Endpoint& endpoint : found.value()) {
            if (!endpoint.loopback && !plan.initiator && !plan.allow_anyone) {
                return {in_quotes(endpoint.address) +
                            " is no loopback address: whoever reaches it could read and write the "
                            "disk. Ask initiators for a secret with --chap-user, or give "
                            "--allow-anyone.",
                        ERROR_INVALID_PARAMETER};
            }
            settings.endpoints.push_back(std::move(endpoint));
        }
    }
    auto server = iscsi::Server::start(*target_, log, settings);
    if (!server) {
        const auto& refusal = server.error();
        return {refusal.text + (refusal.in_use ? ". Give another port with --listen." : "."),
                refusal.in_use ? address_in_use : ERROR_INVALID_PARAMETER};
    }
    server_ = std::move(server.value());
    return {};
}

std::string ServedTarget::failure() const {
    for (const backend::Backend* const backend : backends_) {
        if (std::string why = backend->failure(); !why.empty()) return why;
    }
    return {};
}

std::string ServedTarget::stop(milliseconds patience) {
    if (!server_) return {};
    std::string failure;
    if (!server_->stop(patience, drain_time)) {
        // Closing a backend ends what it does not let go of.
        for (backend::Backend* const backend : backends_)
            backend->close();
        failure = "A backend did not end its commands within " +
                  std::to_string(drain_time.count() / 1000) + " s.";
    }
    server_.reset();
    for (backend::Backend* const backend : backends_) {
        const backend::Properties& properties = backend->properties();
        if (!properties.can_flush || properties.read_only) continue;
        if (flush(*backend) == backend::Error::none || !failure.empty()) continue;
        const std::string reason = backend->failure();
        failure = "Could not flush a disk";
        if (!reason.empty()) failure.append(": ").append(reason);
        failure += '.';
    }
    for (const auto& unit : target_->units())
        unit->close();
    return failure;
}

}  // namespace wnbd::client
