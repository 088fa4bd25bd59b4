// SPDX-License-Identifier: LGPL-2.1-or-later
// The one interface that serves block requests. Memory, file and NBD stand behind it.
#pragma once

#include <cstdint>
#include <span>
#include <string>

namespace wnbd::backend {

/// Why a request failed. Keeps what an NBD errno says (NBD protocol, "Error values"), so that it
/// can become the right sense data.
enum class Error : std::uint8_t {
    none,
    not_permitted,  // EPERM: the medium may not be written
    io,             // EIO
    no_memory,      // ENOMEM
    invalid,        // EINVAL: out of range, misaligned, unknown flag
    no_space,       // ENOSPC
    overflow,       // EOVERFLOW
    not_supported,  // ENOTSUP
    shutting_down,  // ESHUTDOWN
    disconnected,   // the way to the storage is gone
};

enum class Operation : std::uint8_t { read, write, flush, trim, write_zeroes };

/// What a backend can do and how large it is. Constant while it is open, but for the size.
struct Properties {
    std::uint64_t size = 0;                     // bytes
    std::uint32_t minimum_block = 1;            // bytes; offsets and lengths are multiples of it
    std::uint32_t preferred_block = 4096;       // bytes
    std::uint32_t maximum_payload = 32U << 20;  // bytes a read or write may carry
    bool read_only = false;
    bool can_flush = false;
    bool can_fua = false;
    bool can_trim = false;
    bool trim_reads_zeroes = false;  // what was trimmed reads as zeroes, for certain
    bool can_write_zeroes = false;
    bool rotational = false;
};

/// One request in flight. The caller owns it and its buffer and keeps both until `done` is called;
/// the backend calls `done` exactly once, from any thread, possibly before submit() returns.
struct Request {
    using Done = void (*)(Request& request, Error error) noexcept;

    Operation operation = Operation::read;
    bool force_unit_access = false;    // write, trim, write_zeroes: stable before `done`
    bool may_punch_hole = true;        // write_zeroes: the zeroes need not stay allocated
    std::uint64_t offset = 0;          // bytes
    std::uint64_t length = 0;          // bytes; read and write: equals buffer.size()
    std::span<std::uint8_t> buffer{};  // read: filled; write: payload, not changed
    Done done = nullptr;
    void* context = nullptr;          // the caller's own
    void* backend_private = nullptr;  // the backend's own while in flight
};

/// A run of bytes that take up storage, or of bytes that do not and read as zeroes.
struct Extent {
    std::uint64_t length = 0;  // bytes, at least one
    bool allocated = true;     // also where it is not known
};

/// Thread-safe: any thread may submit. Never throws, never blocks for longer than a copy takes
/// (file: than the system call takes). Requests may complete in any order; a flush covers every
/// write that completed before the flush was submitted.
class Backend {
  public:
    Backend() = default;
    Backend(const Backend&) = delete;
    Backend& operator=(const Backend&) = delete;
    virtual ~Backend() = default;

    [[nodiscard]] virtual const Properties& properties() const noexcept = 0;

    /// Starts a request. Out-of-range or unsupported requests complete with an error.
    virtual void submit(Request& request) noexcept = 0;

    /// Starts many requests, in order: a backend that sends them somewhere sends them together.
    virtual void submit_many(std::span<Request* const> requests) noexcept {
        for (Request* const request : requests)
            submit(*request);
    }

    /// What is so of the bytes from `offset`, which is within the disk, on: of as many as the
    /// backend cares to look at. Waits for nobody, but may ask the system.
    [[nodiscard]] virtual Extent extent_at(std::uint64_t offset) const noexcept {
        return {properties().size - offset, true};
    }

    /// Why requests complete with Error::disconnected, in one line; empty while the storage is
    /// there.
    [[nodiscard]] virtual std::string failure() const { return {}; }

    /// Ends orderly: waits for what is in flight, says goodbye (NBD: DISC), fails whatever comes
    /// later with Error::shutting_down. Idempotent; the destructor calls it.
    virtual void close() noexcept = 0;
};

}  // namespace wnbd::backend
