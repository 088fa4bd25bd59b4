// SPDX-License-Identifier: LGPL-2.1-or-later
#pragma once

#include <map>
#include <string>
#include <utility>
#include <vector>

#include "engine/options.h"

namespace wnbd::engine::model {

/// A registry key in memory, with faults on demand. Not thread-safe, as Options promises.
class MemoryStore final : public OptionStore {
  public:
    Result<std::int64_t, nt::Status> read(const WCHAR* name) noexcept override {
        if (const auto fault = read_faults.find(name); fault != read_faults.end())
            return Failure{fault->second};
        const auto found = values.find(name);
        if (found == values.end()) return Failure{nt::object_name_not_found};
        return found->second;
    }
    nt::Status write(const WCHAR* name, std::int64_t value) noexcept override {
        if (write_fault != nt::success) return write_fault;
        values[name] = value;
        return nt::success;
    }
    nt::Status erase(const WCHAR* name) noexcept override {
        if (write_fault != nt::success) return write_fault;
        return values.erase(name) == 1 ? nt::success : nt::object_name_not_found;
    }

    void ignored(const char* name, nt::Status why) noexcept override {
        ignored_values.emplace_back(name, why);
    }

    std::map<std::u16string, std::int64_t> values;
    std::map<std::u16string, nt::Status> read_faults;
    nt::Status write_fault = nt::success;
    std::vector<std::pair<std::string, nt::Status>> ignored_values;
};

}  // namespace wnbd::engine::model
