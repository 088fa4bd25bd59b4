// SPDX-License-Identifier: LGPL-2.1-or-later
// Every command with every input and output length from 0 to one above its structures', in buffers
// of exactly that size: the right status, and under AddressSanitizer no byte beside them.
#include <gtest/gtest.h>

#include <functional>
#include <set>

#include "ioctl/test_host.h"

namespace wnbd::ioctl {
namespace {

using namespace test;

struct Shape {
    std::uint32_t code = 0;
    std::vector<std::uint8_t> command;  // one that succeeds
    std::size_t output = 0;             // bytes of the whole reply; 0 where there is none
    nt::Status no_room = nt::success;   // when the output is shorter than that
    std::size_t information = 0;        // of the whole reply
    std::size_t asked_for = 0;          // information when asked without an output buffer
    nt::Status done = nt::success;
};

template <typename Command>
std::vector<std::uint8_t> bytes(const Command& command) {
    const auto span = Host::bytes_of(command);
    return {span.begin(), span.end()};
}

/// Calls with all input lengths at a few output lengths, and all output lengths at a few inputs.
void for_all_lengths(std::size_t input, std::size_t output,
                     const std::function<void(std::size_t, std::size_t)>& call) {
    const std::set<std::size_t> inputs = {0, 3, 4, input - 1, input, input + 1};
    const std::set<std::size_t> outputs = {0, 1, output == 0 ? 0 : output - 1, output, output + 1};
    for (std::size_t in = 0; in <= input + 1; ++in)
        for (const std::size_t out : outputs)
            call(in, out);
    for (std::size_t out = 0; out <= output + 1; ++out)
        for (const std::size_t in : inputs)
            if (outputs.count(out) == 0) call(in, out);
}

struct LengthsTest : testing::Test {
    void SetUp() override {
        ASSERT_EQ(host.call(create_command("disk"), sizeof(WNBD_CONNECTION_INFO)).status,
                  nt::success);
        connection = host.reply<WNBD_CONNECTION_INFO>().ConnectionId;
    }

    void check(const Shape& shape) {
        const std::size_t input = shape.command.size();
        std::uint64_t calls = 0;
        for_all_lengths(input, shape.output, [&](std::size_t in, std::size_t out) {
            if (HasFatalFailure()) return;
            ++calls;
            const Completion completion = host.call(shape.command, in, out);
            nt::Status expected = shape.done;
            std::size_t information = shape.information;
            if (in < input)
                expected = nt::invalid_parameter;
            else if (out == 0 && shape.asked_for != 0)
                information = shape.asked_for;
            else if (out < shape.output)
                expected = shape.no_room;
            ASSERT_EQ(completion.status, expected) << "in " << in << ", out " << out;
            if (expected == nt::success) {
                ASSERT_EQ(completion.information, information) << "in " << in << ", out " << out;
            }
            after(expected);
        });
        EXPECT_GT(calls, input);
    }

