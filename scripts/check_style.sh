#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# clang-format and clang-tidy, over what is tracked. A file that was clean is not analysed again until
# it, a header or the configuration changes.
set -euo pipefail
. scripts/common.sh

need "${packages_build[@]}" "${packages_check[@]}"
mapfile -t sources < <(git ls-files '*.cpp' '*.h' '*.c')
say "clang-format over ${#sources[@]} files"
clang-format-19 --dry-run --Werror "${sources[@]}"

say "SPDX lines"
unlicensed=$(git ls-files '*.cpp' '*.h' '*.c' '*.py' '*.sh' '*CMakeLists.txt' '*.cmake' |
    xargs grep -L 'SPDX-License-Identifier: LGPL-2.1-or-later' || true)
[ -z "$unlicensed" ] || {
    echo "without an SPDX line: $unlicensed"
    exit 1
}

say "clang-tidy over the native build's files"
cmake --preset native-asan >/dev/null
mkdir -p build/tidy
headers=$(git ls-files '*.h' .clang-tidy | xargs sha256sum | sha256sum | cut -d' ' -f1)
tidy_one() {
    local file=$1 headers=$2 stamp
    stamp="build/tidy/$( (echo "$headers"; cat "$file") | sha256sum | cut -d' ' -f1)"
    [ -e "$stamp" ] && return 0
    clang-tidy-19 --quiet -p build/native-asan "$file" 2>/dev/null || return 1
    touch "$stamp"
}
export -f tidy_one
python3 - <<'PY' | xargs -P2 -I{} bash -c 'tidy_one "$1" "$2"' _ {} "$headers"
import json, os
root = os.getcwd()
files = {os.path.relpath(e["file"], root) for e in json.load(open("build/native-asan/compile_commands.json"))}
print("\n".join(sorted(f for f in files if not f.startswith("build") and not f.endswith("_test.cpp"))))
PY
echo "style: clean"
