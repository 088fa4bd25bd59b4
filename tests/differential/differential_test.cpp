// SPDX-License-Identifier: LGPL-2.1-or-later
// The same random operations to our client and to libnbd, on twin exports of the same real server:
// bytes, error numbers, extents and the images at the end are equal. 100,000 operations in all.
#include <gtest/gtest.h>
#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <fstream>
#include <functional>
#include <map>
#include <random>

#include "operation.h"
#include "tests/interop/server_process.h"

namespace wnbd::test {
namespace {

using nbd::CommandType;
using Command = std::vector<std::string>;

constexpr std::uint64_t disk_size = 8U << 20;
constexpr std::uint64_t region_size = 64U << 10;  // operations of a batch do not meet
constexpr std::size_t batch_size = 64;

class Operations {
  public:
    Operations(std::uint64_t seed, std::uint16_t offered) : random_(seed), offered_(offered) {}

    /// Operations on regions of their own.
    std::vector<Operation> batch() {
        std::vector<std::uint64_t> regions(disk_size / region_size);
        for (std::size_t i = 0; i < regions.size(); ++i)
            regions[i] = i;
        std::shuffle(regions.begin(), regions.end(), random_);
        std::vector<Operation> operations;
        operations.reserve(batch_size);
        for (std::size_t i = 0; i < batch_size; ++i)
            operations.push_back(one(regions[i] * region_size));
        return operations;
    }

  private:
    std::uint64_t below(std::uint64_t count) { return random_() % count; }

    Operation one(std::uint64_t region) {
        Operation it;
        constexpr CommandType types[] = {
            CommandType::read,  CommandType::read,         CommandType::write,
            CommandType::write, CommandType::write_zeroes, CommandType::trim,
            CommandType::cache, CommandType::block_status, CommandType::flush};
        it.type = types[below(std::size(types))];
        if (it.type == CommandType::flush && below(8) != 0) it.type = CommandType::read;
        it.flags = draw_flags(it.type);
        if (it.type == CommandType::flush) return it;
        // Whole blocks, or any bytes.
        const std::uint64_t unit = below(4) == 0 ? 1 : 512;
        const auto longest = region_size / unit / (below(8) == 0 ? 1 : 16);
        it.length = (1 + below(longest)) * unit;
        it.offset = region + below((region_size - it.length) / unit + 1) * unit;
        // Over the end, or beyond it.
        if (below(100) == 0) it.offset = disk_size - it.length / 2;
        if (below(100) == 0) it.offset = disk_size + below(1U << 20);
        if (it.type == CommandType::write) {
            it.payload.resize(it.length);
            // Zeroes sometimes: a server may look for them.
            const bool zero = below(8) == 0;
            for (auto& byte : it.payload)
                byte = zero ? 0 : static_cast<std::uint8_t>(random_());
        }
        return it;
    }

    std::uint16_t draw_flags(CommandType type) {
        std::uint16_t flags = 0;
        if (nbd::changes(type) && below(20) == 0) flags |= nbd::command_flag_fua;
        if (type == CommandType::write_zeroes && below(2) == 0) flags |= nbd::command_flag_no_hole;
        // nbdkit's file plugin fails an assertion of its own when it did not offer this.
        if (type == CommandType::write_zeroes && below(8) == 0 &&
            (offered_ & nbd::transmission_send_fast_zero) != 0)
            flags |= nbd::command_flag_fast_zero;
        if (type == CommandType::read && below(4) == 0) flags |= nbd::command_flag_df;
        if (type == CommandType::block_status && below(4) == 0) flags |= nbd::command_flag_req_one;
        return flags;
    }

