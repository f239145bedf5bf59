#!/bin/sh
# Makes a fresh Debian 12 or 13 a host that `vmsandbox lab up` can reach and install on. Run as root; may be repeated.
# Vagrantfile, lima.yaml and cloud-init.yaml all run this one script.
set -eu

[ "$(id -u)" = 0 ] || { echo "run this as root" >&2; exit 1; }

export DEBIAN_FRONTEND=noninteractive
apt-get update
apt-get install -y --no-install-recommends ca-certificates git make openssh-server python3 sudo tar util-linux

# A way to the guests that needs no process for each of them; without it, `make setup` builds vhost-device-vsock.
if modprobe vhost_vsock 2>/dev/null; then
    echo vhost_vsock >/etc/modules-load.d/vmsandbox-lab.conf
fi

# Nested machines are quick only where this machine has KVM itself.
[ -e /dev/kvm ] || echo "note: there is no /dev/kvm here: pods will be emulated, slowly" >&2

echo "ready for vmsandbox lab up"
