// SPDX-License-Identifier: LGPL-2.1-or-later
// The one interface that serves block requests. Memory, file and NBD stand behind it.
#pragma once

#include <cstddef>
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

enum class Operation : std::uint8_t {
    read,
    write,
    flush,
    trim,
    write_zeroes,
    extents,  // what the bytes of a range are: allocated, or a hole
};

/// What a backend can do and how large it is. Constant while it is open.
struct Properties {
    std::uint64_t size = 0;                     // bytes, at first: see Backend::size()
    std::uint32_t minimum_block = 1;            // bytes; offsets and lengths are multiples of it
    std::uint32_t preferred_block = 4096;       // bytes
    std::uint32_t maximum_payload = 32U << 20;  // bytes a read or write may carry
    bool read_only = false;
    bool can_flush = false;
    bool can_fua = false;
    bool can_trim = false;
    bool trim_reads_zeroes = false;  // what was trimmed reads as zeroes, for certain
    bool can_write_zeroes = false;
    bool can_tell_extents = false;
    bool rotational = false;
};

/// A run of bytes of one kind.
struct Extent {
    std::uint64_t length = 0;  // bytes, at least one
    bool allocated = true;     // takes up storage; also where it is not known
    bool zeroes = false;       // reads as zeroes, for certain
};

/// Room in each request for what the backend needs for it, so that it allocates nothing. Copies of
/// a request leave it out.
class RequestStorage {
  public:
    static constexpr std::size_t capacity = 128;  // bytes

    // NOLINTNEXTLINE(cppcoreguidelines-pro-type-member-init): the backend's first use does that
    RequestStorage() noexcept {}
    RequestStorage(const RequestStorage& /*other*/) noexcept : RequestStorage() {}
    // NOLINTNEXTLINE(bugprone-unhandled-self-assignment): nothing is assigned
    RequestStorage& operator=(const RequestStorage& /*other*/) noexcept { return *this; }
    ~RequestStorage() = default;

    [[nodiscard]] void* data() noexcept { return bytes_; }

  private:
    alignas(std::max_align_t) std::byte bytes_[capacity];
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
    /// extents: filled from the offset on, without gaps; may cover less than the range, but at
    /// least a part of it.
    std::span<Extent> extents{};
    std::size_t extent_count = 0;  // extents: how many were filled
    Done done = nullptr;
    void* context = nullptr;   // the caller's own
    RequestStorage storage{};  // the backend's own while in flight
};

/// Hears what becomes of a backend while it is in use. On any thread, one call at a time; may not
/// close the backend.
class Observer {
  public:
    enum class Weight : std::uint8_t { information, warning, error };
    /// One line for the log.
    virtual void told(Weight weight, const std::string& line) noexcept = 0;
    /// Backend::size() is another one now, in bytes.
    virtual void resized(std::uint64_t size) noexcept = 0;

  protected:
    ~Observer() = default;
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
    /// Bytes, as of now: a disk behind a network may come back with another size.
    [[nodiscard]] virtual std::uint64_t size() const noexcept { return properties().size; }

    /// Starts a request. Out-of-range or unsupported requests complete with an error.
    virtual void submit(Request& request) noexcept = 0;

    /// Starts many requests, in order: a backend that sends them somewhere sends them together.
    virtual void submit_many(std::span<Request* const> requests) noexcept {
        for (Request* const request : requests)
            submit(*request);
    }

    /// Who hears of events from now on; nullptr: nobody, and nobody is being told when this
    /// returns.
    virtual void observe(Observer* /*observer*/) noexcept {}

    /// Why requests complete with Error::disconnected, in one line; empty while the storage is
    /// there.
    [[nodiscard]] virtual std::string failure() const { return {}; }

    /// Ends orderly: waits for what is in flight, says goodbye (NBD: DISC), fails whatever comes
    /// later with Error::shutting_down. Idempotent; the destructor calls it.
    virtual void close() noexcept = 0;
};

}  // namespace wnbd::backend
