#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# clang-format and clang-tidy, over what is tracked.
set -euo pipefail
. scripts/common.sh

need "${packages_build[@]}" "${packages_check[@]}"
mapfile -t sources < <(git ls-files '*.cpp' '*.h' '*.c')
say "clang-format over ${#sources[@]} files"
clang-format-19 --dry-run --Werror "${sources[@]}"

say "SPDX lines"
unlicensed=$(git ls-files '*.cpp' '*.h' '*.c' '*.py' '*.sh' '*CMakeLists.txt' '*.cmake' '*.md' |
    xargs grep -L 'SPDX-License-Identifier: LGPL-2.1-or-later' || true)
[ -z "$unlicensed" ] || {
    echo "without an SPDX line: $unlicensed"
    exit 1
}

say "clang-tidy over the native build's files, and those of the driver and the library"
for preset in native-asan driver windows; do cmake --preset "$preset" >/dev/null; done
ninja -C build/driver wnbd_events >/dev/null
python3 scripts/tidy.py native-asan driver:src/driver windows:src/base,src/backend,src/nbd,src/libwnbd
echo "style: clean"
