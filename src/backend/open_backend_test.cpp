// SPDX-License-Identifier: LGPL-2.1-or-later
// From text to backend, and the file backend, which has no other door.
#include "backend/open_backend.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/stat.h>

#include <filesystem>
#include <fstream>
#include <vector>

#include "backend/blocking.h"

namespace wnbd::backend {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;
using Bytes = std::vector<std::uint8_t>;

std::string error_of(const std::string& text) {
    const auto opened = open_backend(text);
    EXPECT_FALSE(opened.ok()) << text;
    if (opened.ok()) return {};
    EXPECT_THAT(opened.error(), Not(HasSubstr("\n")));
    return opened.error();
}

std::unique_ptr<Backend> good(const std::string& text) {
    auto opened = open_backend(text);
    EXPECT_TRUE(opened.ok()) << (opened.ok() ? "" : opened.error());
    return opened.ok() ? std::move(opened.value()) : nullptr;
}

class FileBackend : public ::testing::Test {
  protected:
    FileBackend() {
        auto name = (std::filesystem::temp_directory_path() / "wnbd-file-XXXXXX").string();
        folder_ = ::mkdtemp(name.data());
    }
    ~FileBackend() override { std::filesystem::remove_all(folder_); }

    std::string path(const std::string& name = "disk") const { return (folder_ / name).string(); }
    void make(std::size_t size, char value = 0) const {
        std::ofstream(path()) << std::string(size, value);
    }
    std::string content() const {
        std::ifstream file(path(), std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }

    std::filesystem::path folder_;
};

TEST(ParseSize, TakesSuffixesAndRefusesTheRest) {
    const auto size = [](const char* text) { return parse_size(text).value(); };
    EXPECT_EQ(size("1"), 1U);
    EXPECT_EQ(size("64K"), 65536U);
    EXPECT_EQ(size("64m"), 64U << 20);
    EXPECT_EQ(size("3G"), std::uint64_t{3} << 30);
    EXPECT_EQ(size("2T"), std::uint64_t{2} << 40);
    EXPECT_EQ(size("9223372036854775807"), (std::uint64_t{1} << 63) - 1);
    for (const char* const bad : {"", "K", "0", "0M", "-1", "1X", "1KB", "1 K", "0x10",
                                  "9223372036854775808", "8388608T", "99999999999999999999"})
        EXPECT_FALSE(parse_size(bad).ok()) << bad;
}

TEST(OpenBackend, MemoryHasTheSizeAsked) {
    EXPECT_EQ(good("memory:64M")->properties().size, 64U << 20);
    EXPECT_THAT(error_of("memory:"), HasSubstr("bad size"));
    EXPECT_THAT(error_of("memory:9223372036854775807"), HasSubstr("larger"));
}

TEST(OpenBackend, NonsenseIsNamed) {
    EXPECT_THAT(error_of(""), HasSubstr("names no disk"));
    EXPECT_THAT(error_of("disk.img"), HasSubstr("file:PATH"));
    EXPECT_THAT(error_of("nbd://host/x?tls=maybe"), HasSubstr("maybe"));
    EXPECT_THAT(error_of("nbd://host:0/x"), HasSubstr("1 to 65535"));
    EXPECT_THAT(error_of("nbd://host:65536/x"), HasSubstr("1 to 65535"));
    EXPECT_THAT(error_of("ftp://host/x"), HasSubstr("'ftp'"));
    EXPECT_THAT(error_of("nbd+unix:///x?socket=/nonexistent"),
                HasSubstr("cannot open export 'x' of NBD server /nonexistent: cannot connect"));
}

TEST_F(FileBackend, WhatIsWrittenIsInTheFile) {
    make(8192, 'a');
    auto disk = good("file:" + path());
    ASSERT_EQ(disk->properties().size, 8192U);
    Bytes bytes(512, 'b');
    EXPECT_EQ(write_blocking(*disk, 4096, bytes, true), Error::none);
    EXPECT_EQ(perform_blocking(*disk, {.operation = Operation::flush}), Error::none);
    auto expected = std::string(8192, 'a');
    expected.replace(4096, 512, 512, 'b');
    EXPECT_EQ(content(), expected);
    Bytes read(8192);
    EXPECT_EQ(read_blocking(*disk, 0, read), Error::none);
    EXPECT_EQ(std::string(read.begin(), read.end()), expected);
}

TEST_F(FileBackend, TrimAndWriteZeroesZeroTheirRange) {
    for (const auto operation : {Operation::trim, Operation::write_zeroes})
        for (const bool punch : {false, true}) {
            make(65536, 'a');
            auto disk = good("file:" + path());
            ASSERT_EQ(perform_blocking(*disk, {.operation = operation,
                                               .may_punch_hole = punch,
                                               .offset = 5120,
                                               .length = 20480}),
                      Error::none);
            auto expected = std::string(65536, 'a');
            expected.replace(5120, 20480, 20480, '\0');
            EXPECT_EQ(content(), expected);
        }
}

TEST_F(FileBackend, SizeCreatesAMissingFileSparse) {
    auto disk = good("file:" + path() + "?size=1G");
    EXPECT_EQ(disk->properties().size, 1U << 30);
    struct stat status{};
    ASSERT_EQ(::stat(path().c_str(), &status), 0);
    EXPECT_EQ(status.st_size, 1 << 30);
    EXPECT_LT(status.st_blocks * 512, 1 << 20);
    // The same size opens it again; another one leaves it alone.
    EXPECT_EQ(good("file:" + path() + "?size=1G")->properties().size, 1U << 30);
    EXPECT_THAT(error_of("file:" + path() + "?size=2G"),
                HasSubstr("exists with 1073741824 bytes instead of 2147483648"));
    ASSERT_EQ(::stat(path().c_str(), &status), 0);
    EXPECT_EQ(status.st_size, 1 << 30);
}

TEST_F(FileBackend, ExtentsTellWhatWasWritten) {
    constexpr std::uint64_t size = 64U << 20;
    auto disk = good("file:" + path() + "?size=64M");
    EXPECT_TRUE(disk->properties().trim_reads_zeroes);
    const auto extent_at = [&](std::uint64_t offset) {
        const auto extents = extents_blocking(*disk, offset, size - offset, 1);
        return extents.empty() ? Extent{} : extents[0];
    };
    EXPECT_EQ(extent_at(4096).length, size - 4096);
    EXPECT_FALSE(extent_at(4096).allocated);
    constexpr std::uint64_t written = 32U << 20;
    Bytes bytes(1U << 20, 1);
    ASSERT_EQ(write_blocking(*disk, written, bytes), Error::none);
    EXPECT_FALSE(extent_at(0).allocated);
    EXPECT_EQ(extent_at(0).length, written);
    EXPECT_TRUE(extent_at(written).allocated);
    EXPECT_GE(extent_at(written + 512).length, bytes.size() - 512);
    EXPECT_FALSE(extent_at(size - 512).allocated);
    ASSERT_EQ(perform_blocking(
                  *disk, {.operation = Operation::trim, .offset = written, .length = bytes.size()}),
              Error::none);
    EXPECT_EQ(extent_at(0).length, size);
}

TEST_F(FileBackend, ReadOnlyRefusesEveryChange) {
    make(4096, 'a');
    auto disk = good("file:" + path() + "?readonly=1");
    EXPECT_TRUE(disk->properties().read_only);
    Bytes bytes(512);
    EXPECT_EQ(write_blocking(*disk, 0, bytes), Error::not_permitted);
    for (const auto operation : {Operation::trim, Operation::write_zeroes})
        EXPECT_EQ(perform_blocking(*disk, {.operation = operation, .length = 512}),
                  Error::not_permitted);
    EXPECT_EQ(read_blocking(*disk, 0, bytes), Error::none);
    EXPECT_EQ(content(), std::string(4096, 'a'));
}

TEST_F(FileBackend, UnusableFilesAreNamedAndNothingIsLeftBehind) {
    EXPECT_THAT(error_of("file:"), HasSubstr("path of the file is missing"));
    EXPECT_THAT(error_of("file:" + path()), HasSubstr("No such file"));
    EXPECT_THAT(error_of("file:" + path() + "?readonly=1&size=1M"), HasSubstr("No such file"));
    EXPECT_THAT(error_of("file:" + path() + "?size=1000"), HasSubstr("1000 bytes"));
    EXPECT_THAT(error_of("file:" + path() + "?size=8191P"), HasSubstr("bad size"));
    EXPECT_THAT(error_of("file:" + path() + "?colour=red"), HasSubstr("unknown option 'colour'"));
    EXPECT_THAT(error_of("file:" + path() + "?readonly=yes"), HasSubstr("0 or 1"));
    EXPECT_FALSE(std::filesystem::exists(path()));
    EXPECT_THAT(error_of("file:" + folder_.string() + "?readonly=1"),
                HasSubstr("neither a regular file"));
    make(0);
    EXPECT_THAT(error_of("file:" + path()), HasSubstr("it is empty"));
    make(1000);
    EXPECT_THAT(error_of("file:" + path()),
                HasSubstr("size of 1000 bytes is not a multiple of 512"));
    // Larger than any file system here can hold: what was begun is undone.
    EXPECT_NE(error_of("file:" + path("huge") + "?size=8388607T"), "");
    EXPECT_FALSE(std::filesystem::exists(path("huge")));
}

TEST_F(FileBackend, AFileThatShrinksUnderUsFailsItsReads) {
    make(8192);
    auto disk = good("file:" + path());
    std::filesystem::resize_file(path(), 4096);
    Bytes bytes(512);
    EXPECT_EQ(read_blocking(*disk, 4096, bytes), Error::io);
    EXPECT_EQ(read_blocking(*disk, 0, bytes), Error::none);
}

}  // namespace
}  // namespace wnbd::backend
