// SPDX-License-Identifier: LGPL-2.1-or-later
// A target over memory, for tests.
#pragma once

#include <memory>
#include <utility>

#include "iscsi/target.h"
#include "iscsi/test_backend.h"
#include "iscsi/test_initiator.h"

namespace wnbd::iscsi::test {

constexpr std::uint64_t disk_size = 16U << 20;

inline TargetSettings small_settings() {
    TargetSettings settings;
    settings.name = "iqn.2026-11.org.example:disk";
    settings.max_receive_segment = 64U << 10;
    settings.max_burst = 64U << 10;
    settings.first_burst = 16U << 10;
    settings.command_window = 8;
    return settings;
}

/// Units whose backends the test holds in its hand.
struct TestTarget {
    explicit TestTarget(TargetSettings settings = small_settings(), unsigned units = 1)
        : target(std::move(settings), log) {
        for (unsigned i = 0; i < units; ++i) {
            auto owned = std::make_unique<TestBackend>(disk_size);
            backends.push_back(owned.get());
            UnitSettings unit_settings;
            unit_settings.serial = std::to_string(i);
            auto unit = LogicalUnit::create(std::move(owned), unit_settings, target.names());
            EXPECT_TRUE(unit.ok());
            target.add(std::move(unit.value()));
        }
    }
    [[nodiscard]] TestBackend& backend() { return *backends.front(); }

    TestLog log;
    Target target;
    std::vector<TestBackend*> backends;
};

/// Bytes that tell where they belong.
inline Bytes pattern(std::size_t length, std::uint32_t seed = 1) {
    Bytes bytes(length);
    std::uint32_t state = seed * 2654435761U + 1;
    for (auto& byte : bytes) {
        state = state * 1664525U + 1013904223U;
        byte = static_cast<std::uint8_t>(state >> 24);
    }
    return bytes;
}

}  // namespace wnbd::iscsi::test
