// SPDX-License-Identifier: LGPL-2.1-or-later
// Our NBD backend against nbdkit, qemu-nbd and nbd-server as they are.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <array>
#include <condition_variable>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <random>
#include <span>
#include <string>
#include <thread>
#include <vector>

#include "backend/blocking.h"
#include "backend/open_backend.h"
#include "base/big_endian.h"
#include "tests/interop/server_process.h"

namespace wnbd::test {
namespace {

using backend::Backend;
using backend::Error;
using backend::Operation;
using ::testing::HasSubstr;
using Bytes = std::vector<std::uint8_t>;
using Words = std::vector<std::string>;

constexpr std::size_t disk_size = 16U << 20;

/// A server with its files. The words SOCKET, PORT, DISK and FOLDER stand for what they name.
class Server {
  public:
    Server(Words command, bool tcp, const std::string& export_name = "") : name_(export_name) {
        std::ofstream(folder_.file("disk")) << std::string(disk_size, '\0');
        std::ofstream(folder_.file("psk")) << "alice:0123456789abcdef0123456789abcdef\n";
        const auto socket = tcp ? std::string() : folder_.file("socket");
        const auto port = tcp ? free_port() : std::uint16_t{0};
        write_nbd_server_config(port);
        for (auto& word : command) {
            replace(word, "SOCKET", socket);
            replace(word, "PORT", std::to_string(port));
            replace(word, "DISK", folder_.file("disk"));
            replace(word, "FOLDER", folder_.file(""));
        }
        process_ = std::make_unique<ServerProcess>(command, socket, port);
    }

    [[nodiscard]] std::string uri() const { return process_->uri(name_); }
    [[nodiscard]] std::string uri(const std::string& name) const { return process_->uri(name); }
    [[nodiscard]] std::string disk_content() const {
        std::ifstream file(folder_.file("disk"), std::ios::binary);
        return {std::istreambuf_iterator<char>(file), {}};
    }
    void kill() { process_->kill(); }

  private:
    static void replace(std::string& word, const std::string& what, const std::string& with) {
        if (const auto at = word.find(what); at != std::string::npos)
            word.replace(at, what.size(), with);
    }
    void write_nbd_server_config(std::uint16_t port) const {
        std::ofstream(folder_.file("nbd-server.conf"))
            << "[generic]\nlistenaddr = 127.0.0.1\nport = " << port << "\nallowlist = true\n"
            << "[disk]\nexportname = " << folder_.file("disk")
            << "\nflush = true\nfua = true\ntrim = true\n"
            << "[locked]\nexportname = " << folder_.file("disk") << "\nreadonly = true\n";
    }

