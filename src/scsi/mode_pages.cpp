// SPDX-License-Identifier: LGPL-2.1-or-later
#include "scsi/mode_pages.h"

namespace wnbd::scsi {
namespace {

using PageBody = void (*)(const Disk& disk, ByteWriter& out) noexcept;

struct ModePage {
    std::uint8_t code;
    std::uint8_t body_length;
    PageBody write_body;
};

// SBC-3, caching page. Only WCE says something: whether writes may wait in a volatile cache behind
// the disk.
void write_caching(const Disk& disk, ByteWriter& out) noexcept {
    constexpr std::uint8_t wce = 0x04;
    out.byte(disk.flush_supported ? wce : 0);
    out.fill(17);
}

// SPC-4, control page.
void write_control(const Disk& /*disk*/, ByteWriter& out) noexcept {
    out.byte(0x02);  // one task set, fixed format sense data (D_SENSE zero), GLTSD: no log is saved
    out.byte(0x10);  // QUEUE ALGORITHM MODIFIER: the storage orders commands as it likes
    out.fill(8);     // WP comes from the disk, not from SWP; no time-outs claimed
}

// SPC-4, informational exceptions control page.
void write_informational_exceptions(const Disk& /*disk*/, ByteWriter& out) noexcept {
    out.byte(0x08);  // DEXCPT: there are none to report
    out.fill(9);
}

constexpr ModePage pages[] = {
    {0x08, 18, write_caching},
    {0x0A, 10, write_control},
    {0x1C, 10, write_informational_exceptions},
};

}  // namespace

bool write_mode_pages(const Disk& disk, std::uint8_t code, bool changeable,
                      ByteWriter& out) noexcept {
    bool found = false;
    for (const ModePage& page : pages) {
        if (code != page.code && code != all_mode_pages) continue;
        found = true;
        out.byte(page.code);  // PS zero: nothing can be saved
        out.byte(page.body_length);
        if (changeable) {
            out.fill(page.body_length);
        } else {
            page.write_body(disk, out);
        }
    }
    return found;
}

}  // namespace wnbd::scsi
