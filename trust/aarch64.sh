#!/usr/bin/env bash
# A Python for aarch64 that this machine runs by emulation: trust/aarch64.sh FOLDER PACKAGE==VERSION ...
#
# For Debian, as root. Packages come from where apt and pip of this machine get theirs. All files go
# into FOLDER, but for `debootstrap` and `qemu-user-static`, which are installed if they are not there.
# FOLDER/python is called like any other Python; it sees the files of this machine.
#
# Nothing is run inside another root and nothing is registered with the kernel, so that it works in a
# container, too: the emulator looks for each file below FOLDER/root first.
set -euo pipefail

missing() {
    echo "aarch64 cannot be set up: $*" >&2
    exit 1
}

(($# > 1)) || missing "call it as $0 FOLDER PACKAGE==VERSION ..."
python=${PYTHON:-python3}
. /etc/os-release 2>/dev/null || missing "this is not Debian: there is no /etc/os-release"
[[ ${ID:-} == debian ]] || missing "this is ${ID:-not Debian}, and not Debian"
((EUID == 0)) || missing "debootstrap needs root"
"$python" -m pip --version >/dev/null || missing "$python has no pip"

mkdir -p "$1"
folder=$(cd "$1" && pwd)
root=$folder/root
shift

if ! { command -v debootstrap && command -v qemu-aarch64-static; } >/dev/null; then
    apt-get -qq update || missing "apt-get update failed; is there a network?"
    apt-get -qq install -y --no-install-recommends debootstrap qemu-user-static >/dev/null ||
        missing "apt-get cannot install debootstrap and qemu-user-static"
fi

# What the system itself was installed from, and by which way.
mirror=$(apt-get indextargets --format '$(REPO_URI) $(CODENAME)' 'Created-By: Packages' |
    awk -v codename="$VERSION_CODENAME" '$2 == codename { print $1; exit }')
[[ -n $mirror ]] || missing "apt has no source of $VERSION_CODENAME"
eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
[[ -z ${http_proxy:-} ]] || export http_proxy
[[ -z ${https_proxy:-} ]] || export https_proxy

if [[ ! -e $root/.unpacked ]]; then
    rm -rf "$root"
    debootstrap --foreign --arch=arm64 --variant=minbase --include=python3 \
        "$VERSION_CODENAME" "$root" "$mirror" >"$folder/debootstrap.log" 2>&1 ||
        missing "debootstrap failed, and says in $folder/debootstrap.log: $(tail -1 "$folder/debootstrap.log")"
    # In place of the second stage, which would have the packages' scripts run: files are enough.
    for package in "$root"/var/cache/apt/archives/*.deb; do
        dpkg-deb --fsys-tarfile "$package" | tar -x --keep-directory-symlink -C "$root"
    done
    touch "$root/.unpacked"
fi

interpreter=$(readlink -f "$root/usr/bin/python3")
cat >"$folder/python" <<END
#!/bin/sh
PYTHONPATH="\${PYTHONPATH:+\$PYTHONPATH:}$folder/site"
export PYTHONPATH
exec qemu-aarch64-static -0 "\$0" -L "$root" "$interpreter" "\$@"
END
chmod +x "$folder/python"
libc=$("$folder/python" -c 'import platform; print(platform.libc_ver()[1])') ||
    missing "the emulator does not run $folder/python"

# Wheels are made for a C library of their age or newer.
platforms=(--platform manylinux2014_aarch64)
for minor in $(seq 17 "${libc#*.}"); do
    platforms+=(--platform "manylinux_2_${minor}_aarch64")
done
"$python" -m pip install --quiet --upgrade --target "$folder/site" --only-binary=:all: \
    --implementation cp --python-version "${interpreter##*python}" "${platforms[@]}" "$@" \
    2>"$folder/pip.log" ||
    missing "pip found no wheels, and says in $folder/pip.log: $(tail -1 "$folder/pip.log")"