    TemporaryDirectory folder_;
    std::string name_;
    std::unique_ptr<ServerProcess> process_;
};

Words nbdkit(Words more) {
    Words words{"nbdkit", "-f", "--exit-with-parent", "-U", "SOCKET"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
}
Words nbdkit_tcp(Words more) {
    Words words{"nbdkit", "-f", "--exit-with-parent", "-i", "127.0.0.1", "-p", "PORT"};
    words.insert(words.end(), more.begin(), more.end());
    return words;
}
Words qemu_nbd(Words more) {
    Words words{"qemu-nbd", "-k", "SOCKET", "-f", "raw", "--discard=unmap"};
    words.insert(words.end(), more.begin(), more.end());
    words.push_back("DISK");
    return words;
}

std::unique_ptr<Backend> open(const std::string& uri) {
    auto opened = backend::open_backend(uri);
    EXPECT_TRUE(opened.ok()) << (opened.ok() ? "" : opened.error());
    return opened.ok() ? std::move(opened.value()) : nullptr;
}

std::string open_error(const std::string& uri) {
    auto opened = backend::open_backend(uri);
    EXPECT_FALSE(opened.ok());
    return opened.ok() ? "" : opened.error();
}

Bytes random_bytes(std::mt19937_64& random, std::size_t size) {
    Bytes bytes(size);
    for (auto& byte : bytes)
        byte = static_cast<std::uint8_t>(random());
    return bytes;
}

/// A batch of requests that is submitted at once and waited for.
class Batch {
  public:
    void add(Operation operation, std::uint64_t offset, std::span<std::uint8_t> buffer) {
        requests_.push_back(std::make_unique<backend::Request>(backend::Request{
            .operation = operation,
            .offset = offset,
            .length = buffer.size(),
            .buffer = buffer,
            .done = [](backend::Request& request,
                       Error error) noexcept { static_cast<Batch*>(request.context)->note(error); },
            .context = this}));
    }
    /// The number of those without an error.
    std::size_t run(Backend& disk) {
        std::vector<backend::Request*> list;
        for (const auto& request : requests_)
            list.push_back(request.get());
        disk.submit_many(list);
        std::unique_lock lock(lock_);
        changed_.wait(lock, [&] { return done_ == requests_.size(); });
        return good_;
    }

  private:
    void note(Error error) {
        // Told under the lock: whoever waits may end this object right after.
        const std::lock_guard lock(lock_);
        ++done_;
        if (error == Error::none) ++good_;
        changed_.notify_one();
    }

    std::vector<std::unique_ptr<backend::Request>> requests_;
    std::mutex lock_;
    std::condition_variable changed_;
    std::size_t done_ = 0;
    std::size_t good_ = 0;
};

/// Random writes with many in flight, then everything is read back and compared.
void expect_round_trip(Backend& disk, std::size_t granularity = 512) {
    std::mt19937_64 random(7);
    Bytes expected(disk_size);
    ASSERT_GE(disk.properties().size, disk_size);
    for (int round = 0; round < 4; ++round) {
        // One slice of the disk per writer: the order of requests in flight is not defined.
        constexpr std::size_t writers = 32;
        std::vector<Bytes> payloads;
        payloads.reserve(writers);
        Batch writes;
        for (std::size_t i = 0; i < writers; ++i) {
            constexpr auto slice = disk_size / writers;
            const auto size = (random() % (slice / granularity) + 1) * granularity;
            const auto at = i * slice + random() % ((slice - size) / granularity + 1) * granularity;
            payloads.push_back(random_bytes(random, size));
            std::copy(payloads.back().begin(), payloads.back().end(),
                      expected.begin() + static_cast<std::ptrdiff_t>(at));
            writes.add(Operation::write, at, payloads.back());
        }
        ASSERT_EQ(writes.run(disk), writers);
        Bytes seen(disk_size, 0xee);
        Batch reads;
        std::size_t count = 0;
        for (std::size_t at = 0; at < disk_size; ++count) {
            const auto size = std::min((random() % 200 + 1) * 4096, disk_size - at);
            reads.add(Operation::read, at, std::span(seen).subspan(at, size));
            at += size;
        }
        ASSERT_EQ(reads.run(disk), count);
        ASSERT_TRUE(seen == expected) << "round " << round;
    }
}

/// What the server offers beyond reads and writes does what it says.
void expect_extras(Backend& disk) {
    const auto& properties = disk.properties();
    Bytes ones(65536, 1);
    Bytes seen(65536);
    if (properties.can_flush) {
        EXPECT_EQ(perform_blocking(disk, {.operation = Operation::flush}), Error::none);
    }
    ASSERT_EQ(write_blocking(disk, 0, ones, properties.can_fua), Error::none);
    if (properties.can_write_zeroes) {
        for (const bool punch : {true, false}) {
            ASSERT_EQ(write_blocking(disk, 0, ones), Error::none);
            EXPECT_EQ(perform_blocking(disk, {.operation = Operation::write_zeroes,
                                              .force_unit_access = properties.can_fua,
                                              .may_punch_hole = punch,
                                              .offset = 4096,
                                              .length = 8192}),
                      Error::none);
            ASSERT_EQ(read_blocking(disk, 0, seen), Error::none);
            auto expected = ones;
            std::fill(expected.begin() + 4096, expected.begin() + 12288, 0);
            EXPECT_TRUE(seen == expected);
        }
    }
    if (properties.can_trim) {
        ASSERT_EQ(write_blocking(disk, 0, ones), Error::none);
        EXPECT_EQ(
            perform_blocking(disk, {.operation = Operation::trim, .offset = 4096, .length = 8192}),
            Error::none);
        // What a trimmed range holds is the server's business; its neighbours are ours.
        ASSERT_EQ(read_blocking(disk, 0, seen), Error::none);
        EXPECT_TRUE(std::equal(seen.begin(), seen.begin() + 4096, ones.begin()));
        EXPECT_TRUE(std::equal(seen.begin() + 12288, seen.end(), ones.begin()));
    }
}

struct Case {
    const char* name;
    Words command;
    bool tcp = false;
    const char* export_name = "";
    std::size_t granularity = 512;  // bytes: what the server wants requests to be multiples of
};

class ServerCase : public ::testing::TestWithParam<Case> {};

TEST_P(ServerCase, DataComeBackAsTheyWent) {
    const auto& [name, command, tcp, export_name, granularity] = GetParam();
    const Server server(command, tcp, export_name);
    const auto disk = open(server.uri());
    ASSERT_NE(disk, nullptr);
    EXPECT_EQ(disk->properties().size, disk_size);
    expect_round_trip(*disk, granularity);
    expect_extras(*disk);
    disk->close();
    EXPECT_EQ(disk->failure(), "");
}

std::vector<Case> cases() {
    return {
        {"nbdkit_memory", nbdkit({"memory", "16M"})},
        {"nbdkit_memory_tcp", nbdkit_tcp({"memory", "16M"}), true},
        {"nbdkit_file", nbdkit({"file", "DISK"})},
        {"nbdkit_export_name", nbdkit({"memory", "16M"}), false, "any%20name"},
        {"nbdkit_plain_newstyle", nbdkit({"--mask-handshake=0", "memory", "16M"})},
        {"nbdkit_fixed_newstyle_with_zeroes", nbdkit({"--mask-handshake=1", "memory", "16M"})},
        {"nbdkit_plain_newstyle_without_zeroes", nbdkit({"--mask-handshake=2", "memory", "16M"})},
        {"nbdkit_newstyle_simple", nbdkit({"--newstyle", "--no-sr", "memory", "16M"})},
        {"nbdkit_one_thread", nbdkit({"-t", "1", "memory", "16M"})},
        {"nbdkit_delayed", nbdkit({"--filter=delay", "memory", "16M", "rdelay=1ms", "wdelay=1ms"})},
        {"nbdkit_block_sizes",
         nbdkit({"--filter=blocksize-policy", "memory", "16M", "blocksize-minimum=4096",
                 "blocksize-preferred=4096", "blocksize-maximum=64K",
                 "blocksize-error-policy=error"}),
         false, "", 4096},
        {"nbdkit_without_zeroing", nbdkit({"--filter=nozero", "memory", "16M"})},
        {"qemu_nbd", qemu_nbd({})},
        {"qemu_nbd_export_name", qemu_nbd({"-x", "disk"}), false, "disk"},
        {"nbd_server", {"nbd-server", "-d", "-C", "FOLDERnbd-server.conf"}, true, "disk"},
    };
}

INSTANTIATE_TEST_SUITE_P(Interop, ServerCase, ::testing::ValuesIn(cases()),
                         [](const auto& info) { return info.param.name; });

TEST(Interop, TheServersFileHoldsWhatWasWritten) {
    for (const auto& command : {nbdkit({"file", "DISK"}), qemu_nbd({})}) {
        const Server server(command, false);
        const auto disk = open(server.uri());
        Bytes bytes(4096, 'w');
        ASSERT_EQ(write_blocking(*disk, 8192, bytes), Error::none);
        ASSERT_EQ(perform_blocking(*disk, {.operation = Operation::flush}), Error::none);
        auto expected = std::string(disk_size, '\0');
        expected.replace(8192, 4096, 4096, 'w');
        EXPECT_TRUE(server.disk_content() == expected);
    }
}

TEST(Interop, ReadOnlyExportsAreReadOnly) {
    const auto expect_read_only = [](const Server& server) {
        const auto disk = open(server.uri());
        ASSERT_NE(disk, nullptr);
        EXPECT_TRUE(disk->properties().read_only);
        Bytes bytes(512);
        EXPECT_EQ(read_blocking(*disk, 0, bytes), Error::none);
        EXPECT_EQ(write_blocking(*disk, 0, bytes), Error::not_permitted);
    };
    expect_read_only(Server(nbdkit({"-r", "file", "DISK"}), false));
    expect_read_only(Server(qemu_nbd({"-r"}), false));
    expect_read_only(Server({"nbd-server", "-d", "-C", "FOLDERnbd-server.conf"}, true, "locked"));
}

TEST(Interop, TheServersErrorsKeepTheirMeaning) {
    using Pair = std::pair<const char*, Error>;
    for (const auto& [name, error] :
         {Pair{"EPERM", Error::not_permitted}, Pair{"EIO", Error::io},
          Pair{"ENOMEM", Error::no_memory}, Pair{"EINVAL", Error::invalid},
          Pair{"ENOSPC", Error::no_space}, Pair{"ESHUTDOWN", Error::shutting_down}}) {
        const Server server(nbdkit({"--filter=error", "memory", "16M", "error=" + std::string(name),
                                    "error-rate=100%"}),
                            false);
        const auto disk = open(server.uri() + "&reconnect-timeout=0");
        Bytes bytes(512);
        EXPECT_EQ(read_blocking(*disk, 0, bytes), error) << name;
        EXPECT_EQ(write_blocking(*disk, 0, bytes), error) << name;
        EXPECT_EQ(perform_blocking(*disk, {.operation = Operation::trim, .length = 512}), error)
            << name;
        EXPECT_EQ(disk->failure(), "");
    }
}

TEST(Interop, SomeErrorsAmongManyRequestsHarmNoOther) {
    const Server server(
        nbdkit({"--filter=error", "pattern", "16M", "error=EIO", "error-pread-rate=30%"}), false);
    const auto disk = open(server.uri());
    constexpr std::size_t count = 2000;
    std::vector<Bytes> buffers(count, Bytes(512));
    Batch reads;
    for (std::size_t i = 0; i < count; ++i)
        reads.add(Operation::read, i * 512, buffers[i]);
    const auto good = reads.run(*disk);
    EXPECT_GT(good, count / 2);
    EXPECT_LT(good, count);
    std::size_t right = 0;
    for (std::size_t i = 0; i < count; ++i) {
        // The pattern: each eight bytes hold their own offset, big-endian.
        const auto at = i * 512 + 504;
        if (load_big_endian<std::uint64_t>(&buffers[i][504]) == at) ++right;
    }
    EXPECT_EQ(right, good);
}

TEST(Interop, TrimAndZeroesBeyond32BitsCoverTheirWholeRange) {
    const Server server(nbdkit({"memory", "16G"}), false);
    const auto disk = open(server.uri());
    constexpr std::uint64_t far = std::uint64_t{9} << 30;
    for (const auto operation : {Operation::trim, Operation::write_zeroes}) {
        Bytes bytes(4096, 1);
        for (const std::uint64_t at : {std::uint64_t{0}, far, far + 4096})
            ASSERT_EQ(write_blocking(*disk, at, bytes), Error::none);
        ASSERT_EQ(perform_blocking(*disk, {.operation = operation, .length = far + 4096}),
                  Error::none);
        for (const std::uint64_t at : {std::uint64_t{0}, far}) {
            ASSERT_EQ(read_blocking(*disk, at, bytes), Error::none);
            EXPECT_TRUE(bytes == Bytes(4096, 0));
        }
        ASSERT_EQ(read_blocking(*disk, far + 4096, bytes), Error::none);
        EXPECT_TRUE(bytes == Bytes(4096, 1));
    }
}

TEST(Interop, SizesAtTheEdges) {
    EXPECT_THAT(open_error(Server(nbdkit({"memory", "0"}), false).uri()),
                HasSubstr("size of 0 bytes"));
    const Server odd(nbdkit({"memory", "1000"}), false);
    const auto small = open(odd.uri());
    EXPECT_EQ(small->properties().size, 1000U);
    Bytes bytes(488);
    EXPECT_EQ(read_blocking(*small, 512, bytes), Error::none);
    const Server huge(nbdkit({"memory", "9223372036854775807"}), false);
    const auto large = open(huge.uri());
    EXPECT_EQ(large->properties().size, 9223372036854775807U);
    EXPECT_EQ(read_blocking(*large, 9223372036854775807U - 488, bytes), Error::none);
}

TEST(Interop, NamesOf255To4096BytesAreServed) {
    const Server server(nbdkit({"memory", "16M"}), false);
    for (const std::size_t length : {255, 256, 4096}) {
        const auto disk = open(server.uri(std::string(length, 'n')));
        ASSERT_NE(disk, nullptr) << length;
        EXPECT_EQ(disk->properties().size, disk_size);
    }
    EXPECT_THAT(open_error(server.uri(std::string(4097, 'n'))), HasSubstr("4097"));
}

TEST(Interop, RefusalsAreNamed) {
    EXPECT_THAT(open_error(Server(qemu_nbd({"-x", "disk"}), false).uri("other")),
                HasSubstr("no such export"));
    EXPECT_THAT(
        open_error(Server({"nbd-server", "-d", "-C", "FOLDERnbd-server.conf"}, true).uri("other")),
        HasSubstr("cannot open export 'other'"));
    EXPECT_THAT(
        open_error(
            Server(nbdkit({"--tls=require", "--tls-psk=FOLDERpsk", "memory", "1M"}), false).uri()),
        HasSubstr("demands TLS"));
    EXPECT_THAT(open_error(Server(nbdkit({"-o", "memory", "1M"}), false).uri()),
                HasSubstr("oldstyle"));
}

TEST(Interop, ExtentsAreTheServers) {
    const Server server(nbdkit({"memory", "16M"}), false);
    const auto disk = open(server.uri());
    ASSERT_NE(disk, nullptr);
    ASSERT_TRUE(disk->properties().can_tell_extents);
    Bytes bytes(1U << 20, 'e');
    ASSERT_EQ(write_blocking(*disk, 1U << 20, bytes), Error::none);
    ASSERT_EQ(perform_blocking(*disk, {.operation = Operation::flush}), Error::none);
    std::vector<backend::Extent> extents;
    for (std::uint64_t at = 0; at < 4U << 20;) {
        std::array<backend::Extent, 8> runs;
        struct Waiter {
            std::mutex lock;
            std::condition_variable changed;
            bool over = false;
            Error error = Error::io;
        } waiter;
        backend::Request request{.operation = Operation::extents,
                                 .offset = at,
                                 .length = (4U << 20) - at,
                                 .extents = runs,
                                 .context = &waiter};
        request.done = [](backend::Request& done, Error error) noexcept {
            auto& ended = *static_cast<Waiter*>(done.context);
            const std::lock_guard lock(ended.lock);
            ended.error = error;
            ended.over = true;
            ended.changed.notify_one();
        };
        disk->submit(request);
        std::unique_lock lock(waiter.lock);
        waiter.changed.wait(lock, [&] { return waiter.over; });
        ASSERT_EQ(waiter.error, Error::none);
        ASSERT_GT(request.extent_count, 0U);
        for (const auto& run : std::span(runs).first(request.extent_count)) {
            ASSERT_GT(run.length, 0U);
            at += run.length;
            const bool same = !extents.empty() && extents.back().allocated == run.allocated;
            if (same)
                extents.back().length += run.length;
            else
                extents.push_back(run);
        }
    }
    ASSERT_EQ(extents.size(), 3U);
    EXPECT_FALSE(extents[0].allocated);
    EXPECT_TRUE(extents[0].zeroes);
    EXPECT_EQ(extents[0].length, 1U << 20);
    EXPECT_TRUE(extents[1].allocated);
    EXPECT_EQ(extents[1].length, 1U << 20);
    EXPECT_FALSE(extents[2].allocated);
}

TEST(Interop, AServerThatDiesEndsEveryRequestOnce) {
    Server server(nbdkit({"--filter=delay", "memory", "16M", "rdelay=10"}), false);
    const auto disk = open(server.uri() + "&reconnect-timeout=0");
    std::vector<Bytes> buffers(500, Bytes(512));
    Batch reads;
    for (auto& buffer : buffers)
        reads.add(Operation::read, 0, buffer);
    std::thread killer([&] {
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
        server.kill();
    });
    EXPECT_EQ(reads.run(*disk), 0U);
    killer.join();
    Bytes bytes(512);
    EXPECT_EQ(read_blocking(*disk, 0, bytes), Error::disconnected);
    EXPECT_THAT(disk->failure(), HasSubstr("connection"));
}

}  // namespace
}  // namespace wnbd::test
