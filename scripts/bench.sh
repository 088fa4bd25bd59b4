#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Benchmarks beside the peers, each in one run with them, since only the ratios of one run mean
# anything on a shared machine. Tables on standard output, JSON lines in out/bench.
set -euo pipefail
. scripts/common.sh

bench_nbd() {
    say "the NBD client beside libnbd, fio, qemu-img and nbdcopy, against the same servers"
    build native nbd_bench
    rm -f out/bench/nbd.jsonl
    build/native/bench/nbd_bench --json out/bench/nbd.jsonl "${nbd_options[@]}"
}

bench_iscsi() {
    say "the iSCSI target beside tgt, under the same initiator (libiscsi)"
    build native iscsi_bench && build_native_client
    rm -f out/bench/iscsi.jsonl
    build/native/bench/iscsi_bench out/native/wnbd-client --json out/bench/iscsi.jsonl
}

bench_driver() {
    say "wnbd.sys in the one-process host: I/Os a second, and what each costs"
    build_shipped
    rm -f out/bench/driver.jsonl
    python3 -m tests.process_host.windows_program bench/driver_bench.exe "$PWD/out/windows/wnbd.sys" \
        --json "$PWD/out/bench/driver.jsonl"
}

all=(driver iscsi nbd)
# run bench nbd -- --rounds 9 --only 'null': options of nbd_bench (--help lists them)
names=() nbd_options=()
while [ $# -gt 0 ]; do
    if [ "$1" = -- ]; then
        nbd_options=("${@:2}")
        break
    fi
    names+=("$1")
    shift
done
[ ${#names[@]} -gt 0 ] || names=("${all[@]}")
for name in "${names[@]}"; do
    declare -F "bench_$name" >/dev/null || {
        echo "run bench: no such benchmark: $name (there are: ${all[*]})" >&2
        exit 2
    }
done
need "${packages_build[@]}" "${packages_lab[@]}" "${packages_servers[@]}" "${packages_bench[@]}"
mkdir -p out/bench
for name in "${names[@]}"; do "bench_$name"; done
echo "bench: done; figures in out/bench: $(cd out/bench && ls -- *.jsonl | tr '\n' ' ')"
