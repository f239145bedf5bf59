"""The cgroup that a caller names (`linux.cgroupsPath`): the container's process on the host is put into it.

The daemon puts the machine below it, so that its limits and its figures are those of both.
"""

import contextlib
import os

from vmsandbox.oci_command.errors import CommandError

_ROOT = "/sys/fs/cgroup"
_UNIFIED_CHILD = "vmsandbox-process"
"""The cgroup of the process in version 2, where one that has others below it, as the machine's, has no processes."""


def check(path: str, systemd: bool) -> None:
    """Raise CommandError for a cgroup that this command does not make."""
    if systemd:
        raise CommandError(
            "--systemd-cgroup is not supported yet: have the caller use cgroupfs "
            '(cgroup_manager = "cgroupfs" in podman\'s containers.conf)'
        )
    if ".." in path.split("/"):
        raise CommandError(f"linux.cgroupsPath {path!r} is not the path of a cgroup")


def join(path: str) -> None:
    """Put this process into the cgroup of every hierarchy; it is made where it is missing. Raises OSError."""
    for directory in _directories(path, joined=True):
        os.makedirs(directory, exist_ok=True)
        _copy_cpuset(directory)
        with open(os.path.join(directory, "cgroup.procs"), "w", encoding="ascii") as file:
            file.write("0")


def remove(path: str) -> None:
    """Remove the cgroup, as far as nobody else uses it."""
    for directory in (*_directories(path, joined=True), *_directories(path)):
        with contextlib.suppress(OSError):
            os.rmdir(directory)


def _directories(path: str, joined: bool = False) -> list[str]:
    """Return its directories. `joined`: those that have processes."""
    below = path.strip("/")
    if not below:
        return []
    if os.path.exists(f"{_ROOT}/cgroup.controllers"):
        return [f"{_ROOT}/{below}/{_UNIFIED_CHILD}" if joined else f"{_ROOT}/{below}"]
    found = {}
    for name in sorted(os.listdir(_ROOT)):
        directory = f"{_ROOT}/{name}"
        if os.path.exists(f"{directory}/cgroup.procs"):
            found[os.stat(directory).st_dev] = f"{directory}/{below}"  # cpu and cpuacct may be one
    return list(found.values())


def _copy_cpuset(directory: str) -> None:
    """A new cpuset of version 1 has no CPUs, and takes no processes before it has."""
    if not os.path.exists(f"{directory}/cpuset.cpus"):
        return
    if os.path.dirname(directory) != "/":
        for name in ("cpuset.cpus", "cpuset.mems"):
            with open(f"{directory}/{name}", encoding="ascii") as file:
                has = file.read().strip()
            parent = os.path.dirname(directory)
            if not has and os.path.exists(f"{parent}/{name}"):
                _copy_cpuset(parent)
                with open(f"{parent}/{name}", encoding="ascii") as file:
                    wanted = file.read()
                with open(f"{directory}/{name}", "w", encoding="ascii") as file:
                    file.write(wanted)
