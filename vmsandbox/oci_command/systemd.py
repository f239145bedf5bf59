"""Cgroups that systemd makes (`--systemd-cgroup`): a scope for each container, delegated to it.

`linux.cgroupsPath` is then `SLICE:PREFIX:NAME`. systemd is asked with busctl(1), which comes with it.
"""

import os
import subprocess
import time

from vmsandbox.oci_command.errors import CommandError

_DEADLINE = 10.0
"""Seconds in which systemd has to have put a process into its scope."""


def path_of(cgroups_path: str, container_id: str) -> str:
    """Return the path of the scope below the root of the hierarchies. Raises CommandError: systemd does not run.

    Args:
        cgroups_path: as in config.json; empty: a scope in system.slice.
        container_id: the name of the scope, where none is given.
    """
    if not os.path.isdir("/run/systemd/system"):
        raise CommandError("systemd not running on this host, cannot use systemd cgroups manager")
    parts = cgroups_path.split(":") if cgroups_path else ["system.slice", "vmsandbox", container_id]
    if len(parts) != 3:
        raise CommandError(
            'expected cgroupsPath to be of format "slice:prefix:name" for systemd cgroups, '
            f'got "{cgroups_path}" instead'
        )
    slice_name, prefix, name = parts
    return f"{expanded(slice_name or 'system.slice')}/{f'{prefix}-{name}' if prefix else name}.scope"


def expanded(slice_name: str) -> str:
    """Return the path of a slice: `a-b.slice` is below `a.slice` (systemd.slice(5)). Raises CommandError."""
    name = slice_name.removesuffix(".slice")
    if not slice_name.endswith(".slice") or "/" in name:
        raise CommandError(f"invalid slice name: {slice_name}")
    if name == "-":
        return ""
    parts = name.split("-")
    if not all(parts):
        raise CommandError(f"invalid slice name: {slice_name}")
    return "".join(f"/{'-'.join(parts[: count + 1])}.slice" for count in range(len(parts)))


def enter_scope(path: str) -> None:
    """Have systemd make the scope of that path for this process, and return when it is in it. Raises CommandError."""
    slice_name, scope = os.path.basename(os.path.dirname(path)) or "-.slice", os.path.basename(path)
    properties = ["PIDs", "au", "1", str(os.getpid()), "Delegate", "b", "true", "Slice", "s", slice_name,
                  "CollectMode", "s", "inactive-or-failed"]  # fmt: skip
    call = ["busctl", "call", "org.freedesktop.systemd1", "/org/freedesktop/systemd1",
            "org.freedesktop.systemd1.Manager", "StartTransientUnit", "ssa(sv)a(sa(sv))", scope, "replace",
            "4", *properties, "0"]  # fmt: skip
    try:
        done = subprocess.run(call, capture_output=True, text=True, timeout=_DEADLINE, check=False)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise CommandError(f"systemd cannot be asked for {scope}: {error}") from None
    if done.returncode:
        raise CommandError(f"systemd does not make {scope}: {done.stderr.strip()}")
    deadline = time.monotonic() + _DEADLINE
    while not _is_in(path):
        if time.monotonic() > deadline:
            raise CommandError(f"systemd has not put the container's process into {scope}")
        time.sleep(0.01)


def _is_in(path: str) -> bool:
    with open("/proc/self/cgroup", encoding="utf-8") as file:
        return any(line.rstrip("\n").partition(":")[2].partition(":")[2] == path for line in file)