    std::function<void(nt::Status)> after = [](nt::Status) {};
    Host host;
    WNBD_CONNECTION_ID connection = 0;
};

TEST_F(LengthsTest, Ping) {
    check({.command = bytes(command_for<WNBD_IOCTL_PING_COMMAND>(IOCTL_WNBD_PING))});
}

TEST_F(LengthsTest, Create) {
    unsigned made = 0;
    after = [&](nt::Status status) {
        if (status != nt::success) return;
        ++made;
        EXPECT_EQ(host.call(remove_command("another")).status, nt::success);
    };
    check({.command = bytes(create_command("another")),
           .output = sizeof(WNBD_CONNECTION_INFO),
           .no_room = nt::invalid_parameter,
           .information = sizeof(WNBD_CONNECTION_INFO)});
    EXPECT_GT(made, 0u);
}

TEST_F(LengthsTest, Remove) {
    unsigned removed = 0;
    after = [&](nt::Status status) {
        if (status != nt::success) return;
        ++removed;
        EXPECT_EQ(host.call(create_command("disk"), sizeof(WNBD_CONNECTION_INFO)).status,
                  nt::success);
    };
    check({.command = bytes(remove_command("disk"))});
    EXPECT_GT(removed, 0u);
}

TEST_F(LengthsTest, FetchRequest) {
    // It would wait for a request: so a connection there is not. The lengths come first.
    check({.command = bytes(fetch_command(connection + 0x100, nullptr, 0)),
           .output = sizeof(WNBD_IOCTL_FETCH_REQ_COMMAND),
           .no_room = nt::invalid_parameter,
           .done = nt::invalid_handle});
}

TEST_F(LengthsTest, SendResponse) {
    check({.command = bytes(send_command(connection, {}, nullptr, 0)), .done = nt::not_found});
}

TEST_F(LengthsTest, List) {
    const std::size_t whole =
        offsetof(WNBD_CONNECTION_LIST, Connections) + sizeof(WNBD_CONNECTION_INFO);
    check({.command = bytes(command_for<WNBD_IOCTL_LIST_COMMAND>(IOCTL_WNBD_LIST)),
           .output = whole,
           .no_room = nt::buffer_overflow,
           .information = whole,
           .asked_for = sizeof(WNBD_CONNECTION_INFO) + sizeof(WNBD_CONNECTION_LIST)});
}

TEST_F(LengthsTest, Stats) {
    check({.command = bytes(stats_command("disk")),
           .output = sizeof(WNBD_DRV_STATS),
           .no_room = nt::buffer_overflow,
           .information = sizeof(WNBD_DRV_STATS)});
}

TEST_F(LengthsTest, ReloadConfig) {
    check({.command =
               bytes(command_for<WNBD_IOCTL_RELOAD_CONFIG_COMMAND>(IOCTL_WNBD_RELOAD_CONFIG))});
}

TEST_F(LengthsTest, Version) {
    check({.command = bytes(command_for<WNBD_IOCTL_VERSION_COMMAND>(IOCTL_WNBD_VERSION)),
           .output = sizeof(WNBD_VERSION),
           .no_room = nt::buffer_overflow,
           .information = sizeof(WNBD_VERSION)});
}

TEST_F(LengthsTest, Show) {
    check({.command = bytes(show_command("disk")),
           .output = sizeof(WNBD_CONNECTION_INFO),
           .no_room = nt::buffer_overflow,
           .information = sizeof(WNBD_CONNECTION_INFO)});
}

TEST_F(LengthsTest, GetOption) {
    check({.command = bytes(
               option_command<WNBD_IOCTL_GET_DRV_OPT_COMMAND>(IOCTL_WNBD_GET_DRV_OPT, u"LogLevel")),
           .output = sizeof(WNBD_OPTION_VALUE),
           .no_room = nt::buffer_overflow,
           .information = sizeof(WNBD_OPTION_VALUE)});
}

TEST_F(LengthsTest, SetOption) {
    auto command =
        option_command<WNBD_IOCTL_SET_DRV_OPT_COMMAND>(IOCTL_WNBD_SET_DRV_OPT, u"LogLevel");
    command.Value.Type = WnbdOptInt64;
    check({.command = bytes(command)});
}

TEST_F(LengthsTest, ResetOption) {
    check({.command = bytes(option_command<WNBD_IOCTL_RESET_DRV_OPT_COMMAND>(
               IOCTL_WNBD_RESET_DRV_OPT, u"LogLevel"))});
}

TEST_F(LengthsTest, ListOptions) {
    const std::size_t whole =
        offsetof(WNBD_OPTION_LIST, Options) + option_count * sizeof(WNBD_OPTION);
    check({.command = bytes(command_for<WNBD_IOCTL_LIST_DRV_OPT_COMMAND>(IOCTL_WNBD_LIST_DRV_OPT)),
           .output = whole,
           .no_room = nt::buffer_overflow,
           .information = whole,
           .asked_for = 15056});
}

TEST_F(LengthsTest, SetDiskSize) {
    auto command = command_for<WNBD_IOCTL_SET_SIZE_COMMAND>(IOCTL_WNBD_SET_DISK_SIZE);
    command.ConnectionId = connection;
    command.BlockCount = 2048;
    check({.command = bytes(command)});
}

TEST_F(LengthsTest, NumbersThatAreNoCommand) {
    for (const std::uint32_t code : {0U, 16U, 17U, 63U, 64U, 65U, 0x4D038U, 0x80000001U, ~0U})
        for (const std::size_t in : {4U, 5U, 128U, 2048U})
            for (const std::size_t out : {0U, 4U, 4096U}) {
                auto command = command_for<WNBD_IOCTL_BASE_COMMAND>(code);
                const Completion completion = host.call(Host::bytes_of(command), in, out);
                EXPECT_EQ(completion.status, nt::invalid_device_request) << code;
                EXPECT_EQ(completion.information, 0u);
            }
    EXPECT_EQ(host.control.handle({nullptr, 4, 0, own_process, nullptr}).status,
              nt::invalid_parameter);
}

}  // namespace
}  // namespace wnbd::ioctl
