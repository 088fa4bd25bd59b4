// SPDX-License-Identifier: LGPL-2.1-or-later
// Requests one after the other, as they are told, and what came of each.
#include <array>
#include <cstdlib>
#include <future>
#include <iostream>
#include <nlohmann/json.hpp>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include "backend/blocking.h"
#include "tests/interop/exercise/exercise.h"
#include "tests/interop/exercise/print.h"

namespace wnbd::test {
namespace {

using backend::Error;
using backend::Operation;
using nlohmann::json;

std::vector<std::string> split(const std::string& text) {
    std::vector<std::string> words;
    std::istringstream stream(text);
    for (std::string word; std::getline(stream, word, ':');)
        words.push_back(word);
    return words;
}

/// As zlib's crc32().
std::uint32_t checksum(const std::vector<std::uint8_t>& bytes) {
    static const auto table = [] {
        std::array<std::uint32_t, 256> made{};
        for (std::uint32_t i = 0; i < made.size(); ++i) {
            std::uint32_t value = i;
            for (int bit = 0; bit < 8; ++bit)
                value = (value >> 1) ^ ((value & 1) != 0 ? 0xedb88320 : 0);
            made[i] = value;
        }
        return made;
    }();
    std::uint32_t sum = 0xffffffff;
    for (const auto byte : bytes)
        sum = table[(sum ^ byte) & 0xff] ^ (sum >> 8);
    return ~sum;
}

struct Operands {
    std::string what;
    std::uint64_t offset = 0;
    std::uint64_t length = 0;
    std::uint8_t fill = 0;
    bool durable = false;
    bool keep = false;  // write_zeroes: no hole
};

/// WHAT[:OFFSET:LENGTH[:FILL]][:fua][:keep], numbers decimal; FILL belongs to writes.
Operands parse(const std::string& text) {
    Operands operands;
    const auto words = split(text);
    std::vector<std::uint64_t> numbers;
    for (const auto& word : words) {
        if (word == "fua")
            operands.durable = true;
        else if (word == "keep")
            operands.keep = true;
        else if (!word.empty() && word[0] >= '0' && word[0] <= '9')
            numbers.push_back(std::strtoull(word.c_str(), nullptr, 10));
        else
            operands.what = word;
    }
    numbers.resize(3);
    operands.offset = numbers[0];
    operands.length = numbers[1];
    operands.fill = static_cast<std::uint8_t>(numbers[2]);
    return operands;
}

json transfer(backend::Backend& disk, const Operands& operands) {
    const bool reads = operands.what == "read";
    // What the server does not fill must not look like zeroes.
    std::vector<std::uint8_t> buffer(operands.length, reads ? 0xee : operands.fill);
    const auto error = reads ? read_blocking(disk, operands.offset, buffer)
                             : write_blocking(disk, operands.offset, buffer, operands.durable);
    json said{{"error", name(error)}};
    if (!reads || error != Error::none) return said;
    said["crc32"] = checksum(buffer);
    bool same = true;
    for (const auto byte : buffer)
        same = same && byte == buffer[0];
    if (same && !buffer.empty()) said["all"] = buffer[0];
    return said;
}

json change(backend::Backend& disk, Operation operation, const Operands& operands) {
    backend::Request request{};
    request.operation = operation;
    request.force_unit_access = operands.durable;
    request.may_punch_hole = !operands.keep;
    request.offset = operands.offset;
    request.length = operands.length;
    return {{"error", name(perform_blocking(disk, request))}};
}

/// As perform_blocking(), but with the request itself, for what it brings back.
Error perform_itself(backend::Backend& disk, backend::Request& request) {
    std::promise<Error> ended;
    request.context = &ended;
    request.done = [](backend::Request& done, Error error) noexcept {
        static_cast<std::promise<Error>*>(done.context)->set_value(error);
    };
    auto error = ended.get_future();
    disk.submit(request);
    return error.get();
}

/// Runs of [length, allocated, zeroes], from as many requests as it takes.
json extents(backend::Backend& disk, const Operands& operands) {
    if (!disk.properties().can_tell_extents) return {{"error", "not offered"}};
    json runs = json::array();
    std::vector<backend::Extent> list(64);
    const auto end = operands.offset + operands.length;
    for (auto at = operands.offset; at < end;) {
        backend::Request request{};
        request.operation = Operation::extents;
        request.offset = at;
        request.length = end - at;
        request.extents = list;
        const auto error = perform_itself(disk, request);
        if (error != Error::none) return {{"error", name(error)}};
        if (request.extent_count == 0) return {{"error", "no extents"}};
        for (std::size_t i = 0; i < request.extent_count; ++i) {
            runs.push_back({list[i].length, list[i].allocated, list[i].zeroes});
            at += list[i].length;
        }
    }
    return {{"error", "none"}, {"extents", runs}};
}

json perform(backend::Backend& disk, const Operands& operands) {
    if (operands.what == "read" || operands.what == "write") return transfer(disk, operands);
    if (operands.what == "flush") return change(disk, Operation::flush, {});
    if (operands.what == "trim") return change(disk, Operation::trim, operands);
    if (operands.what == "zero") return change(disk, Operation::write_zeroes, operands);
    if (operands.what == "extents") return extents(disk, operands);
    if (operands.what == "size") return {{"error", "none"}, {"size", disk.size()}};
    if (operands.what == "failure") return {{"error", "none"}, {"failure", disk.failure()}};
    if (operands.what == "pause") {  // until a line comes
        std::string line;
        std::getline(std::cin, line);
        return {{"error", "none"}};
    }
    return {{"error", "no such operation"}};
}

}  // namespace

bool run_operations(const ExerciseOptions& options, backend::Backend& disk) {
    const auto& can = disk.properties();
    print_line({{"size", can.size},
                {"minimum_block", can.minimum_block},
                {"preferred_block", can.preferred_block},
                {"maximum_payload", can.maximum_payload},
                {"read_only", can.read_only},
                {"can_flush", can.can_flush},
                {"can_fua", can.can_fua},
                {"can_trim", can.can_trim},
                {"can_write_zeroes", can.can_write_zeroes}});
    for (const auto& operation : options.operations) {
        auto said = perform(disk, parse(operation));
        said["operation"] = operation;
        print_line(said);
    }
    return true;
}

}  // namespace wnbd::test
