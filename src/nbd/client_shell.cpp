// SPDX-License-Identifier: LGPL-2.1-or-later
#include "nbd/client_shell.h"

#include <algorithm>
#include <utility>

namespace wnbd::nbd {
namespace {

using std::chrono::milliseconds;
using Kind = ClientEvent::Kind;
using Phase = Client::Phase;
using Step = Connection::Step;

/// How often close() looks whether requests are still in flight.
constexpr milliseconds drain_poll{2};
/// Failed attempts for the same reason are told so often.
constexpr milliseconds told_again_after{30'000};

ClientLimits limits_of(const ClientOptions& options) {
    return {.commands_max = options.commands_max,
            .connections =
                std::clamp(options.connections != 0 ? options.connections : default_connections(),
                           1U, Client::max_connections),
            .request_time_max = options.request_time_max,
            .keep_alive = options.keep_alive,
            .write_through = options.write_through,
            .reconnect = options.reconnect};
}

const Fault no_memory{.code = FaultCode::connect_failed, .text = "out of memory"};

std::string seconds(Clock::duration time) {
    const auto tenths = std::chrono::duration_cast<milliseconds>(time).count() / 100;
    return std::to_string(tenths / 10) + "." + std::to_string(tenths % 10) + " s";
}

bool reconnects(const ReconnectPolicy& policy) {
    return policy.timeout.count() > 0 || policy.on_timeout == OnTimeout::hold;
}

}  // namespace

unsigned default_connections() noexcept {
    return std::clamp(std::thread::hardware_concurrency() / 2, 1U, 4U);
}

Result<std::unique_ptr<ClientShell>, Fault> ClientShell::open(ClientOptions options) {
    auto connector = Connector::create(options);
    if (!connector) return Failure{connector.error()};
    Fault last{.code = FaultCode::connect_failed, .text = "no address was given"};
    std::unique_ptr<ClientShell> shell(
        new ClientShell(std::move(options), std::move(connector.value())));
    const auto& addresses = shell->options_.addresses;
    for (std::size_t at = 0; at < addresses.size(); ++at) {
        Attempt attempt;
        auto connected = shell->connector_.connect(addresses[at], attempt);
        if (connected) {
            shell->begin(std::move(connected.value()), at, attempt);
            return shell;
        }
        last = connected.error();
    }
    return Failure{std::move(last)};
}

ClientShell::ClientShell(ClientOptions options, Connector connector)
    : options_(std::move(options)), connector_(std::move(connector)) {}

ClientShell::~ClientShell() {
    close(false);
}

void ClientShell::begin(Connected first, std::size_t address, const Attempt& attempt) {
    const auto agreement = first.agreement;
    peer_ = attempt.peer();
    told_size_ = agreement.info.size;
    readers_.resize(limits_of(options_).connections);
    client_ = std::make_unique<Client>(limits_of(options_), agreement, options_.addresses.size(),
                                       address);
    keeper_ = std::thread([this] { keep(); });
    dialler_ = std::thread([this] { dial_when_asked(); });
    (void)adopt(0, std::move(first));
}

void ClientShell::submit(std::span<Request* const> requests) noexcept {
    client_->submit(requests);
}

const Agreement& ClientShell::agreement() const noexcept {
    return client_->agreement();
}

std::uint64_t ClientShell::size() const noexcept {
    return client_->size();
}

Client::Status ClientShell::status() const {
    return client_->status();
}

// The threads.

void ClientShell::read(unsigned index) noexcept {
    auto& connection = client_->connection(index);
    for (;;) {
        {
            std::unique_lock lock(lock_);
            changed_.wait(lock, [&] { return readers_[index].attached || stopping_; });
            if (!std::exchange(readers_[index].attached, false)) return;
        }
        for (auto step = Step::goes_on; step != Step::over;) {
            step = connection.step(connection.stream().wait(connection.wants()));
            // Whoever still sends finds out as soon as it runs.
            if (step == Step::ending) std::this_thread::yield();
        }
        client_->detached(index, Clock::now());
        poke();
    }
}

void ClientShell::poke() noexcept {
    const std::lock_guard lock(lock_);
    poked_ = true;
    changed_.notify_all();
}

/// Looks after the client.
void ClientShell::keep() noexcept {
    std::unique_lock lock(lock_);
    while (!stopping_) {
        poked_ = false;
        lock.unlock();
        const auto chore = client_->look_after(Clock::now());
        report_state(client_->status());
        lock.lock();
        if (chore.abandon_dial && attempt_ != nullptr) attempt_->abandon();
        if (chore.dial && !ask_for_dial({*chore.dial, chore.index})) {
            client_->dial_failed(no_memory, Clock::now());
            poked_ = true;
        }
        changed_.notify_all();
        const auto awake = [this] { return poked_ || stopping_; };
        if (chore.next)
            changed_.wait_until(lock, *chore.next, awake);
        else
            changed_.wait(lock, awake);
    }
}

/// Under the lock. False: there is no memory for it.
bool ClientShell::ask_for_dial(const Dial& job) noexcept {
    try {
        auto attempt = std::make_shared<Attempt>();
        if (job.index > 0) attempt->pin(peer_);
        attempt_ = std::move(attempt);
    } catch (const std::exception&) {
        return false;
    }
    dial_job_ = job;
    return true;
}

void ClientShell::dial_when_asked() noexcept {
    for (;;) {
        std::unique_lock lock(lock_);
        changed_.wait(lock, [this] { return dial_job_ || stopping_; });
        if (stopping_ || !dial_job_) return;
        const Dial job = *dial_job_;
        dial_job_.reset();
        const auto attempt = attempt_;
        lock.unlock();
        dial(job, *attempt);
        poke();
    }
}

void ClientShell::dial(const Dial& job, Attempt& attempt) noexcept {
    Fault fault;
    try {
        fault = dial_once(job, attempt);
        if (fault.code != FaultCode::none && fault.code != FaultCode::closed)
            report_failed_attempt(job, fault);
    } catch (const std::exception&) {
        // No memory, or no thread: an attempt has failed, and the next may do better.
        fault = no_memory;
    }
    if (fault.code != FaultCode::none) client_->dial_failed(std::move(fault), Clock::now());
}

Fault ClientShell::dial_once(const Dial& job, Attempt& attempt) {
    auto connected = connector_.connect(options_.addresses[job.address], attempt);
    if (connected && job.index == 0) {
        // Before the client has it, and asks for further ones.
        const std::lock_guard lock(lock_);
        peer_ = attempt.peer();
    }
    if (!connected) return connected.error();
    return adopt(job.index, std::move(connected.value()));
}

/// Gives a connection to the client and a thread to it.
Fault ClientShell::adopt(unsigned index, Connected connected) {
    {
        const std::lock_guard lock(lock_);
        auto& reader = readers_[index];
        if (!reader.thread.joinable()) reader.thread = std::thread([this, index] { read(index); });
    }
    auto fault =
        client_->attach(index, std::move(connected.stream), connected.agreement, Clock::now());
    if (fault.code != FaultCode::none) return fault;
    const std::lock_guard lock(lock_);
    readers_[index].attached = true;
    poked_ = true;
    changed_.notify_all();
    return {};
}

// The end.

bool ClientShell::drain(Clock::time_point deadline) noexcept {
    while (!client_->idle()) {
        if (Clock::now() >= deadline || client_->status().phase != Phase::online) return false;
        std::this_thread::sleep_for(drain_poll);
    }
    return client_->status().phase == Phase::online;
}

void ClientShell::close(bool flush) noexcept {
    const std::lock_guard closing(close_lock_);
    if (client_ == nullptr || std::exchange(closed_, true)) return;
    struct LastFlush {
        Request request{.command = {.type = CommandType::flush}};
        Outcome outcome{};
        std::atomic<bool> over{false};
    } last;
    last.request.context = &last;
    last.request.done = [](Request& request, Outcome outcome) noexcept {
        auto& flushed = *static_cast<LastFlush*>(request.context);
        flushed.outcome = outcome;
        flushed.over = true;
    };
    const auto deadline = Clock::now() + options_.close_time_max;
    const bool flushes = drain(deadline) && flush;
    if (flushes) {
        Request* const request = &last.request;
        client_->submit({&request, 1});
        (void)drain(deadline);
    }
    client_->close(Clock::now());
    poke();
    std::unique_lock lock(lock_);
    changed_.wait(lock, [this] { return client_->status().phase == Phase::ended; });
    stopping_ = true;
    if (attempt_ != nullptr) attempt_->abandon();
    changed_.notify_all();
    lock.unlock();
    // Some are missing where begin() could not start them.
    if (keeper_.joinable()) keeper_.join();
    if (dialler_.joinable()) dialler_.join();
    for (auto& reader : readers_)
        if (reader.thread.joinable()) reader.thread.join();
    // Whoever completed it last has left by now.
    while (flushes && !last.over)
        std::this_thread::yield();
    if (flush && (!flushes || last.outcome.error != 0 || last.outcome.disconnected))
        report_unflushed();
}

// What is told.

void ClientShell::observe(ClientObserver* observer) noexcept {
    const std::lock_guard lock(observer_lock_);
    observer_ = observer;
}

/// Under the observer's lock. That it happened is told even when there is no memory for how.
template <typename Compose>
void ClientShell::tell(ClientEvent event, Compose&& compose) noexcept {
    if (observer_ == nullptr) return;
    event.size = told_size_;
    try {
        event.text = compose();
    } catch (const std::exception&) {
        event.text = "out of memory";  // so short a text needs none
    }
    observer_->happened(event);
}

/// The keeper's alone: so losses and returns are told in their order. Between two looks a
/// connection may have come back and gone again, but not more: without the keeper none is dialled.
void ClientShell::report_state(const Client::Status& status) noexcept {
    const std::lock_guard lock(observer_lock_);
    if (status.reconnects != told_reconnects_) report_return(status);
    if (status.size != told_size_) report_size(status.size);
    if (status.phase != Phase::fresh && status.phase != told_phase_ &&
        status.fault.code != FaultCode::closed)
        report_loss(status);
}

void ClientShell::report_return(const Client::Status& status) noexcept {
    told_reconnects_ = status.reconnects;
    told_phase_ = Phase::online;
    const bool unflushed = status.unflushed_at_loss;
    tell({.kind = Kind::returned, .may_have_lost = unflushed}, [&] {
        return "connected to " + options_.addresses[status.address].endpoint() + " again after " +
               seconds(Clock::now() - lost_at_) +
               (unflushed ? "; what was written since the last flush may be lost, if the server "
                            "lost it"
                          : "");
    });
}

void ClientShell::report_size(std::uint64_t size) noexcept {
    const auto before = std::exchange(told_size_, size);
    tell({.kind = Kind::resized}, [&] {
        return "the export has " + std::to_string(size) + " bytes now, and had " +
               std::to_string(before);
    });
}

/// It is not online, or not even coming back any more.
void ClientShell::report_loss(const Client::Status& status) noexcept {
    const bool known = std::exchange(told_phase_, status.phase) != Phase::online;
    const auto loss = [&] {
        return "lost the connection to " + options_.addresses[status.address].endpoint();
    };
    if (!known && status.phase != Phase::online) {
        lost_at_ = Clock::now();
        told_attempt_.clear();
        if (reconnects(options_.reconnect))
            tell({.kind = Kind::lost},
                 [&] { return loss() + ", reconnecting: " + describe(status.fault); });
    }
    if (status.phase == Phase::ended)
        tell({.kind = Kind::gave_up}, [&] {
            return (known ? "gave up reconnecting after " + seconds(Clock::now() - lost_at_)
                          : loss()) +
                   ": " + describe(status.fault);
        });
}

/// The dialler's.
void ClientShell::report_failed_attempt(const Dial& job, const Fault& fault) {
    const std::lock_guard lock(observer_lock_);
    const auto endpoint = options_.addresses[job.address].endpoint();
    auto text = (job.index == 0 ? "cannot reconnect to " + endpoint + " yet: "
                                : "cannot open a further connection to " + endpoint + " yet: ") +
                describe(fault);
    const auto now = Clock::now();
    if (text == told_attempt_ && now - told_attempt_at_ < told_again_after) return;
    told_attempt_ = text;
    told_attempt_at_ = now;
    tell({.kind = Kind::attempt_failed}, [&] { return std::move(text); });
}

void ClientShell::report_unflushed() noexcept {
    const std::lock_guard lock(observer_lock_);
    tell({.kind = Kind::unflushed, .may_have_lost = true}, [] {
        return "the last flush did not succeed: what was written and not flushed before may be "
               "lost";
    });
}

}  // namespace wnbd::nbd
