// SPDX-License-Identifier: LGPL-2.1-or-later
#include "bench/iscsi_bench_initiator.h"

#include <iscsi/iscsi.h>
#include <iscsi/scsi-lowlevel.h>
#include <poll.h>
#include <time.h>

#include <functional>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

namespace wnbd::bench {
namespace {

using Clock = std::chrono::steady_clock;

/// One session with one logical unit. Throws std::runtime_error with libiscsi's words.
class Session {
  public:
    explicit Session(const std::string& url)
        : context_(iscsi_create_context("iqn.2026-01.org.wnbd.bench:initiator")) {
        if (context_ == nullptr) throw std::runtime_error("no memory");
        const std::unique_ptr<iscsi_url, void (*)(iscsi_url*)> parsed(
            iscsi_parse_full_url(context(), url.c_str()), iscsi_destroy_url);
        if (parsed == nullptr) fail();
        lun_ = parsed->lun;
        iscsi_set_session_type(context(), ISCSI_SESSION_NORMAL);
        iscsi_set_header_digest(context(), ISCSI_HEADER_DIGEST_NONE);
        iscsi_set_noautoreconnect(context(), 1);
        if (iscsi_set_targetname(context(), parsed->target) != 0 ||
            iscsi_full_connect_sync(context(), parsed->portal, lun_) != 0)
            fail();
        const std::unique_ptr<scsi_task, void (*)(scsi_task*)> answer(
            iscsi_readcapacity16_sync(context(), lun_), scsi_free_scsi_task);
        if (answer == nullptr || answer->status != SCSI_STATUS_GOOD) fail();
        const auto* const capacity =
            static_cast<scsi_readcapacity16*>(scsi_datain_unmarshall(answer.get()));
        if (capacity == nullptr) throw std::runtime_error("READ CAPACITY(16) makes no sense");
        block_size_ = capacity->block_length;
        size_ = (capacity->returned_lba + 1) * block_size_;
    }
    void log_out() { iscsi_logout_sync(context()); }

    [[nodiscard]] iscsi_context* context() const { return context_.get(); }
    [[nodiscard]] int lun() const { return lun_; }
    [[nodiscard]] std::uint32_t block_size() const { return block_size_; }  // bytes
    [[nodiscard]] std::uint64_t size() const { return size_; }              // bytes
    [[noreturn]] void fail() const { throw std::runtime_error(iscsi_get_error(context())); }

    /// Waits for the socket and does what it allows.
    void serve() const {
        pollfd socket{iscsi_get_fd(context()), short(iscsi_which_events(context())), 0};
        if (::poll(&socket, 1, 10'000) <= 0) throw std::runtime_error("no answer for 10 seconds");
        if (iscsi_service(context(), socket.revents) != 0) fail();
    }

  private:
    struct Destroy {
        void operator()(iscsi_context* context) const { iscsi_destroy_context(context); }
    };
    std::unique_ptr<iscsi_context, Destroy> context_;
    int lun_ = 0;
    std::uint32_t block_size_ = 512;
    std::uint64_t size_ = 0;
};

struct Load;

/// A command that goes round and round.
struct Looper {
    Load* load = nullptr;
    std::vector<std::uint8_t> buffer;
    scsi_iovec vector{};
};

/// The session comes last: when it goes it gives back the commands that are still under way.
struct Load {
    Load(const std::string& url, const Cell& cell_, Order order_)
        : cell(cell_), order(order_), session(url), random(session.size(), cell.block) {
        loopers.resize(cell.depth);
    }
    [[nodiscard]] std::uint64_t next() {
        if (order == Order::random) return random.next();
        const auto at = position;
        position += cell.block;
        if (position + cell.block > session.size()) position = 0;
        return at;
    }

    const Cell cell;
    const Order order;
    std::vector<Looper> loopers;
    std::uint64_t position = 0;  // of the next sequential command, in bytes
    std::uint64_t requests = 0;
    unsigned running = 0;
    bool stop = false;
    std::string failure;
    Session session;
    Offsets random;
};

void submit(Looper& looper);

void finished(iscsi_context* context, int status, void* command_data, void* private_data) {
    auto& looper = *static_cast<Looper*>(private_data);
    auto& load = *looper.load;
    scsi_free_scsi_task(static_cast<scsi_task*>(command_data));
    --load.running;
    ++load.requests;
    if (status != SCSI_STATUS_GOOD) load.failure = iscsi_get_error(context);
    if (!load.stop && load.failure.empty()) submit(looper);
}

void submit(Looper& looper) {
    auto& load = *looper.load;
    const auto& session = load.session;
    const auto block = load.next() / session.block_size();
    const auto bytes = load.cell.block;
    const int unit = int(session.block_size());
    looper.vector = {looper.buffer.data(), looper.buffer.size()};
    const auto* const task =
        load.cell.write
            ? iscsi_write16_iov_task(session.context(), session.lun(), block, nullptr, bytes, unit,
                                     0, 0, 0, 0, 0, finished, &looper, &looper.vector, 1)
            : iscsi_read16_iov_task(session.context(), session.lun(), block, bytes, unit, 0, 0, 0,
                                    0, 0, finished, &looper, &looper.vector, 1);
    if (task == nullptr)
        load.failure = iscsi_get_error(session.context());
    else
        ++load.running;
}

/// Lets the load run until `over` says so; then its commands end.
template <class Over>
void run(Load& load, const Over& over) {
    for (auto& looper : load.loopers) {
        looper.load = &load;
        looper.buffer.assign(load.cell.block, 0x5a);
        submit(looper);
    }
    while (load.running > 0 && load.failure.empty()) {
        load.session.serve();
        load.stop = load.stop || over();
    }
    if (!load.failure.empty()) throw std::runtime_error(load.failure);
}

}  // namespace

Measurement measure_initiator(const std::string& url, int server, const IscsiLoad& load) try {
    std::vector<std::unique_ptr<Load>> loads;
    loads.reserve(load.sessions);
    for (unsigned index = 0; index < load.sessions; ++index)
        loads.push_back(std::make_unique<Load>(url, load.cell, load.order));
    const auto server_cpu = cpu_of(server);
    const auto cpu = cpu_now();
    const auto start = Clock::now();
    const auto run_one = [&](Load& one) noexcept {
        try {
            run(one, [&] { return since(start) >= load.cell.seconds; });
        } catch (const std::exception& error) {
            one.failure = error.what();
        }
    };
    {
        std::vector<std::jthread> others;
        for (unsigned index = 1; index < load.sessions; ++index)
            others.emplace_back(run_one, std::ref(*loads[index]));
        run_one(*loads.front());
    }
    Measurement measurement{.seconds = since(start),
                            .cpu_seconds = cpu_now() - cpu,
                            .server_cpu_seconds = cpu_of(server) - server_cpu};
    for (const auto& one : loads) {
        if (!one->failure.empty()) throw std::runtime_error(one->failure);
        measurement.requests += one->requests;
        one->session.log_out();
    }
    return measurement;
} catch (const std::exception& error) {
    return {.failure = error.what()};
}

std::string fill_disk(const std::string& url) try {
    Load load(url, {.write = true, .block = 256U << 10, .depth = 8}, Order::sequential);
    run(load, [&] { return load.requests >= load.session.size() / load.cell.block; });
    load.session.log_out();
    return {};
} catch (const std::exception& error) {
    return error.what();
}

}  // namespace wnbd::bench
