// SPDX-License-Identifier: LGPL-2.1-or-later
#include "libwnbd/backend_daemon.h"

#include <algorithm>
#include <chrono>
#include <exception>
#include <string>
#include <utility>

#include "backend/nbd_backend.h"
#include "backend/open_backend.h"
#include "libwnbd/log.h"
#include "libwnbd/names.h"
#include "libwnbd/removal.h"
#include "libwnbd/served_properties.h"
#include "nbd/protocol.h"

namespace wnbd::libwnbd {

namespace {

/// How often the backend is asked whether it is still there: one that is lost while nothing is in
/// flight has no other way to say so.
constexpr std::chrono::milliseconds backend_poll{500};
/// How often threads that should leave the driver are pushed.
constexpr std::chrono::milliseconds cancel_retry{100};

}  // namespace

BackendDaemon::BackendDaemon(std::unique_ptr<backend::Backend> backend,
                             const WNBD_PROPERTIES& properties)
    : properties_(properties), backend_(std::move(backend)) {}

BackendDaemon::~BackendDaemon() {
    stop_fetching();
}

DWORD BackendDaemon::run() {
    DWORD error = map();
    if (error != ERROR_SUCCESS) return error;
    backend_->observe(this);
    error = make_slots();
    if (error == ERROR_SUCCESS) {
        try {
            start_fetching();
        } catch (const std::exception&) {
            error = ERROR_NO_SYSTEM_RESOURCES;
        }
    }
    if (error != ERROR_SUCCESS) {
        LOG_ERROR("could not start to serve \"%s\": %s", properties_.InstanceName,
                  error_text(error).c_str());
        remove_own_disk();
    } else if (!wait_for_end()) {
        LOG_ERROR("the storage of \"%s\" is lost, removing the disk: %s", properties_.InstanceName,
                  backend_->failure().c_str());
        remove_own_disk();
        error = ERROR_CONNECTION_ABORTED;
    }
    stop_fetching();
    // Completes what is in flight, or gives it up after a while; then flushes and says goodbye.
    backend_->close();
    backend_->observe(nullptr);
    wait_for_requests();
    LOG_INFO("\"%s\" is not served any more", properties_.InstanceName);
    return error;
}

DWORD BackendDaemon::map() {
    std::string remark;
    const std::string refusal = fit_to_backend(properties_, backend_->properties(), remark);
    if (!refusal.empty()) {
        LOG_ERROR("could not map \"%s\" with %s", properties_.InstanceName, refusal.c_str());
        return ERROR_INVALID_PARAMETER;
    }
    if (!remark.empty()) LOG_WARNING("\"%s\": %s", properties_.InstanceName, remark.c_str());
    served_.backend = backend_.get();
    served_.block_count = properties_.BlockCount;
    served_.block_size = properties_.BlockSize;
    served_.unmap_count_max = properties_.MaxUnmapDescCount;
    return create_disk(properties_, disk_);
}

DWORD BackendDaemon::make_slots() {
    slots_.reserve(slot_count);
    free_.reserve(slot_count);
    for (unsigned i = 0; i < slot_count; ++i) {
        auto slot = std::make_unique<Slot>(*this);
        if (slot->buffer.data() == nullptr) return ERROR_NOT_ENOUGH_MEMORY;
        free_.push_back(slot.get());
        slots_.push_back(std::move(slot));
    }
    return ERROR_SUCCESS;
}

void BackendDaemon::start_fetching() {
    threads_.reserve(fetch_thread_count);
    for (unsigned i = 0; i < fetch_thread_count; ++i) {
        {
            const std::lock_guard lock(mutex_);
            ++fetching_;
        }
        try {
            threads_.emplace_back([this] { fetch(); });
        } catch (...) {
            const std::lock_guard lock(mutex_);
            --fetching_;
            throw;
        }
    }
}

void BackendDaemon::fetch() noexcept {
    FetchLoop loop;
    WNBD_IO_REQUEST request;
    while (Slot* const slot = take_slot()) {
        const bool fetched =
            loop.next(*disk_.channel, request, slot->buffer, [this] { return disk_.stopped(); });
        if (!fetched) {
            give_back(*slot);
            break;
        }
        slot->start(served_, request, {slot->buffer.data(), FetchBuffer::size()});
    }
    disk_.set_stopped();
    const std::lock_guard lock(mutex_);
    --fetching_;
    changed_.notify_all();
}

/// Waits for a free slot; nullptr when serving is over.
BackendDaemon::Slot* BackendDaemon::take_slot() noexcept {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return !free_.empty() || disk_.stopped(); });
    if (disk_.stopped()) return nullptr;
    Slot* const slot = free_.back();
    free_.pop_back();
    return slot;
}

