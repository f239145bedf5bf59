"""The commands that change a container which exists: pause, resume, update."""

import re
from collections.abc import Callable, Mapping
from typing import Any

from vmsandbox.oci_command.base import CommandBase, read_json
from vmsandbox.oci_command.errors import CommandError

_SIZE = re.compile(r"(-?\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_POWERS = {unit: 1024**power for power, unit in enumerate(("", "k", "m", "g", "t", "p"))}


def _number(text: str) -> int:
    return int(text)


def _size(text: str) -> int:
    """Return bytes: `512`, `100m`, `1.5GiB`."""
    if not (found := _SIZE.fullmatch(text)):
        raise ValueError
    return int(float(found[1]) * _POWERS[found[2].lower()])


_FLAGS: Mapping[str, tuple[str, str, Callable[[str], int | str]]] = {
    "blkio-weight": ("blockIO", "weight", _number),
    "cpu-period": ("cpu", "period", _number),
    "cpu-quota": ("cpu", "quota", _number),
    "cpu-share": ("cpu", "shares", _number),
    "cpu-rt-period": ("cpu", "realtimePeriod", _number),
    "cpu-rt-runtime": ("cpu", "realtimeRuntime", _number),
    "cpuset-cpus": ("cpu", "cpus", str),
    "cpuset-mems": ("cpu", "mems", str),
    "kernel-memory": ("memory", "kernel", _size),
    "kernel-memory-tcp": ("memory", "kernelTCP", _size),
    "memory": ("memory", "limit", _size),
    "memory-reservation": ("memory", "reservation", _size),
    "memory-swap": ("memory", "swap", _size),
    "pids-limit": ("pids", "limit", _number),
}
"""The options of `update`, by their names: the fields of linux.resources that they are (runtime-spec)."""


class Controls(CommandBase):
    """The commands; see the module."""

    def do_pause(self) -> int:
        """Keep all processes of a container from running, until `resume`."""
        entry = self._find()
        if self._status(entry) not in ("running", "created"):
            raise CommandError("container not running")
        self._daemon.call("pause", container=entry.container)
        entry.save(paused=True)
        return 0

    def do_resume(self) -> int:
        """Let the processes of a paused container go on."""
        entry = self._find()
        if self._status(entry) != "paused":
            raise CommandError("container not paused")
        self._daemon.call("resume", container=entry.container)
        entry.save(paused=False)
        return 0

    def do_update(self) -> int:
        """Change the limits of a container, and of its machine."""
        entry = self._find()
        if self._status(entry) == "stopped":
            raise CommandError("container not running")
        path = self._own.get("resources")
        resources = read_json(path) if path else self._limits()
        self._daemon.call("update", container=entry.container, resources=resources)
        return 0

    def _limits(self) -> dict[str, Any]:
        """Return the limits that options name. Raises CommandError."""
        for name in ("l3-cache-schema", "mem-bw-schema"):
            if self._own.get(name):
                raise CommandError(f"--{name}: the caches of the host's CPUs are not the machine's")
        resources: dict[str, dict[str, Any]] = {}
        for name, (part, field, read) in _FLAGS.items():
            if text := self._own.get(name):
                try:
                    resources.setdefault(part, {})[field] = read(text)
                except ValueError:
                    raise CommandError(f"invalid value for {name}: {text!r}") from None
        return resources
