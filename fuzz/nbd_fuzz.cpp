// SPDX-License-Identifier: LGPL-2.1-or-later
// A hostile server's bytes, from its greeting to its last reply.
//
// The input begins with a SessionPlan; the rest is what the server says. Each input runs twice: cut
// as its plan says into buffers full of one value, and in one piece into buffers full of another.
// Both must go the same way, and a read that succeeded must show the same bytes: so each of them
// was the server's.
#include "nbd_session.h"

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    using namespace wnbd::nbd;
    if (size < SessionPlan::size) return 0;
    SessionPlan plan(std::span<const std::uint8_t, SessionPlan::size>(data, SessionPlan::size));
    const std::span server(data + SessionPlan::size, size - SessionPlan::size);
    Session pieces(plan, 0xaa);
    pieces.receive(server);
    const auto result = pieces.finish();
    // What was said too early depends on how it is cut.
    if (plan.overfeed) return 0;
    plan.piece = SIZE_MAX;
    Session whole(plan, 0x55);
    whole.receive(server);
    require(whole.finish() == result);
    return 0;
}
