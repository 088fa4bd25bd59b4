#!/bin/sh
# SPDX-License-Identifier: LGPL-2.1-or-later
# Runs a Windows program in a Wine prefix of its own and leaves nothing behind.
set -eu
WINEPREFIX=$(mktemp -d)
WINEDLLOVERRIDES="mscoree,mshtml=;winedbg.exe=d"
WINEDEBUG=-all
DISPLAY=
export WINEPREFIX WINEDLLOVERRIDES WINEDEBUG DISPLAY
trap 'wineserver -k || true; rm -rf "$WINEPREFIX"' EXIT
wineboot -u >/dev/null 2>&1
winecfg /v win10 >/dev/null 2>&1
wine "$@"