void BackendDaemon::give_back(Slot& slot) noexcept {
    const std::lock_guard lock(mutex_);
    free_.push_back(&slot);
    changed_.notify_all();
}

void BackendDaemon::finished(BackendJob& job, const WNBD_STATUS& status, std::uint32_t data_length,
                             backend::Error error) noexcept {
    auto& slot = static_cast<Slot&>(job);
    WNBD_IO_RESPONSE response{};
    response.RequestHandle = job.request().RequestHandle;
    response.RequestType = job.request().RequestType;
    response.Status = status;
    const DWORD sent = disk_.channel->reply(
        response, data_length > 0 ? slot.buffer.data() : nullptr, data_length, nullptr);
    if (sent == ERROR_NOT_FOUND) {
        LOG_DEBUG("request %llu was given up by Windows before it was served",
                  response.RequestHandle);
    } else if (sent != ERROR_SUCCESS && !disk_is_gone(sent)) {
        LOG_WARNING("could not answer request %llu: %s", response.RequestHandle,
                    error_text(sent).c_str());
    }
    if (error == backend::Error::disconnected) {
        const std::lock_guard lock(mutex_);
        lost_ = true;
    }
    give_back(slot);
}

/// Blocks. True: the disk is gone. False: the backend is.
bool BackendDaemon::wait_for_end() {
    std::unique_lock lock(mutex_);
    for (;;) {
        changed_.wait_for(lock, backend_poll, [this] { return lost_ || disk_.stopped(); });
        if (disk_.stopped()) return true;
        if (lost_) return false;
        const bool resized = std::exchange(resized_, false);
        // Then perhaps nobody waits in the driver to hear of the disk's removal.
        const bool all_in_use = free_.empty();
        lock.unlock();
        if (all_in_use) look_for_disk();
        if (resized) follow_size();
        const bool there = backend_->failure().empty();
        lock.lock();
        if (!there) lost_ = true;
    }
}

/// A storage that holds its requests for ever may hold all slots: the disk's end is to be noticed
/// all the same.
void BackendDaemon::look_for_disk() noexcept {
    WNBD_CONNECTION_INFO info{};
    if (disk_is_gone(show_own(disk_, info))) disk_.set_stopped();
}

/// Tells Windows of the backend's new size. Requests beyond the end of what has shrunk fail by
/// themselves; those behind the old end of what has grown are let through first.
void BackendDaemon::follow_size() {
    const UINT64 block_count = backend_->size() / properties_.BlockSize;
    const UINT64 before = served_.block_count;
    if (block_count == before) return;
    if (block_count == 0) {
        LOG_ERROR("the storage of \"%s\" has less than one block now", properties_.InstanceName);
        return;
    }
    served_.block_count = std::max(before, block_count);
    const DWORD error = WnbdSetDiskSize(&disk_, block_count);
    if (error == ERROR_NOT_READY) {
        // Windows has not started the disk yet.
        const std::lock_guard lock(mutex_);
        resized_ = true;
        return;
    }
    // What Windows was not told is told with the next change.
    served_.block_count = error == ERROR_SUCCESS ? block_count : before;
    if (error != ERROR_SUCCESS)
        LOG_ERROR("could not give \"%s\" its new size of %llu blocks: %s", properties_.InstanceName,
                  block_count, error_text(error).c_str());
    else
        LOG_INFO("\"%s\" has %llu blocks now, and had %llu", properties_.InstanceName, block_count,
                 before);
}

void BackendDaemon::told(Weight weight, const std::string& line) noexcept {
    switch (weight) {
        case Weight::error: LOG_ERROR("\"%s\": %s", properties_.InstanceName, line.c_str()); break;
        case Weight::warning:
            LOG_WARNING("\"%s\": %s", properties_.InstanceName, line.c_str());
            break;
        case Weight::information:
            LOG_INFO("\"%s\": %s", properties_.InstanceName, line.c_str());
            break;
    }
}

/// Told to Windows by the thread that waits for the end: it takes calls to the driver.
void BackendDaemon::resized(std::uint64_t /*size*/) noexcept {
    const std::lock_guard lock(mutex_);
    resized_ = true;
}

