#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Every test there is, in stages from fast to slow. Goes on after a failed stage, so that one run
# tells everything; ends non-zero if any failed.
set -uo pipefail
. scripts/common.sh

all_stages=(style native asan tsan fuzz windows client package nbd iscsi lab process)

stage_style() {
    bash scripts/check_style.sh && python3 -m unittest discover -s tests/docs -t . -v
}

stage_native() { build native && ctest --preset native -j2; }
stage_asan() { build native-asan && ctest --preset native-asan -j2; }
stage_tsan() { build native-tsan && ctest --preset native-tsan -j2; }
stage_fuzz() { bash scripts/fuzz.sh 10; }

stage_windows() {
    build_shipped && python3 -m unittest discover -s tests/driver -t . -v &&
        ctest --test-dir build/windows --output-on-failure
}
stage_client() { build native wnbd-client && build_shipped && test_modules tests/client/test_*.py; }
stage_package() {
    bash scripts/package.sh && python3 -m unittest discover -s tests/package -t . -v
}

# These tests wait more than they work: a few modules at a time. What each says is printed whole when
# it ends.
test_module() {
    local log
    log=$(mktemp)
    python3 -m unittest -v "$1" >"$log" 2>&1
    local code=$?
    printf '\n-- %s\n%s\n' "$1" "$(cat "$log")"
    rm -f "$log"
    return $code
}
test_modules() {
    export -f test_module
    printf '%s\n' "$@" | sed 's/\.py$//; s,/,.,g' | xargs -P3 -I{} bash -c 'test_module {}'
}
stage_nbd() {
    build native-asan nbd_exercise && build native-tsan nbd_exercise && build windows nbd_exercise &&
        test_modules tests/interop/test_*.py
}
stage_iscsi() {
    build native wnbd-client && build_shipped && bash scripts/guest_kernel.sh &&
        test_modules tests/iscsi/test_*.py
}
stage_lab() { build_shipped && test_modules tests/lab/test_*.py tests/abi/test_api_in_lab.py; }
stage_process() { build_shipped && python3 -m unittest discover -s tests/process_host -t . -v; }

if [ "${1:-}" = --list ]; then
    printf '%s\n' "${all_stages[@]}"
    exit 0
fi
stages=("$@")
[ ${#stages[@]} -gt 0 ] || stages=("${all_stages[@]}")
for stage in "${stages[@]}"; do
    declare -F "stage_$stage" >/dev/null || {
        echo "run test: no such stage: $stage (there are: ${all_stages[*]})" >&2
        exit 2
    }
done

need "${packages_build[@]}" "${packages_check[@]}" "${packages_lab[@]}" "${packages_servers[@]}" \
    "${packages_iscsi[@]}" "${packages_demo[@]}" "${packages_bench[@]}" "${packages_package[@]}"
passed=() failed=()
for stage in "${stages[@]}"; do
    say "stage $stage"
    begun=$SECONDS
    if "stage_$stage"; then passed+=("$stage"); else failed+=("$stage"); fi
    echo "-- stage $stage: $((SECONDS - begun)) s"
done
[ ${#failed[@]} -eq 0 ] || echo "failed stages: ${failed[*]}"
echo "${#passed[@]} passed, ${#failed[@]} failed"
[ ${#failed[@]} -eq 0 ]
