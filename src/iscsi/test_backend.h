// SPDX-License-Identifier: LGPL-2.1-or-later
// A backend for tests: memory, with what it can do taken away and completions held back at will.
#pragma once

#include <algorithm>
#include <deque>
#include <memory>
#include <utility>
#include <vector>

#include "backend/memory_backend.h"

namespace wnbd::iscsi::test {

/// Not thread-safe: used by the test's thread alone.
class TestBackend final : public backend::Backend {
  public:
    struct Seen {
        backend::Operation operation;
        std::uint64_t offset;
        std::uint64_t length;
        bool force_unit_access;
        const std::uint8_t* buffer;
        bool may_punch_hole;
    };

    explicit TestBackend(std::uint64_t size)
        : memory_(std::move(backend::MemoryBackend::create(size).value())),
          can(memory_->properties()) {}

    [[nodiscard]] const backend::Properties& properties() const noexcept override { return can; }
    void submit(backend::Request& request) noexcept override {
        seen.push_back({request.operation, request.offset, request.length,
                        request.force_unit_access, request.buffer.data(), request.may_punch_hole});
        if (hold)
            held.push_back(&request);
        else
            serve(request);
    }
    void submit_many(std::span<backend::Request* const> requests) noexcept override {
        batches.push_back(requests.size());
        Backend::submit_many(requests);
    }
    void close() noexcept override { closed = true; }

    void release_one() {
        backend::Request* const request = held.front();
        held.erase(held.begin());
        serve(*request);
    }
    void release_all() {
        while (!held.empty())
            release_one();
    }

  private:
    void serve(backend::Request& request) noexcept {
        if (fail != backend::Error::none) return request.done(request, fail);
        if (request.operation == backend::Operation::extents && !told.empty()) {
            const auto extents = std::move(told.front());
            told.pop_front();
            request.extent_count = std::min(extents.size(), request.extents.size());
            std::copy_n(extents.begin(), request.extent_count, request.extents.begin());
            return request.done(request, backend::Error::none);
        }
        memory_->submit(request);
    }

    std::unique_ptr<backend::Backend> memory_;

  public:
    backend::Properties can;
    bool hold = false;
    bool closed = false;
    backend::Error fail = backend::Error::none;
    std::deque<std::vector<backend::Extent>> told;  // of the next requests; then memory's own
    std::vector<Seen> seen;
    std::vector<std::size_t> batches;  // how many requests came together
    std::vector<backend::Request*> held;
};

}  // namespace wnbd::iscsi::test
