#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Builds what ships.
set -euo pipefail
. scripts/common.sh

need "${packages_build[@]}"
build_shipped
build_native_client
ls -l out/windows out/native
echo "built: out/windows, out/native"
