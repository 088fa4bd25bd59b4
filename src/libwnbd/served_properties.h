// SPDX-License-Identifier: LGPL-2.1-or-later
// What a disk looks like that a backend serves: the caller's wishes met with the backend's
// abilities.
#pragma once

#include <memory>
#include <string>

#include "backend/backend.h"
#include "libwnbd/abi.h"

namespace wnbd::libwnbd {

/// Descriptors an unmap may carry where a backend serves it.
inline constexpr UINT32 served_unmap_count_max = 256;

/// Has the disk's blocks made of the storage's where those are larger (backend/aligning_backend.h):
/// a BlockSize of 0 becomes 4096 then, and a disk without a physical block size gets the storage's,
/// so that Windows aligns to what needs no reading. Else nothing is changed.
[[nodiscard]] std::unique_ptr<backend::Backend> fit_storage(
    WNBD_PROPERTIES& properties, std::unique_ptr<backend::Backend> storage);

/// Completes the properties of a disk:
/// - BlockSize: 512 or 4096, a multiple of the backend's minimum block; 0 takes 512, or the minimum
///   block where that is larger;
/// - BlockCount: the whole blocks of the backend; what is left at its end is not mapped;
/// - the backend's read-only, flush, FUA and trim are added to the caller's flags. A flag the
/// caller
///   sets beyond that stays, and such requests then fail with what the backend says;
/// - persistent reservations off; unmap with up to served_unmap_count_max descriptors.
/// Returns why it cannot be done, or an empty string. `remark`: a line for the log, or empty.
[[nodiscard]] std::string fit_to_backend(WNBD_PROPERTIES& properties,
                                         const backend::Properties& backend, std::string& remark);

/// Where `backend_uri` is an NBD URI, NbdProperties tell its first server and the export, cut to
/// what they hold, and the disk is an NBD disk for everybody who asks; a Unix socket has no port,
/// 0. Else nothing is changed.
void tell_of_server(WNBD_PROPERTIES& properties, const std::string& backend_uri);

/// The size in bytes that the properties claim, 0 when there is none or it does not fit 64 bits.
[[nodiscard]] std::uint64_t claimed_size(const WNBD_PROPERTIES& properties) noexcept;

}  // namespace wnbd::libwnbd
