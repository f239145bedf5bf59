"""The libvirtd that vmsandbox starts (`own_libvirt`): its programs, its configuration, and the scripts that run it."""

import os
import shutil
from pathlib import Path

from vmsandbox.errors import FailedPrecondition
from vmsandbox.hypervisor.libvirt import QEMU_GROUP, QEMU_USER

PROGRAMS = {"libvirtd": "libvirt-sock", "virtqemud": "virtqemud-sock"}
"""The daemons that run machines, the preferred one first, and the names of their sockets."""

_QEMU_CONF = f"""\
# Written by vmsandbox; changes are lost.
user = "{QEMU_USER}"
group = "{QEMU_GROUP}"
# The distributions' AppArmor and SELinux rules know the directories of the system's libvirt, not of this one.
security_driver = "none"
seccomp_sandbox = 1
# Sizing a machine is enough here; vmsandbox moves it to a cgroup of its own.
cgroup_controllers = [ ]
"""
_DAEMON_CONF = """\
# Written by vmsandbox; changes are lost.
auth_unix_rw = "none"
unix_sock_rw_perms = "0700"
unix_sock_ro_perms = "0700"
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""
_VIRTLOGD_CONF = """\
# Written by vmsandbox; changes are lost.
max_size = 262144
max_backups = 1
log_outputs = "3:file:/var/log/libvirt/libvirtd.log"
"""

CONFIGURATION = {"qemu.conf": _QEMU_CONF, "libvirtd.conf": _DAEMON_CONF, "virtlogd.conf": _VIRTLOGD_CONF}
"""The files of /etc/libvirt."""

START = """
set -e
directory=$1 daemon=$2 idle=$3 keep=$4
exec 9>>"$directory/alive.lock"
flock --nonblock 9 || exit 0
read -r stat <"/proc/$$/stat"
set -- $stat
echo "$$ ${22}" >"$directory/pid"
for place in etc:/etc/libvirt run:/run/libvirt lib:/var/lib/libvirt cache:/var/cache/libvirt log:/var/log/libvirt; do
    mkdir -p -m 755 "${place#*:}"
    mount --bind "$directory/${place%%:*}" "${place#*:}"
done
exec tini -s -g -- sh -c "$keep" sh "$daemon" "$idle"
"""
"""In the new mount namespace. Every program after the first one keeps the process's id and start time."""

KEEP = """
keep_log() {
    trap 'kill "$!" 2>/dev/null; wait; exit' TERM
    while :; do
        virtlogd --config=/etc/libvirt/virtlogd.conf --pid-file=/run/libvirt/virtlogd.pid &
        wait "$!"
        sleep 1
    done
}
keep_log &
log=$!
ending=
trap 'ending=1' TERM
until "$1" --timeout="$2" --config=/etc/libvirt/libvirtd.conf --pid-file=/run/libvirt/libvirtd.pid; do
    [ -z "$ending" ] || break
    sleep 1
done
kill "$log"
wait "$log"
"""


def daemon() -> str | None:
    """The installed daemon that runs machines; None if there is none."""
    return next((name for name in PROGRAMS if found(name)), None)


def found(name: str) -> str | None:
    """The path of a program of libvirt, which a user's PATH may not have; None if it is not installed."""
    return shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:/usr/sbin:/sbin")


def check_rights() -> None:
    """Raise FailedPrecondition in a process whose restrictions would be those of libvirtd and QEMU as well."""
    status = Path("/proc/self/status").read_text()
    if "NoNewPrivs:\t1" in status:
        raise FailedPrecondition(
            "no libvirt answers at qemu:///system, and a libvirtd started here would be restricted as this process is "
            "(NoNewPrivileges)",
            hint="with the systemd unit, use the system's: apt-get install libvirt-daemon-system",
        )
