// SPDX-License-Identifier: LGPL-2.1-or-later
// What the misuse driver can be told to do.
#pragma once

enum class Misuse : unsigned {
    probe,  ///< not wrong in itself: the argument is a ProbeRequest
    touch_after_free,
    touch_next_page,
    touch_slack,
    touch_before,
    touch_wild,
    free_twice,
    free_inside,
    wrong_tag,
    leak_pool,
    executable_pool,
    no_bytes,
    map_executable,
    paged_at_dispatch,
    leave_raised,
    allocate_once,  ///< not wrong in itself: the argument's status says whether there was memory
};

struct ProbeRequest {
    void* address;
    unsigned long bytes;
    bool write;
    long status;  ///< out
};
