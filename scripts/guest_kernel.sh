#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# Debian's cloud kernel for the guest of tests/iscsi, unpacked into build/guest: vmlinuz and the modules
# of a virtual SCSI disk. It is not installed: the machine keeps the kernels it has.
set -euo pipefail
. scripts/common.sh

target=build/guest
[ -e "$target/vmlinuz" ] && exit

# As the user we are: apt's own could not write into the folder.
download() { (cd "$folder" && apt-get -qq -o APT::Sandbox::User= download "$(kernel_package)"); }
kernel_package() { apt-cache depends linux-image-cloud-amd64 2>/dev/null | sed -n 's/^ *Depends: //p'; }

say "fetching a kernel for the guest"
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
# A list of packages that is missing, or older than the archive, is refreshed.
if ! download; then
    root=()
    [ "$(id -u)" -eq 0 ] || root=(sudo)
    "${root[@]}" apt-get -qq update
    download
fi
dpkg-deb --fsys-tarfile "$folder"/*.deb | tar -x -C "$folder" --wildcards \
    './boot/vmlinuz-*' './lib/modules/*/kernel/drivers/scsi/*' './lib/modules/*/kernel/drivers/virtio/*'
rm -rf "$target"
mkdir -p "$target"
mv "$folder"/lib/modules/*/kernel/drivers/* "$target"
mv "$folder"/boot/vmlinuz-* "$target/vmlinuz"
