#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs each libFuzzer program for some seconds, beginning with the corpus in fuzz/corpus. What it
# learns stays in build/corpus; what it finds is left in build/findings.
set -euo pipefail
. scripts/common.sh

seconds=${1:-60}
need "${packages_build[@]}" "${packages_check[@]}"
build native-asan
mkdir -p build/findings
count=0
for program in build/native-asan/fuzz/*_fuzz; do
    name=$(basename "$program" _fuzz)
    mkdir -p "build/corpus/$name"
    say "fuzzing $name for $seconds s"
    seeds=()
    [ -d "fuzz/corpus/$name" ] && seeds=("fuzz/corpus/$name")
    "$program" -max_total_time="$seconds" -print_final_stats=1 -verbosity=0 -timeout=20 \
        -artifact_prefix="build/findings/$name-" "build/corpus/$name" "${seeds[@]}" 2>&1 | tail -n 12
    count=$((count + 1))
done
[ "$count" -gt 0 ] || {
    echo "run fuzz: no fuzzer was built" >&2
    exit 1
}
say "simulating the NBD client for $seconds s, with seeds of this moment"
build/native-asan/tests/simulation/nbd_simulation --seconds "$seconds" --first-seed "$(date +%s)000"
echo "fuzz: $count fuzzers, $seconds s each, no finding"
