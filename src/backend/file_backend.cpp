// SPDX-License-Identifier: LGPL-2.1-or-later
#include "backend/file_backend.h"

#include <algorithm>
#include <array>
#include <atomic>
#include <utility>

#include "backend/checks.h"
#include "backend/file_handle.h"
#include "backend/fill_extents.h"

namespace wnbd::backend {
namespace {

constexpr std::uint64_t smallest_block = 512;  // bytes: what a disk's size is counted in

class FileBackend final : public Backend {
  public:
    FileBackend(std::unique_ptr<FileHandle> file, bool read_only) noexcept
        : properties_{.size = file->size(),
                      .read_only = read_only,
                      .can_flush = true,
                      .can_fua = true,
                      .can_trim = true,
                      .trim_reads_zeroes = !read_only && file->can_punch(),
                      .can_write_zeroes = true,
                      .can_tell_extents = true},
          file_(std::move(file)) {}
    ~FileBackend() override { FileBackend::close(); }

    [[nodiscard]] const Properties& properties() const noexcept override { return properties_; }
    void submit(Request& request) noexcept override { request.done(request, perform(request)); }

    void close() noexcept override {
        if (closed_.exchange(true) || properties_.read_only) return;
        // The last owner of unwritten data has nobody left to tell of a failure.
        (void)file_->flush();
    }

  private:
    [[nodiscard]] Error perform(Request& request) noexcept {
        if (closed_.load(std::memory_order_relaxed)) return Error::shutting_down;
        auto error = check_request(request, properties_, properties_.size);
        if (error == Error::none) error = transfer(request);
        if (error == Error::none && request.force_unit_access &&
            request.operation != Operation::read && request.operation != Operation::flush &&
            request.operation != Operation::extents)
            error = file_->flush();
        return error;
    }

    [[nodiscard]] Error transfer(Request& request) noexcept {
        switch (request.operation) {
            case Operation::read: return file_->read(request.offset, request.buffer);
            case Operation::write: return file_->write(request.offset, request.buffer);
            case Operation::flush: return properties_.read_only ? Error::none : file_->flush();
            case Operation::trim: {
                // Trim is a hint: a file system that cannot take it has nothing to report.
                const auto error = file_->punch(request.offset, request.length);
                return error == Error::not_supported ? Error::none : error;
            }
            case Operation::write_zeroes: return write_zeroes(request);
            case Operation::extents:
                return fill_extents(
                    request, [this](std::uint64_t offset) { return file_->extent_at(offset); });
        }
        return Error::invalid;
    }

    [[nodiscard]] Error write_zeroes(const Request& request) noexcept {
        if (request.length == 0) return Error::none;
        const auto error = request.may_punch_hole ? file_->punch(request.offset, request.length)
                                                  : file_->zero(request.offset, request.length);
        if (error != Error::not_supported) return error;
        static constexpr std::array<std::uint8_t, 64U << 10> zeroes{};
        for (std::uint64_t at = 0; at < request.length;) {
            const auto count = std::min<std::uint64_t>(request.length - at, zeroes.size());
            const auto written = file_->write(request.offset + at, std::span(zeroes).first(count));
            if (written != Error::none) return written;
            at += count;
        }
        return Error::none;
    }

    Properties properties_;
    std::unique_ptr<FileHandle> file_;
    std::atomic<bool> closed_{false};
};

}  // namespace

Result<std::unique_ptr<Backend>, std::string> open_file_backend(const std::string& path,
                                                                const FileOptions& options) {
    const auto failed = [&](const std::string& why) {
        return Failure{"cannot use the file '" + path + "' as a disk: " + why};
    };
    if (path.empty()) return Failure{std::string("the path of the file is missing")};
    const auto uneven = [](std::uint64_t size) {
        return "its size of " + std::to_string(size) + " bytes is not a multiple of 512";
    };
    if (options.size % smallest_block != 0) return failed(uneven(options.size));
    auto file = open_file(path, options);
    if (!file) return failed(file.error());
    const auto size = file.value()->size();
    if (size == 0) return failed("it is empty; give a size to create a new one");
    if (size % smallest_block != 0) return failed(uneven(size));
    if (options.size != 0 && size != options.size)
        return failed("it exists with " + std::to_string(size) + " bytes instead of " +
                      std::to_string(options.size));
    return std::unique_ptr<Backend>(new FileBackend(std::move(file.value()), options.read_only));
}

}  // namespace wnbd::backend
