#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What needs the lab: the demo, and trying things by hand.
set -euo pipefail
. scripts/common.sh

what=$1
shift
need "${packages_build[@]}" "${packages_lab[@]}" "${packages_servers[@]}" "${packages_demo[@]}"
script=demo
if [ "$what" = demo ] && [ "${1:-}" = --ceph ]; then
    shift
    need "${packages_ceph[@]}"
    script=demo_ceph
fi
build_shipped
case "$what" in
    demo) exec python3 "scripts/$script.py" "$@" ;;
    lab) exec python3 scripts/lab_shell.py "$@" ;;
esac