    std::mt19937_64 random_;
    std::uint16_t offered_;  // the export's transmission flags
};

std::string text(const Operation& it) {
    return "type " + std::to_string(static_cast<int>(it.type)) + ", flags " +
           std::to_string(it.flags) + ", " + std::to_string(it.offset) + "+" +
           std::to_string(it.length);
}

std::uint32_t refusal_beyond_end(const Operation& it) {
    return nbd::changes(it.type) ? nbd::error_no_space : nbd::error_invalid;
}

std::vector<std::uint8_t> whole(Side& side) {
    std::vector<std::uint8_t> image;
    for (std::uint64_t at = 0; at < side.size(); at += 1U << 20) {
        const auto answer = side.perform({{.offset = at, .length = 1U << 20}}).front();
        EXPECT_EQ(answer.error, 0U);
        image.insert(image.end(), answer.bytes.begin(), answer.bytes.end());
    }
    return image;
}

/// `server(image, socket)`: the command that serves a twin.
void compare(unsigned operations, bool may_change,
             const std::function<Command(const std::string&, const std::string&)>& server) {
    const TemporaryDirectory folder("/dev/shm");
    const auto serve = [&](const std::string& name) {
        return std::make_unique<ServerProcess>(
            server(folder.file(name), folder.file(name + ".socket")), folder.file(name + ".socket"),
            0);
    };
    const auto our_server = serve("ours");
    const auto libnbd_server = serve("libnbd");
    const auto ours = connect_our_side(our_server->uri());
    const auto libnbd = connect_libnbd_side(libnbd_server->uri());
    ASSERT_EQ(ours->size(), disk_size);
    ASSERT_EQ(libnbd->size(), disk_size);

    const auto first = whole(*ours);
    Operations source(operations, ours->offered());
    std::map<std::uint32_t, unsigned> errors;
    unsigned refused_beyond = 0;
    for (unsigned done = 0; done < operations; done += batch_size) {
        const auto batch = source.batch();
        const auto our_answers = ours->perform(batch);
        const auto libnbd_answers = libnbd->perform(batch);
        for (std::size_t i = 0; i < batch.size(); ++i) {
            // Beyond the end our client may refuse by itself, as docs/nbd.md says.
            const bool beyond = batch[i].offset + batch[i].length > disk_size;
            if (beyond && our_answers[i].error == refusal_beyond_end(batch[i])) {
                ASSERT_NE(libnbd_answers[i].error, 0U) << text(batch[i]);
                ++refused_beyond;
                continue;
            }
            ASSERT_EQ(our_answers[i].error, libnbd_answers[i].error) << text(batch[i]);
            ASSERT_TRUE(our_answers[i] == libnbd_answers[i]) << text(batch[i]);
            ++errors[our_answers[i].error];
        }
    }
    // That it was more than refusals, and refusals too.
    EXPECT_GT(errors[0], operations / 4);
    EXPECT_GT(errors.size() + refused_beyond, 2U);
    const auto image = whole(*ours);
    EXPECT_TRUE(image == whole(*libnbd));
    EXPECT_EQ(image.size(), disk_size);
    EXPECT_EQ(may_change, image != first);
}

void make_raw(const std::string& path) {
    std::ofstream(path).close();
    ASSERT_EQ(truncate(path.c_str(), disk_size), 0);
}

TEST(Differential, nbdkit_memory) {
    compare(30'016, true, [](const std::string&, const std::string& socket) {
        return Command{"nbdkit", "-f", "-U", socket, "memory", std::to_string(disk_size)};
    });
}

TEST(Differential, nbdkit_file) {
    compare(20'032, true, [](const std::string& image, const std::string& socket) {
        make_raw(image);
        return Command{"nbdkit", "-f", "-U", socket, "file", image};
    });
}

TEST(Differential, nbdkit_pattern_which_may_not_be_written) {
    compare(9'984, false, [](const std::string&, const std::string& socket) {
        return Command{"nbdkit", "-f", "-U", socket, "pattern", std::to_string(disk_size)};
    });
}

TEST(Differential, qemu_nbd_raw) {
    compare(20'032, true, [](const std::string& image, const std::string& socket) {
        make_raw(image);
        return Command{"qemu-nbd", "-t", "-k", socket, "-f", "raw", "--discard=unmap", image};
    });
}

TEST(Differential, qemu_nbd_qcow2) {
    compare(20'032, true, [](const std::string& image, const std::string& socket) {
        const auto create =
            "qemu-img create -q -f qcow2 " + image + " " + std::to_string(disk_size);
        EXPECT_EQ(std::system(create.c_str()), 0);  // NOLINT(cert-env33-c): no foreign words in it
        return Command{"qemu-nbd", "-t", "-k", socket, "-f", "qcow2", "--discard=unmap", image};
    });
}

}  // namespace
}  // namespace wnbd::test
