// SPDX-License-Identifier: LGPL-2.1-or-later
#include <gtest/gtest.h>

#include <random>

#include "scsi/reservations_reference.h"

namespace wnbd::scsi {
namespace {

/// Few initiators, few keys: so that they meet.
class Random {
  public:
    explicit Random(std::uint64_t seed) : engine_(seed) {}
    unsigned below(unsigned limit) { return static_cast<unsigned>(engine_() % limit); }

    ReferenceReservations::Out command(const ReferenceReservations& reference, unsigned nexuses) {
        ReferenceReservations::Out out{};
        out.from = static_cast<Nexus>(37 * below(nexuses));
        out.action = below(7);
        out.scope_type = below(16) == 0 ? below(32) : all_reservation_types[below(6)];
        // An initiator knows its key more often than not, and the present type.
        const auto own = reference.keys.find(out.from);
        out.key = own != reference.keys.end() && below(8) != 0 ? own->second : below(3);
        out.new_key = below(4);
        if (reference.type != 0 && below(2) == 0) out.scope_type = reference.type;
        return out;
    }

  private:
    std::mt19937_64 engine_;
};

void run_random(std::uint64_t seed, unsigned nexuses, unsigned count) {
    Random random(seed);
    ReservationsCompared compared;
    for (unsigned i = 0; i < count; ++i) {
        const auto out = random.command(compared.reference, nexuses);
        const char* difference = nullptr;
        switch (random.below(24)) {
            case 0: difference = compared.plain(out.from, true); break;
            case 1:
            case 2: difference = compared.plain(out.from, false); break;
            case 3: difference = compared.lose(out.from); break;
            default: difference = compared.out(out); break;
        }
        ASSERT_EQ(difference, nullptr) << difference << "; seed " << seed << ", command " << i
                                       << ": action " << out.action << " from " << int{out.from};
    }
}

TEST(ReservationsModel, AgreesWithTheReferenceUnderRandomCommands) {
    for (std::uint64_t seed = 0; seed < 40; ++seed)
        run_random(seed, 4, 500);
}

TEST(ReservationsModel, AgreesWithTheReferenceWhenRegistrationsRunOut) {
    ReservationsCompared compared;
    for (unsigned nexus = 0; nexus < 100; ++nexus)
        ASSERT_EQ(compared.out({static_cast<Nexus>(nexus), 6, 0, 0, nexus % 7 + 1}), nullptr);
    EXPECT_EQ(compared.reference.keys.size(), max_registrants);
    ASSERT_EQ(compared.out({5, 4, 1, 6, 3}), nullptr);
    for (unsigned nexus = 100; nexus < 256; ++nexus)
        ASSERT_EQ(compared.out({static_cast<Nexus>(nexus), 6, 0, 0, nexus}), nullptr);
}

}  // namespace
}  // namespace wnbd::scsi
