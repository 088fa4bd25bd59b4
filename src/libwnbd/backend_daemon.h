// SPDX-License-Identifier: LGPL-2.1-or-later
// Maps a disk and serves it from a backend until it is removed or the backend is lost.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>

#include "backend/backend.h"
#include "libwnbd/backend_job.h"
#include "libwnbd/disk.h"

namespace wnbd::libwnbd {

/// A request on its way: its buffer is fetched into, handed to the backend and replied from,
/// without a copy. A slot is either free, or with the one thread or backend request that works on
/// it.
///
/// Fetch threads take a free slot, wait in the driver for a request and start it; the backend's
/// completion sends the reply and frees the slot. So the number of slots limits what is in flight,
/// and a few threads suffice, because none of them waits for storage.
class BackendDaemon final : private BackendJob::Owner, private backend::Observer {
  public:
    /// Requests in flight at most, those being fetched included. Each slot reserves a fetch buffer,
    /// whose memory comes into being as it is used.
    static constexpr unsigned slot_count = 64;
    static constexpr unsigned fetch_thread_count = 4;

    BackendDaemon(std::unique_ptr<backend::Backend> backend, const WNBD_PROPERTIES& properties);
    ~BackendDaemon();

    /// Blocks until the end. 0: the disk was removed from outside. Otherwise why it could not be
    /// mapped, or ERROR_CONNECTION_ABORTED when the backend was lost. Once per object.
    [[nodiscard]] DWORD run();

  private:
    struct Slot final : BackendJob {
        explicit Slot(BackendDaemon& daemon) noexcept : BackendJob(daemon) {}
        FetchBuffer buffer;
    };

    [[nodiscard]] DWORD map();
    [[nodiscard]] DWORD make_slots();
    void start_fetching();
    void fetch() noexcept;
    [[nodiscard]] Slot* take_slot() noexcept;
    void give_back(Slot& slot) noexcept;
    [[nodiscard]] bool wait_for_end();
    void look_for_disk() noexcept;
    void follow_size();
    void remove_own_disk();
    void stop_fetching() noexcept;
    void wait_for_requests() noexcept;
    void finished(BackendJob& job, const WNBD_STATUS& status, std::uint32_t data_length,
                  backend::Error error) noexcept override;
    // Of the backend, on its threads:
    void told(Weight weight, const std::string& line) noexcept override;
    void resized(std::uint64_t size) noexcept override;

    WNBD_PROPERTIES properties_;
    Disk disk_;
    ServedDisk served_;
    std::vector<std::unique_ptr<Slot>> slots_;  // constant while threads run
    std::vector<std::thread> threads_;

    std::mutex mutex_;  // of what follows
    std::condition_variable changed_;
    std::vector<Slot*> free_;
    unsigned fetching_ = 0;  // threads
    bool lost_ = false;      // the backend has said `disconnected`
    bool resized_ = true;    // the backend's size may be one that Windows does not know yet

    // Last, so that it goes first: its threads call finished().
    std::unique_ptr<backend::Backend> backend_;
};

}  // namespace wnbd::libwnbd
