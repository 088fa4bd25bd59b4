// SPDX-License-Identifier: LGPL-2.1-or-later
// Makes a disk of small blocks of storage that takes large ones only (an NBD server's minimum block
// size), by read-modify-write.
#pragma once

#include <array>
#include <atomic>
#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <memory>
#include <mutex>
#include <span>
#include <string>
#include <vector>

#include "backend/backend.h"
#include "nbd/write_guard.h"

namespace wnbd::backend {

/// `storage` itself, or, where its minimum block is larger than `block` bytes, an AligningBackend
/// in front of it. What remains of the storage after its last whole minimum block is cut off then.
[[nodiscard]] std::unique_ptr<Backend> aligned_to(std::unique_ptr<Backend> storage,
                                                  std::uint32_t block);

/// - Reads of whole blocks and flushes pass through as they are. Of other reads the whole blocks
///   go straight into the request's buffer, the edges through a bounce buffer. Extents are asked
///   for whole blocks, and cut.
/// - Of a write the whole blocks go straight from the request's buffer; the blocks at its edges
///   are read, patched and written. Zeroes are written likewise. A trim shrinks to its whole
///   blocks.
/// - No two changes of the same block are under way at the same time, so that of two neighbours in
///   a block none undoes the other. What must wait does so in its order of arrival.
/// - Force unit access holds for every part. A request is over when all its parts are, so a flush
///   covers what it would cover without us.
/// The jobs and their bounce buffers are there from the start; a request that finds none waits,
/// too.
class AligningBackend final : public Backend, private Observer {
  public:
    /// Requests at work at most, reads of whole blocks not counted.
    static constexpr unsigned job_count = 64;

    /// `block`: bytes, a divisor of the storage's minimum block.
    AligningBackend(std::unique_ptr<Backend> storage, std::uint32_t block);
    ~AligningBackend() override;

    [[nodiscard]] const Properties& properties() const noexcept override { return properties_; }
    [[nodiscard]] std::uint64_t size() const noexcept override;
    void submit(Request& request) noexcept override;
    void submit_many(std::span<Request* const> requests) noexcept override;
    void observe(Observer* observer) noexcept override;
    [[nodiscard]] std::string failure() const override { return storage_->failure(); }
    /// Has what was accepted end first, as long as something ends every standstill_time_max, and
    /// for close_time_max at most.
    void close() noexcept override;

    static constexpr std::chrono::milliseconds close_time_max{10'000};
    static constexpr std::chrono::milliseconds standstill_time_max{1'000};

  private:
    /// A range of whole blocks, in bytes.
    struct Blocks {
        std::uint64_t offset = 0;
        std::uint64_t length = 0;
    };
    /// A part of a request within one block.
    struct Edge {
        std::uint8_t* bounce = nullptr;  // a whole block
        std::uint64_t block = 0;         // bytes: where that block begins
        std::uint32_t from = 0;          // bytes: the part within the block
        std::uint32_t length = 0;        // bytes; 0: no such edge
        std::uint64_t at = 0;            // bytes: the part within the request
    };
    struct Job {
        AligningBackend* owner = nullptr;
        Job* next = nullptr;  // that is free
        Request* request = nullptr;
        std::array<Edge, 2> edges{};
        Blocks middle{};
        Blocks guarded{};  // length 0: not a change
        bool writing = false;
        std::array<Request, 3> parts{};
        std::atomic<unsigned> parts_left{0};
        std::atomic<Error> error{Error::none};
    };
    /// Collects what goes to the storage together.
    class Batch {
      public:
        explicit Batch(Backend& storage) noexcept : storage_(storage) {}
        void add(Request& request) noexcept;
        void send() noexcept;

      private:
        Backend& storage_;
        std::array<Request*, 64> requests_{};
        std::size_t count_ = 0;
    };

    void told(Weight weight, const std::string& line) noexcept override;
    void resized(std::uint64_t size) noexcept override;
    void accept(Request& request, Batch& batch) noexcept;
    [[nodiscard]] bool passes(const Request& request) const noexcept;
    [[nodiscard]] Blocks inner_blocks(const Request& request) const noexcept;
    [[nodiscard]] Job* take_job(Request& request) noexcept;
    void measure(Job& job) const noexcept;
    void wait_in_line(Request& request) noexcept;
    void go_through_line() noexcept;

    static void begin(Job& job, Batch& batch) noexcept;
    static void begin_writing(Job& job, Batch& batch) noexcept;
    static void add_edge(Job& job, unsigned index, Operation operation, Batch& batch) noexcept;
    static void add_middle(Job& job, Batch& batch) noexcept;
    static void copy_edges(const Job& job) noexcept;
    static void cut_extents(const Job& job) noexcept;
    static void part_done(Request& part, Error error) noexcept;
    void finish(Job& job) noexcept;

    const std::unique_ptr<Backend> storage_;
    const std::uint32_t large_;  // bytes: the storage's minimum block
    Properties properties_;
    std::vector<std::uint8_t> bounce_;
    std::vector<Job> jobs_;
    Observer* observer_ = nullptr;  // changed only while nobody is told
    // Grows before its request is first refused, so that whoever ends a job sees it.
    std::atomic<std::uint32_t> waiting_count_{0};

    std::mutex lock_;  // of what follows; nothing is copied or submitted under it
    nbd::WriteGuard guard_;
    Job* free_ = nullptr;
    Request* waiting_first_ = nullptr;  // linked through Request::storage
    Request* waiting_last_ = nullptr;
    bool going_through_ = false;  // somebody goes through the line
    bool once_more_ = false;      // and shall do so again
    bool closing_ = false;
    std::uint64_t accepted_ = 0;  // requests that have not ended
    std::condition_variable idle_;
};

}  // namespace wnbd::backend