void BackendDaemon::remove_own_disk() {
    WNBD_REMOVE_OPTIONS hard{};
    hard.Flags.HardRemove = 1;
    const DWORD error = WnbdRemove(&disk_, &hard);
    // The disk will go in any case, with our handle to the adapter.
    if (error != ERROR_SUCCESS)
        LOG_ERROR("could not remove \"%s\": %s", properties_.InstanceName,
                  error_text(error).c_str());
}

/// Ends the fetch threads, whether or not the driver lets them go by itself.
void BackendDaemon::stop_fetching() noexcept {
    {
        std::unique_lock lock(mutex_);
        disk_.set_stopped();
        changed_.notify_all();
        while (!changed_.wait_for(lock, cancel_retry, [this] { return fetching_ == 0; }))
            CancelIoEx(disk_.Handle, nullptr);
    }
    for (auto& thread : threads_)
        thread.join();
    threads_.clear();
}

void BackendDaemon::wait_for_requests() noexcept {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return free_.size() == slots_.size(); });
}

namespace {

using Opened = Result<std::unique_ptr<backend::Backend>, std::string>;

Opened open_nbd(const WNBD_PROPERTIES& properties) {
    const auto& connection = properties.NbdProperties;
    if (connection.PortNumber == 0 || connection.PortNumber > 65535)
        return Failure{"port " + std::to_string(connection.PortNumber) + " is not in 1..65535"};
    nbd::Address address;
    address.host = connection.Hostname;
    address.port = static_cast<std::uint16_t>(connection.PortNumber);
    address.export_name = connection.ExportName;
    if (address.host.empty()) return Failure{std::string("the host name is empty")};
    nbd::ClientOptions options;
    if (connection.Flags.SkipNegotiation) {
        nbd::ExportInfo info;
        info.size = claimed_size(properties);
        info.transmission_flags = nbd::transmission_has_flags;
        if (properties.Flags.ReadOnly) info.transmission_flags |= nbd::transmission_read_only;
        if (properties.Flags.FlushSupported)
            info.transmission_flags |= nbd::transmission_send_flush;
        if (properties.Flags.FUASupported) info.transmission_flags |= nbd::transmission_send_fua;
        if (properties.Flags.UnmapSupported) info.transmission_flags |= nbd::transmission_send_trim;
        options.skip_handshake = info;
    }
    options.addresses = {std::move(address)};
    return backend::NbdBackend::open(options);
}

/// Checks the names before anything is connected, opens, serves.
template <typename Open>
DWORD run_daemon(const WNBD_PROPERTIES& properties, DWORD open_error, Open&& open) {
    if (const char* const field = unterminated_field(properties)) {
        LOG_ERROR("%s does not end within its array", field);
        return ERROR_BUFFER_OVERFLOW;
    }
    if (properties.InstanceName[0] == '\0') return ERROR_INVALID_PARAMETER;
    auto opened = open();
    if (!opened) {
        LOG_ERROR("\"%s\": %s", properties.InstanceName, opened.error().c_str());
        return open_error;
    }
    WNBD_PROPERTIES fitted = properties;
    auto storage = fit_storage(fitted, std::move(opened.value()));
    return BackendDaemon(std::move(storage), fitted).run();
}

}  // namespace

}  // namespace wnbd::libwnbd

using namespace wnbd::libwnbd;

extern "C" {

DWORD WnbdRunNbdDaemon(const PWNBD_PROPERTIES Properties) {
    if (Properties == nullptr) return ERROR_INVALID_PARAMETER;
    return guarded([&] {
        WNBD_PROPERTIES properties = *Properties;
        properties.Flags.UseUserspaceNbd = 1;
        return run_daemon(properties, ERROR_NOT_CONNECTED, [&] { return open_nbd(properties); });
    });
}

DWORD WnbdRunBackendDaemon(const PWNBD_PROPERTIES Properties, const char* BackendUri) {
    if (Properties == nullptr || BackendUri == nullptr) return ERROR_INVALID_PARAMETER;
    return guarded([&] {
        const std::string uri = BackendUri;
        const bool network = uri.find("://") != std::string::npos;
        WNBD_PROPERTIES properties = *Properties;
        tell_of_server(properties, uri);
        return run_daemon(properties, network ? ERROR_NOT_CONNECTED : ERROR_BAD_PATHNAME,
                          [&] { return wnbd::backend::open_backend(uri); });
    });
}

}  // extern "C"
