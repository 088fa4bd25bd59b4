#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs each libFuzzer program for some seconds, as many at once as there are processors, beginning with
# the corpus in fuzz/corpus. What it learns stays in build/corpus; what it finds is left in build/findings.
set -euo pipefail
. scripts/common.sh

export seconds=${1:-60}

# What a fuzzer says is printed whole when it ends.
fuzz() {
    local name said code=0 verdict="no finding" lines=5
    name=$(basename "$1" _fuzz)
    local corpora=("build/corpus/$name")
    [ -d "fuzz/corpus/$name" ] && corpora+=("fuzz/corpus/$name")
    mkdir -p "build/corpus/$name"
    said=$("$1" -max_total_time="$seconds" -print_final_stats=1 -verbosity=0 -timeout=20 \
        -artifact_prefix="build/findings/$name-" "${corpora[@]}" 2>&1) || code=1 verdict=FOUND lines=80
    printf '\n-- %s: %s\n%s\n' "$name" "$verdict" "$(tail -n "$lines" <<<"$said")"
    return $code
}

need "${packages_build[@]}" "${packages_check[@]}"
build native-asan
mkdir -p build/findings
programs=(build/native-asan/fuzz/*_fuzz)
[ -x "${programs[0]}" ] || {
    echo "run fuzz: no fuzzer was built" >&2
    exit 1
}
say "${#programs[@]} fuzzers for $seconds s each"
export -f fuzz
printf '%s\n' "${programs[@]}" | xargs -P"$(nproc)" -I{} bash -c 'fuzz {}' || {
    echo "run fuzz: FOUND something; what led to it is in build/findings" >&2
    exit 1
}
say "simulating the NBD client for $seconds s, with seeds of this moment"
build/native-asan/tests/simulation/nbd_simulation --seconds "$seconds" --first-seed "$(date +%s)000"
echo "fuzz: ${#programs[@]} fuzzers, $seconds s each, no finding"
