# SPDX-License-Identifier: LGPL-2.1-or-later
# Sourced by the other scripts: saying what happens, and having the packages for it.

# What one clone has compiled serves every other.
export CCACHE_BASEDIR=$PWD CCACHE_NOHASHDIR=1

say() { printf '\n== %s\n' "$*"; }

# need <package>...: installs those that are missing.
need() {
    local missing=()
    local package
    for package in "$@"; do
        dpkg-query -W -f='${Status}' "$package" 2>/dev/null | grep -q '^install ok installed' ||
            missing+=("$package")
    done
    [ ${#missing[@]} -eq 0 ] && return
    say "installing ${missing[*]}"
    local root=()
    [ "$(id -u)" -eq 0 ] || root=(sudo)
    "${root[@]}" apt-get -qq update
    # The servers are run by hand on the loopback: none is to be started as a service.
    "${root[@]}" env DEBIAN_FRONTEND=noninteractive RUNLEVEL=1 \
        apt-get -qq install -y --no-install-recommends "${missing[@]}" >/dev/null
}

packages_build=(git cmake ninja-build ccache pkg-config g++ clang-19 lld-19 llvm-19 g++-mingw-w64-x86-64-posix
    mingw-w64 libgnutls28-dev libasio-dev libcli11-dev nlohmann-json3-dev nettle-dev libgtest-dev
    libgmock-dev python3)
packages_check=(clang-format-19 clang-tidy-19 libclang-rt-19-dev python3 libevtx1)
packages_lab=(wine wine64 python3)
packages_servers=(gnutls-bin openssl nbdkit qemu-utils qemu-system-common nbd-server)
packages_iscsi=(libiscsi-bin qemu-utils qemu-block-extra qemu-system-x86 busybox-static cpio e2fsprogs)
packages_demo=(fdisk dosfstools mtools)
packages_ceph=(ceph-mon ceph-osd ceph-common qemu-block-extra qemu-system-common openssl iproute2)
packages_package=(osslsigncode openssl msitools wixl python3 python3-asn1crypto zip)
packages_docs=(graphviz fonts-dejavu-core)
packages_bench=(libnbd-dev libnbd-bin fio libiscsi-dev tgt)

# Ninja's own counter, on one line when somebody watches and now and then when nobody does.
show_progress() {
    local line last=$SECONDS
    while read -r line; do
        if [ -t 1 ]; then
            printf '\r\033[K%.100s' "$line"
        elif [ $((SECONDS - last)) -ge 30 ]; then
            last=$SECONDS
            echo "${line%%]*}]"
        fi
    done
    if [ -t 1 ]; then printf '\r\033[K'; fi
}

# build <preset> [target...]: configures and builds, quietly unless something is wrong.
build() {
    local preset=$1
    shift
    local log="build/$preset.log"
    mkdir -p build
    say "building $preset ${*:-}"
    if ! cmake --preset "$preset" >"$log" 2>&1; then
        cat "$log"
        echo "run: cmake --preset $preset failed" >&2
        return 1
    fi
    if ! ninja -C "build/$preset" "$@" 2>&1 | tee "$log" | show_progress; then
        grep -vE '^\[[0-9]+/[0-9]+\] (Building|Linking|Generating)' "$log" || true
        echo "run: building $preset failed" >&2
        return 1
    fi
}

# build_native_client: wnbd-client for this machine, in out/native.
build_native_client() {
    build native wnbd-client || return 1
    mkdir -p out/native
    strip -o out/native/wnbd-client build/native/wnbd-client
}

# build_shipped: the Windows binaries, in out/windows; debug information stays in build/windows.
build_shipped() {
    build driver && build windows || return 1
    mkdir -p out/windows
    cp build/driver/src/driver/{wnbd.sys,wnbd.inf,wnbdevents.xml} out/windows/
    cp build/windows/libwnbd.dll.a out/windows/
    local name
    for name in libwnbd.dll wnbd-client.exe; do
        x86_64-w64-mingw32-strip -o "out/windows/$name" "build/windows/$name"
    done
}
