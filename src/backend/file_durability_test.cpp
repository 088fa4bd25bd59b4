// SPDX-License-Identifier: LGPL-2.1-or-later
// What a file is told to make stable, what it gives back, and what becomes of the system's errors.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <array>
#include <atomic>
#include <cerrno>
#include <csignal>
#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include "backend/blocking.h"
#include "backend/open_backend.h"

namespace {

std::atomic<unsigned> syncs{0};
std::atomic<int> sync_error{0};

}  // namespace

/// Stands before the system's: counts, and fails when it is told to.
extern "C" int fdatasync(int descriptor) {
    ++syncs;
    if (sync_error != 0) {
        errno = sync_error;
        return -1;
    }
    return static_cast<int>(::syscall(SYS_fdatasync, descriptor));
}

namespace wnbd::backend {
namespace {

using ::testing::HasSubstr;
using Bytes = std::vector<std::uint8_t>;

constexpr std::size_t file_size = 1U << 20;

class FileDurability : public ::testing::Test {
  protected:
    FileDurability() {
        auto name = (std::filesystem::temp_directory_path() / "wnbd-file-XXXXXX").string();
        folder_ = ::mkdtemp(name.data());
        std::ofstream(path()) << std::string(file_size, 'a');
    }
    ~FileDurability() override {
        sync_error = 0;
        std::filesystem::remove_all(folder_);
    }
    [[nodiscard]] std::string path(const std::string& name = "disk") const {
        return (folder_ / name).string();
    }
    [[nodiscard]] std::unique_ptr<Backend> open(const std::string& options = {}) const {
        auto opened = open_backend("file:" + path() + options);
        EXPECT_TRUE(opened.ok()) << (opened.ok() ? "" : opened.error());
        return opened.ok() ? std::move(opened.value()) : nullptr;
    }
    [[nodiscard]] std::uint64_t allocated() const {
        struct stat status{};
        EXPECT_EQ(::stat(path().c_str(), &status), 0);
        return static_cast<std::uint64_t>(status.st_blocks) * 512;
    }
    /// How often the file was synced in between.
    template <typename Act>
    static unsigned syncs_in(Act&& act) {
        const auto before = syncs.load();
        act();
        return syncs - before;
    }

