// SPDX-License-Identifier: LGPL-2.1-or-later
#include "backend/memory_backend.h"

#include <algorithm>
#include <cstring>
#include <utility>

#include "backend/checks.h"
#include "backend/fill_extents.h"

namespace wnbd::backend {

Result<std::unique_ptr<Backend>, std::string> MemoryBackend::create(std::uint64_t size) {
    if (size == 0) return Failure{std::string("a memory disk of 0 bytes cannot be made")};
    if (size > max_size)
        return Failure{"a memory disk of " + std::to_string(size) + " bytes is larger than the " +
                       std::to_string(max_size) + " bytes allowed"};
    const auto count = (size + chunk_size - 1) / chunk_size;
    // calloc: the table of a large disk costs memory only where it is used.
    std::unique_ptr<Chunk[], Free> chunks(
        static_cast<Chunk*>(std::calloc(static_cast<std::size_t>(count), sizeof(Chunk))));
    if (chunks == nullptr)
        return Failure{"no memory for the table of a disk of " + std::to_string(size) + " bytes"};
    return std::unique_ptr<Backend>(new MemoryBackend(size, std::move(chunks)));
}

MemoryBackend::MemoryBackend(std::uint64_t size, std::unique_ptr<Chunk[], Free> chunks) noexcept
    : properties_{.size = size,
                  .can_flush = true,
                  .can_fua = true,
                  .can_trim = true,
                  .trim_reads_zeroes = true,
                  .can_write_zeroes = true,
                  .can_tell_extents = true},
      chunk_count_((size + chunk_size - 1) / chunk_size),
      chunks_(std::move(chunks)) {}

MemoryBackend::~MemoryBackend() {
    for (std::uint64_t i = 0; i < chunk_count_; ++i)
        std::free(chunks_[i]);
}

void MemoryBackend::submit(Request& request) noexcept {
    request.done(request, perform(request));
}

Extent MemoryBackend::extent_at(std::uint64_t offset) const noexcept {
    // Enough to describe a large hole in few runs.
    constexpr std::uint64_t chunks_max = 4096;
    const auto allocated = [this](std::uint64_t index) {
        const std::lock_guard lock(locks_[index % lock_count]);
        return chunks_[index] != nullptr;
    };
    const std::uint64_t first = offset / chunk_size;
    const std::uint64_t end = std::min(first + chunks_max, chunk_count_);
    const bool state = allocated(first);
    std::uint64_t next = first + 1;
    while (next < end && allocated(next) == state)
        ++next;
    return {std::min(next * chunk_size, properties_.size) - offset, state};
}

Error MemoryBackend::perform(Request& request) noexcept {
    if (closed_.load(std::memory_order_relaxed)) return Error::shutting_down;
    const auto checked = check_request(request, properties_, properties_.size);
    if (checked != Error::none || request.operation == Operation::flush) return checked;
    if (request.operation == Operation::extents)
        return fill_extents(request, [this](std::uint64_t offset) { return extent_at(offset); });
    for (std::uint64_t at = 0; at < request.length;) {
        const auto count =
            std::min(request.length - at, chunk_size - (request.offset + at) % chunk_size);
        const auto error = perform_in_chunk(request, at, count);
        if (error != Error::none) return error;
        at += count;
    }
    return Error::none;
}

Error MemoryBackend::perform_in_chunk(const Request& request, std::uint64_t at,
                                      std::uint64_t count) noexcept {
    const auto index = (request.offset + at) / chunk_size;
    const auto within = (request.offset + at) % chunk_size;
    const std::lock_guard lock(locks_[index % lock_count]);
    auto& chunk = chunks_[index];
    switch (request.operation) {
        case Operation::read:
            if (chunk != nullptr)
                std::memcpy(request.buffer.data() + at, chunk + within, count);
            else
                std::memset(request.buffer.data() + at, 0, count);
            return Error::none;
        case Operation::write:
            if (chunk == nullptr) chunk = static_cast<Chunk>(std::calloc(1, chunk_size));
            if (chunk == nullptr) return Error::no_memory;
            std::memcpy(chunk + within, request.buffer.data() + at, count);
            return Error::none;
        case Operation::trim:
        case Operation::write_zeroes:
            if (chunk == nullptr) return Error::none;
            if (count == chunk_size)
                std::free(std::exchange(chunk, nullptr));
            else
                std::memset(chunk + within, 0, count);
            return Error::none;
        case Operation::flush:
        case Operation::extents: break;
    }
    return Error::invalid;
}

}  // namespace wnbd::backend
