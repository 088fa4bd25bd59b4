#!/usr/bin/env bash
# SPDX-License-Identifier: LGPL-2.1-or-later
# What is given to users, in out/package: the driver folder, the installer and a zip of all, signed. With
# SOURCE_DATE_EPOCH and the same key, the same source gives the same files.
set -euo pipefail
. scripts/common.sh
. scripts/signing.sh

out=${WNBD_PACKAGE_OUT:-out/package}
work=build/package
tree=$work/tree

# One number for everything: the version resources', the INF's, the installer's.
read_version() {
    version=$(sed -n 's/^#define WNBD_VERSION_STR_MS "\(.*\)"$/\1/p' build/windows/generated/version.h)
    grep -q "^DriverVer.*,$version"$'\r'"\$" out/windows/wnbd.inf ||
        signing_failed "wnbd.inf is not of version $version: build again"
    vendor=$(sed -n 's/^#define WNBD_COMPANY_STR "\(.*\)"$/\1/p' include/vendor.h)
    date=${SOURCE_DATE_EPOCH:-$(git log -1 --format=%ct 2>/dev/null || date +%s)}
}

lay_out() {
    rm -rf "$tree" && mkdir -p "$tree"/{bin,driver,events,include,lib}
    cp LICENSE "$tree"
    cp out/windows/wnbd-client.exe out/windows/libwnbd.dll "$tree/bin"
    cp out/windows/wnbd.sys out/windows/wnbd.inf "$tree/driver"
    cp src/driver/wnbdevents.xml "$tree/events"
    cp include/wnbd.h include/wnbd_ioctl.h "$tree/include"
    cp out/windows/libwnbd.dll.a "$tree/lib"
    # For Microsoft's and LLVM's linkers, in the form that they make themselves.
    llvm-dlltool-19 -m i386:x86-64 -D libwnbd.dll -d src/libwnbd/libwnbd.def -l "$tree/lib/libwnbd.lib"
}

# The catalogue lists wnbd.sys by a hash that signing does not change; still it is made last, of what
# is given out.
sign_tree() {
    say "signing"
    sign "$tree/driver/wnbd.sys" "$tree/bin/libwnbd.dll" "$tree/bin/wnbd-client.exe"
    # By Debian's Python, which has Debian's modules.
    /usr/bin/python3 packaging/make_catalogue.py --time "$date" --hardware-id 'root\wnbd' \
        -o "$tree/driver/wnbd.cat" "$tree/driver/wnbd.inf" "$tree/driver/wnbd.sys"
    sign "$tree/driver/wnbd.cat"
}

# guid <text>: always the same for the same text.
guid() {
    /usr/bin/python3 -c 'import sys, uuid
print("{" + str(uuid.uuid5(uuid.UUID("3d0e4c1b-6e0b-4b2b-9c4c-0e6b0d3a8f51"), sys.argv[1])).upper() + "}")' "$1"
}

make_msi() {
    say "making the installer"
    msi=$work/wnbd-$version.msi
    find "$tree" -exec touch -h -d "@$date" {} +
    local content
    content=$(cd "$tree" && find . -type f | LC_ALL=C sort | xargs sha256sum
        cd "$OLDPWD" && sha256sum packaging/wnbd.wxs packaging/msi_additions.sql)
    (cd "$tree" && wixl -a x64 -D "Version=$version" -D "Vendor=$vendor" \
        -D "ProductCode=$(guid "product $version $content")" -o "$OLDPWD/$msi" \
        "$OLDPWD/packaging/wnbd.wxs") || signing_failed "wixl failed"
    local query
    while read -r query; do
        msibuild "$msi" -q "$query" >"$work/msibuild.log" 2>&1 ||
            signing_failed "the installer's table refuses: $query"
    done < <(sed "s/@VERSION@/$version/g" packaging/msi_additions.sql | grep -vE '^(--|$)')
    # wixl writes the present and a random number here.
    local when
    when=$(date -u -d "@$date" '+%Y\/%m\/%d %H:%M:%S')
    msiinfo export "$msi" _SummaryInformation |
        sed -E "s/^(12|13)\t[^\r]*/\1\t$when/; s/^9\t[^\r]*/9\t$(guid "package $version $content")/" \
            >"$work/_SummaryInformation.idt"
    msibuild "$msi" -i "$work/_SummaryInformation.idt"
    sign "$msi"
}

check() {
    if ! has_root; then
        echo "signatures are not checked: give the chain up to its root as WNBD_SIGN_CHAIN"
        return
    fi
    say "checking the signatures"
    local file
    for file in "$tree"/driver/wnbd.{sys,cat} "$tree/bin/libwnbd.dll" "$tree/bin/wnbd-client.exe" "$msi"; do
        verify "$file"
    done
    verify "$tree/driver/wnbd.sys" "$tree/driver/wnbd.cat"
}

give_out() {
    mkdir -p "$out"
    # Of an earlier package, and nothing else: the folder may be the caller's.
    rm -rf "$out/driver" "$out"/wnbd-*.msi "$out"/wnbd-*.zip "$out/wnbd-test.cer"
    cp -a "$tree/driver" "$out/driver"
    cp "$msi" "$out"
    local folder=$work/wnbd-$version
    rm -rf "$folder" && cp -a "$tree" "$folder"
    cp "$msi" "$folder"
    if uses_test_key; then
        openssl x509 -in "$test_certificate" -outform DER -out "$out/wnbd-test.cer"
        cp "$out/wnbd-test.cer" "$folder"
    fi
    find "$folder" -exec touch -h -d "@$date" {} +
    rm -f "$folder.zip"
    (cd "$work" && find "wnbd-$version" -type f | LC_ALL=C sort | TZ=UTC zip -q -X -@ "wnbd-$version.zip")
    mv "$folder.zip" "$out"
    rm -rf "$folder"
}

need "${packages_build[@]}" "${packages_package[@]}"
build_shipped
read_version
choose_signer
lay_out
sign_tree
make_msi
check
give_out
ls -lR "$out"
echo "packaged: $out, version $version, signed with $(uses_test_key && echo "the test key" || echo "the given certificate")"
