"""The cgroup that a caller names (`linux.cgroupsPath`): the container's process on the host is put into it.

The daemon puts the machine below it, so that its limits and its figures are those of both.
"""

import contextlib
import os
from collections.abc import Mapping
from typing import Any

from vmsandbox.oci_command.errors import CommandError

_ROOT = "/sys/fs/cgroup"
_WITHOUT_CONTROLLERS = (f"{_ROOT}/systemd/", f"{_ROOT}/unified/")
"""The hierarchies beside those of version 1 in which processes are only told apart."""
_UNIFIED_CHILD = "vmsandbox-process"
"""The cgroup of the process in version 2, where one that has others below it, as the machine's, has no processes."""


def resolved(config: Mapping[str, Any], container_id: str, *, systemd: bool) -> dict[str, Any]:
    """Return a config.json whose `linux.cgroupsPath` is a path below the hierarchies' roots, or empty.

    Raises:
        CommandError: it is not the path of a cgroup, or systemd is to make it and does not run.
    """
    path = cgroup_of(config)
    if systemd:
        from vmsandbox.oci_command.systemd import path_of

        path = path_of(path, container_id)
    elif ".." in path.split("/"):
        raise CommandError(f"linux.cgroupsPath {path!r} is not the path of a cgroup")
    elif path:  # One that is meant for systemd is taken for a name, which is what runc does.
        path = f"/{path.lstrip('/')}"
    return {**config, "linux": {**(config.get("linux") or {}), "cgroupsPath": path}}


def cgroup_of(config: Mapping[str, Any]) -> str:
    """Return `linux.cgroupsPath`."""
    return str((config.get("linux") or {}).get("cgroupsPath") or "")


def join(path: str) -> None:
    """Put this process into the cgroup of every hierarchy; it is made where it is missing. Raises OSError."""
    for directory in _directories(path, joined=True):
        os.makedirs(directory, exist_ok=True)
        _copy_cpuset(directory)
        with open(os.path.join(directory, "cgroup.procs"), "w", encoding="ascii") as file:
            file.write("0")


def pids(path: str) -> list[int]:
    """Return the processes that stand for a container's on the host: those in its cgroup, without the machine's."""
    for directory in _directories(path, joined=True):
        with contextlib.suppress(OSError), open(f"{directory}/cgroup.procs", encoding="ascii") as file:
            return sorted(map(int, file.read().split()))
    return []


def memory_limits_of(path: str) -> str:
    """Return the directory that limits the memory of the processes; empty: none does."""
    files = ("memory.max", "memory.limit_in_bytes")
    found = (each for each in _directories(path, joined=True) for name in files if os.path.exists(f"{each}/{name}"))
    return next(found, "")


def remove(path: str) -> None:
    """Remove the cgroup, as far as nobody else uses it.

    Its parents are the caller's, except in hierarchies without controllers: callers do not remove them there.
    """
    for directory in (*_directories(path, joined=True), *_directories(path)):
        with contextlib.suppress(OSError):
            if directory.startswith(_WITHOUT_CONTROLLERS):
                os.removedirs(directory)  # up to the first one that is not empty
            else:
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
