// SPDX-License-Identifier: LGPL-2.1-or-later
#include "tests/interop/exercise/promises.h"

#include <fstream>

#include "tests/interop/exercise/print.h"

namespace wnbd::test {

std::string Promises::judge(std::uint64_t block, const StampFormat::Seen& seen,
                            bool cache_may_be_lost) const {
    const auto& promise = blocks_.at(block - first_);
    auto here = "block " + std::to_string(block) + " holds " + describe(seen);
    if (seen.kind == StampFormat::Kind::damaged) return here;
    if (seen.kind == StampFormat::Kind::stamped &&
        (seen.stamp.block != block || seen.stamp.writer != writer_))
        return "misplaced: " + here;
    const auto sequence = seen.stamp.sequence;
    if (sequence > promise.newest) return "from nowhere: " + here;
    if (sequence < promise.flushed)
        return "lost: " + here + ", flushed was " + std::to_string(promise.flushed);
    if (sequence < promise.acknowledged && !cache_may_be_lost)
        return "lost: " + here + ", acknowledged was " + std::to_string(promise.acknowledged);
    return {};
}

bool Promises::save(const std::string& path, const std::vector<Promises>& all) {
    std::ofstream file(path);
    for (const auto& part : all) {
        file << part.writer_ << ' ' << part.first_ << ' ' << part.blocks_.size() << '\n';
        for (const auto& [flushed, acknowledged, newest] : part.blocks_)
            file << flushed << ' ' << acknowledged << ' ' << newest << '\n';
    }
    return static_cast<bool>(file.flush());
}

Result<std::vector<Promises>, std::string> Promises::load(const std::string& path) {
    std::ifstream file(path);
    std::vector<Promises> all;
    std::uint32_t writer = 0;
    std::uint64_t first = 0;
    std::uint64_t blocks = 0;
    while (file >> writer >> first >> blocks && blocks < (1U << 24)) {
        all.emplace_back(writer, first, blocks);
        for (auto& [flushed, acknowledged, newest] : all.back().blocks_)
            file >> flushed >> acknowledged >> newest;
        if (!file) break;
    }
    if (all.empty() || !file.eof()) return Failure{path + " does not hold promises"};
    return all;
}

}  // namespace wnbd::test
