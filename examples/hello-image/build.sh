#!/bin/bash
# Builds the image of ../hello-pod.yaml out of Debian packages (busybox and the C library) and gives it to vmsandbox.
# Needs what `make setup` installs. The archive is kept under /var/cache/vmsandbox and built again when this file changes.
set -euo pipefail
cd "$(dirname "$0")/../.."
. setup/steps.sh

readonly NAME=localhost/vmsandbox/hello:latest
readonly SUITE=trixie

main() {
    local archive
    archive=$CACHE/demo/hello-$(sha256sum examples/hello-image/build.sh | cut -c1-16).tar
    if [ -f "$archive" ]; then
        .venv/bin/vmsandbox image inspect "$NAME" >/dev/null 2>&1 && return
    else
        step hello-image "Building the example's image" build "$archive"
    fi
    step hello-load "Loading the example's image" .venv/bin/vmsandbox image load "$archive"
}

build() {
    local archive=$1 work
    work=$(mktemp -d)
    trap "rm -rf '$work'" EXIT
    make_root "$work/root"
    umoci init --layout "$work/layout"
    umoci new --image "$work/layout:latest"
    umoci insert --image "$work/layout:latest" "$work/root" /
    umoci config --image "$work/layout:latest" --config.cmd sh \
        --config.env PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
    mkdir -p "$(dirname "$archive")"
    skopeo --insecure-policy copy "oci:$work/layout:latest" "oci-archive:$work/hello.tar:$NAME"
    mv "$work/hello.tar" "$archive.new"
    mv "$archive.new" "$archive"
}

# A root file system with busybox, its commands as links, and no package management.
make_root() {
    .venv/bin/python -m vmsandbox.guestimage "$SUITE" |
        mmdebstrap --mode=root --variant=extract --include=base-files,busybox \
            --dpkgopt='path-exclude=/usr/share/*' --dpkgopt='path-exclude=/usr/lib/*/gconv/*' \
            "$SUITE" "$1" -
    rm -rf "$1"/etc/apt "$1"/etc/hostname "$1"/etc/resolv.conf "$1"/var/lib/apt "$1"/var/lib/dpkg "$1"/dev/*
    printf 'root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/:/bin/sh\n' >"$1/etc/passwd"
    printf 'root:x:0:\nnogroup:x:65534:\n' >"$1/etc/group"
    for applet in $(chroot "$1" busybox --list); do
        [ -e "$1/usr/bin/$applet" ] || ln -s busybox "$1/usr/bin/$applet"
    done
}

main