    std::filesystem::path folder_;
};

TEST_F(FileDurability, WhatIsForcedIsSyncedAndNothingElse) {
    const auto disk = open();
    Bytes bytes(4096);
    const auto syncs_of = [&](Operation operation, bool forced) {
        return syncs_in([&] {
            const bool moves = operation == Operation::read || operation == Operation::write;
            Request request{
                .operation = operation, .force_unit_access = forced, .length = bytes.size()};
            if (moves) request.buffer = bytes;
            EXPECT_EQ(perform_blocking(*disk, request), Error::none);
        });
    };
    for (const auto operation : {Operation::write, Operation::trim, Operation::write_zeroes}) {
        EXPECT_EQ(syncs_of(operation, false), 0U);
        EXPECT_EQ(syncs_of(operation, true), 1U);
    }
    EXPECT_EQ(syncs_of(Operation::read, true), 0U);
    EXPECT_EQ(syncs_of(Operation::flush, false), 1U);
    EXPECT_EQ(syncs_of(Operation::flush, true), 1U);
}

TEST_F(FileDurability, TheLastOwnerSyncsOnce) {
    auto disk = open();
    Bytes bytes(512);
    ASSERT_EQ(write_blocking(*disk, 0, bytes), Error::none);
    EXPECT_EQ(syncs_in([&] { disk->close(); }), 1U);
    EXPECT_EQ(syncs_in([&] { disk.reset(); }), 0U);
    // Who may not write has nothing to sync.
    disk = open("?readonly=1");
    EXPECT_EQ(perform_blocking(*disk, {.operation = Operation::flush}), Error::none);
    EXPECT_EQ(syncs_in([&] { disk.reset(); }), 0U);
}

TEST_F(FileDurability, ASyncThatFailsFailsItsRequest) {
    const auto disk = open();
    Bytes bytes(512);
    sync_error = EIO;
    EXPECT_EQ(write_blocking(*disk, 0, bytes), Error::none);
    EXPECT_EQ(write_blocking(*disk, 0, bytes, true), Error::io);
    EXPECT_EQ(perform_blocking(*disk, {.operation = Operation::flush}), Error::io);
    sync_error = ENOSPC;
    EXPECT_EQ(perform_blocking(*disk, {.operation = Operation::flush}), Error::no_space);
}

TEST_F(FileDurability, ZeroesBecomeAHoleOnlyWhereTheyMay) {
    const auto disk = open();
    if (!disk->properties().trim_reads_zeroes) GTEST_SKIP() << "this file system has no holes";
    const auto zero = [&](bool may) {
        EXPECT_EQ(perform_blocking(*disk, {.operation = Operation::write_zeroes,
                                           .force_unit_access = true,
                                           .may_punch_hole = may,
                                           .length = file_size}),
                  Error::none);
    };
    Bytes bytes(file_size, 1);
    ASSERT_EQ(write_blocking(*disk, 0, bytes, true), Error::none);
    ASSERT_GE(allocated(), file_size);
    zero(false);
    EXPECT_GE(allocated(), file_size);
    zero(true);
    EXPECT_LT(allocated(), file_size / 2);
    EXPECT_EQ(read_blocking(*disk, 0, bytes), Error::none);
    EXPECT_EQ(bytes, Bytes(file_size, 0));
}

TEST_F(FileDurability, WhatTheSystemHasNoRoomForIsNoSpace) {
    const auto disk = open();
    Bytes bytes(4096);
    const auto handler = std::signal(SIGXFSZ, SIG_IGN);
    rlimit before{};
    ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
    const rlimit little{.rlim_cur = 65536, .rlim_max = before.rlim_max};
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &little), 0);
    const auto within = write_blocking(*disk, 0, bytes);
    const auto beyond = write_blocking(*disk, 131'072, bytes);
    ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
    (void)std::signal(SIGXFSZ, handler);
    EXPECT_EQ(within, Error::none);
    EXPECT_EQ(beyond, Error::no_space);
}

TEST_F(FileDurability, AFileOfAnotherSizeIsLeftAlone) {
    for (const char* const size : {"512K", "2M"}) {
        const auto opened = open_backend("file:" + path() + "?size=" + size);
        ASSERT_FALSE(opened.ok()) << size;
        EXPECT_THAT(opened.error(), HasSubstr("exists with 1048576 bytes"));
    }
    EXPECT_EQ(std::filesystem::file_size(path()), file_size);
}

TEST_F(FileDurability, APathMayHaveAQuestionMark) {
    std::filesystem::rename(path(), path("what?"));
    const auto opened = open_backend("file:" + path("what?") + "?readonly=1");
    ASSERT_TRUE(opened.ok()) << opened.error();
    EXPECT_TRUE(opened.value()->properties().read_only);
}

TEST(Extents, WhatIsNotAllocatedReadsAsZeroes) {
    const auto disk = std::move(open_backend("memory:1M").value());
    Bytes bytes(512, 1);
    ASSERT_EQ(write_blocking(*disk, 512U << 10, bytes), Error::none);
    struct Asked {
        std::size_t count = 0;
        Error error = Error::io;
    } asked;
    std::array<Extent, 8> runs{};
    Request request{.operation = Operation::extents,
                    .offset = 4096,
                    .length = (1U << 20) - 4096,
                    .extents = runs,
                    .context = &asked};
    request.done = [](Request& done, Error error) noexcept {
        *static_cast<Asked*>(done.context) = {done.extent_count, error};
    };
    disk->submit(request);
    ASSERT_EQ(asked.error, Error::none);
    ASSERT_EQ(asked.count, 3U);
    std::uint64_t total = 0;
    for (std::size_t at = 0; at < asked.count; ++at) {
        EXPECT_EQ(runs[at].allocated, at == 1) << at;
        EXPECT_EQ(runs[at].zeroes, at != 1) << at;
        total += runs[at].length;
    }
    EXPECT_EQ(total, request.length);
    EXPECT_EQ(runs[0].length, (512U << 10) - 4096);
    // As many as there is room for, without a gap; none is no question.
    request.extents = std::span(runs).first(2);
    disk->submit(request);
    EXPECT_EQ(asked.count, 2U);
    request.extents = {};
    disk->submit(request);
    EXPECT_EQ(asked.error, Error::invalid);
}

}  // namespace
}  // namespace wnbd::backend
