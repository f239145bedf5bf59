"""The libvirtd that vmsandbox starts (`own_libvirt`): its programs, configuration and scripts."""

import os
import shutil
from pathlib import Path

from vmsandbox.errors import FailedPrecondition
from vmsandbox.hypervisor.libvirt import QEMU_GROUP, QEMU_USER

_PROGRAMS = ("libvirtd", "virtlogd", "tini")
_QEMU_CONF = f"""\
# Written by vmsandbox; changes are lost.
user = "{QEMU_USER}"
group = "{QEMU_GROUP}"
# The distributions' AppArmor and SELinux rules know the directories of the system's libvirt, not of this one.
security_driver = "none"
seccomp_sandbox = 1
# Sizing a machine is enough here; vmsandbox moves it to a cgroup of its own.
cgroup_controllers = [ ]
# A core file would hold what pods keep secret. Libvirt 11 raises the limit by itself, or fails where it may not.
max_core = 0
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

_START = """
set -e
directory=$1 idle=$2 keep=$3
exec 9>>"$directory/alive.lock"
flock --nonblock 9 || exit 0
read -r stat <"/proc/$$/stat"
set -- $stat
echo "$$ ${22}" >"$directory/pid"
for place in etc:/etc/libvirt run:/run/libvirt lib:/var/lib/libvirt cache:/var/cache/libvirt log:/var/log/libvirt; do
    mkdir -p -m 755 "${place#*:}"
    mount --bind "$directory/${place%%:*}" "${place#*:}"
done
exec tini -s -g -- sh -c "$keep" sh "$idle"
"""
"""In the new mount namespace. Every program after the first one keeps the process's id and start time."""

_KEEP = """
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
until libvirtd --timeout="$1" --config=/etc/libvirt/libvirtd.conf --pid-file=/run/libvirt/libvirtd.pid; do
    [ -z "$ending" ] || break
    sleep 1
done
kill "$log"
wait "$log"
"""


def start_command(directory: Path, idle: int) -> list[str]:
    """Return the command that becomes the libvirtd of a directory, in namespaces of its own.

    Args:
        directory: has `etc`, `run`, `lib`, `cache` and `log`.
        idle: seconds without a client and a machine after which it ends.
    """
    apart = ["unshare", "--mount", "--ipc", "--uts", "--propagation=slave"]
    return [*apart, "sh", "-c", _START, "sh", str(directory), str(idle), _KEEP]


def check_programs() -> None:
    """Raise FailedPrecondition if a program is missing."""
    missing = [name for name in _PROGRAMS if not found(name)]
    if missing:
        raise FailedPrecondition(
            f"no libvirt answers at qemu:///system, and {', '.join(missing)} is not installed",
            hint="apt-get install libvirt-daemon libvirt-daemon-driver-qemu tini; or libvirt-daemon-system",
        )


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
