// SPDX-License-Identifier: LGPL-2.1-or-later
#include <fcntl.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>
// <linux/fs.h> after the others: it defines macros
#include <linux/falloc.h>
#include <linux/fs.h>

#include <algorithm>
#include <cerrno>
#include <system_error>

#include "backend/file_handle.h"

namespace wnbd::backend {
namespace {

// What one system call moves at most on Linux, rounded down to whole blocks.
constexpr std::size_t call_max = 1U << 30;  // bytes

Error from_errno(int error) noexcept {
    switch (error) {
        case EPERM:
        case EACCES:
        case EROFS:
        case EBADF: return Error::not_permitted;
        case ENOMEM: return Error::no_memory;
        case EINVAL: return Error::invalid;
        case ENOSPC:
        case EDQUOT:
        case EFBIG: return Error::no_space;
        case EOVERFLOW: return Error::overflow;
        case EOPNOTSUPP:
        case ENOSYS:
        case ENODEV:
        case ENOTTY: return Error::not_supported;
        default: return Error::io;
    }
}

std::string text_of(int error) {
    return std::generic_category().message(error);
}

class PosixFile final : public FileHandle {
  public:
    PosixFile(int descriptor, std::uint64_t size) noexcept : descriptor_(descriptor), size_(size) {}
    ~PosixFile() override { ::close(descriptor_); }

    [[nodiscard]] std::uint64_t size() const noexcept override { return size_; }

    [[nodiscard]] Error read(std::uint64_t offset, std::span<std::uint8_t> to) noexcept override {
        while (!to.empty()) {
            const auto got = ::pread(descriptor_, to.data(), std::min(to.size(), call_max),
                                     static_cast<off_t>(offset));
            if (got < 0 && errno == EINTR) continue;
            if (got < 0) return from_errno(errno);
            // The file became shorter behind our back.
            if (got == 0) return Error::io;
            to = to.subspan(static_cast<std::size_t>(got));
            offset += static_cast<std::uint64_t>(got);
        }
        return Error::none;
    }

    [[nodiscard]] Error write(std::uint64_t offset,
                              std::span<const std::uint8_t> from) noexcept override {
        while (!from.empty()) {
            const auto put = ::pwrite(descriptor_, from.data(), std::min(from.size(), call_max),
                                      static_cast<off_t>(offset));
            if (put < 0 && errno == EINTR) continue;
            if (put < 0) return from_errno(errno);
            from = from.subspan(static_cast<std::size_t>(put));
            offset += static_cast<std::uint64_t>(put);
        }
        return Error::none;
    }

    [[nodiscard]] Error flush() noexcept override {
        return ::fdatasync(descriptor_) == 0 ? Error::none : from_errno(errno);
    }

    [[nodiscard]] Error punch(std::uint64_t offset, std::uint64_t length) noexcept override {
        return allocate(FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, offset, length);
    }

    // Behind the end there is nothing to lose, and a file system that cannot punch says so.
    [[nodiscard]] bool can_punch() const noexcept override {
        return ::fallocate(descriptor_, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE,
                           static_cast<off_t>(size_), 4096) == 0;
    }

    [[nodiscard]] Extent extent_at(std::uint64_t offset) const noexcept override {
        const auto from = static_cast<off_t>(offset);
        const auto until = [&](off_t position) {
            return std::min(static_cast<std::uint64_t>(position), size_) - offset;
        };
        const off_t data = ::lseek(descriptor_, from, SEEK_DATA);
        if (data < 0 && errno == ENXIO) return {size_ - offset, false};  // a hole up to the end
        if (data > from) return {until(data), false};
        const off_t hole = data == from ? ::lseek(descriptor_, from, SEEK_HOLE) : -1;
        return {hole > from ? until(hole) : size_ - offset, true};
    }

    [[nodiscard]] Error zero(std::uint64_t offset, std::uint64_t length) noexcept override {
        return allocate(FALLOC_FL_ZERO_RANGE, offset, length);
    }

  private:
    [[nodiscard]] Error allocate(int mode, std::uint64_t offset, std::uint64_t length) noexcept {
        if (length == 0) return Error::none;
        int result = 0;
        do {
            result = ::fallocate(descriptor_, mode, static_cast<off_t>(offset),
                                 static_cast<off_t>(length));
        } while (result != 0 && errno == EINTR);
        return result == 0 ? Error::none : from_errno(errno);
    }

    int descriptor_;
    std::uint64_t size_;
};

/// The size of a regular file or a block device.
Result<std::uint64_t, std::string> size_of(int descriptor) {
    struct stat status{};
    if (::fstat(descriptor, &status) != 0) return Failure{text_of(errno)};
    if (S_ISREG(status.st_mode)) return static_cast<std::uint64_t>(status.st_size);
    std::uint64_t bytes = 0;
    if (!S_ISBLK(status.st_mode))
        return Failure{std::string("it is neither a regular file nor a block device")};
    if (::ioctl(descriptor, BLKGETSIZE64, &bytes) != 0) return Failure{text_of(errno)};
    return bytes;
}

}  // namespace

Result<std::unique_ptr<FileHandle>, std::string> open_file(const std::string& path,
                                                           const FileOptions& options) {
    const int access = (options.read_only ? O_RDONLY : O_RDWR) | O_CLOEXEC;
    int descriptor = ::open(path.c_str(), access);
    const bool create =
        descriptor < 0 && errno == ENOENT && options.size != 0 && !options.read_only;
    if (create) descriptor = ::open(path.c_str(), access | O_CREAT | O_EXCL, 0600);
    if (descriptor < 0) return Failure{text_of(errno)};
    if (create && ::ftruncate(descriptor, static_cast<off_t>(options.size)) != 0) {
        const int error = errno;
        ::close(descriptor);
        ::unlink(path.c_str());
        return Failure{text_of(error)};
    }
    const auto size = size_of(descriptor);
    if (!size) {
        ::close(descriptor);
        return Failure{size.error()};
    }
    return std::unique_ptr<FileHandle>(new PosixFile(descriptor, size.value()));
}

}  // namespace wnbd::backend
