#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Draws docs/*.dot as SVG. The drawing is committed beside its source and names the source's
# checksum, by which a test sees that the two are in step.
set -euo pipefail
. scripts/common.sh

need "${packages_docs[@]}"
for source in docs/*.dot; do
    drawing=${source%.dot}.svg
    dot -Tsvg "$source" >"$drawing"
    echo "<!-- made from $(basename "$source") sha256:$(sha256sum "$source" | cut -d' ' -f1) -->" >>"$drawing"
    echo "drawn: $drawing"
done
