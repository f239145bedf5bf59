#!/bin/bash
# Makes a checkout ready on Debian 12, Debian 13 or Ubuntu 24.04: packages, .venv, the vsock device daemon, virtiofsd, the
# guest image. Each step is skipped when its inputs have not changed, so that running it again takes a few seconds.
set -euo pipefail
cd "$(dirname "$0")/.."
. setup/steps.sh
. setup/distributions.sh

readonly VSOCK_VERSION=0.3.0
readonly VSOCK_BUILD=setup/build-vhost-device-vsock.sh
VSOCK_ROOT=$CACHE/vhost-device-vsock-$VSOCK_VERSION-$(sha256sum <"$VSOCK_BUILD" | cut -c1-8)
readonly VSOCK_ROOT

main() {
    local image
    [ "$(id -u)" = 0 ] || { echo "setup installs packages and builds images: run it as root" >&2; exit 1; }
    if [ -f /etc/debian_version ]; then
        install_packages $(sed 's/#.*//' setup/debian-packages.txt)
        has_docker || step docker "Fetching Docker for the tests" fetch_docker
    else
        echo "This is not Debian: install what corresponds to setup/debian-packages.txt by hand." >&2
    fi
    prepare_users
    make_venv
    # A package is for hosts without the kernel's vsock, too.
    [ -e /dev/vhost-vsock ] && [ -z "${EVERY_HELPER:-}" ] || [ -x "$VSOCK_ROOT/bin/vhost-device-vsock" ] || install_vhost_device_vsock
    has_virtiofsd || install_virtiofsd
    image=$(.venv/bin/vmsandbox image build-guest)
    echo "Setup: done, $SECONDS s; the guest image is $image"
}

# Installs those of the named packages that are missing; no network is needed when none is. What another package
# provides is there: a host with Docker's containerd.io keeps it.
install_packages() {
    local missing
    missing=$(comm -13 <(installed_packages | sort -u) <(printf '%s\n' "$@" | sort -u))
    [ -n "$missing" ] || return 0
    step apt-update "Reading Debian's package lists" apt-get update
    step apt-install "Installing $(echo "$missing" | wc -l) Debian packages" \
        env DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends $missing
}

installed_packages() {
    dpkg-query -W -f '${db:Status-Abbrev}${Package}, ${Provides}\n' | sed -n 's/^.i //p' |
        tr , '\n' | sed 's/^ *//; s/ .*//'
}

# QEMU runs as this user, as Debian's libvirt-daemon-system would make it, and opens /dev/kvm through the group.
prepare_users() {
    getent group kvm >/dev/null || groupadd --system kvm
    # Debian's libvirt does not start without this group, although its QEMUs get another.
    getent group libvirt-qemu >/dev/null || groupadd --system libvirt-qemu
    getent passwd libvirt-qemu >/dev/null ||
        useradd --system --gid kvm --home-dir /var/lib/libvirt --no-create-home --shell /usr/sbin/nologin libvirt-qemu
    make_user vmsandbox-images  # runs what reads images; packaging/sysusers.d has the same
    # Where udev has not done it, libvirt would probe QEMU anew at every look-up: seconds each.
    if [ -e /dev/kvm ] && [ "$(stat -c %G /dev/kvm)" != kvm ]; then
        chgrp kvm /dev/kvm
        chmod 660 /dev/kvm
    fi
}

# A user that owns nothing and cannot log in, with a group of the same name.
make_user() {
    getent passwd "$1" >/dev/null ||
        useradd --system --user-group --home-dir /nonexistent --no-create-home --shell /usr/sbin/nologin "$1"
}

make_venv() {
    local libvirt key
    libvirt=$(pkg-config --modversion libvirt)
    key=$({ cat pyproject.toml; echo "$libvirt"; /usr/bin/python3 --version; pwd; } | sha256sum)
    [ "$(cat .venv/setup-key 2>/dev/null)" != "$key" ] || return 0
    .venv/bin/pip --version >/dev/null 2>&1 ||  # missing, or moved with its checkout
        step venv "Making .venv" /usr/bin/python3 -m venv --clear .venv
    echo "libvirt-python==$libvirt" >.venv/constraints.txt  # never newer than the library it is built against
    step pip "Installing the project and its Python dependencies into .venv" \
        .venv/bin/pip install --use-pep517 --constraint .venv/constraints.txt --editable '.[dev]'
    echo "$key" >.venv/setup-key
}

# No distribution here packages vhost-device-vsock; hosts with /dev/vhost-vsock do not need it.
install_vhost_device_vsock() {
    at_least "$CARGO_AT_LEAST" "$(cargo --version 2>/dev/null | cut -d' ' -f2)" || install_cargo
    step vhost-device-vsock "Building vhost-device-vsock $VSOCK_VERSION" \
        "$VSOCK_BUILD" "$VSOCK_VERSION" "$VSOCK_ROOT"
    mkdir -p "$CACHE/bin"
    ln -sfn "$VSOCK_ROOT/bin/vhost-device-vsock" "$CACHE/bin/vhost-device-vsock"
}

main
