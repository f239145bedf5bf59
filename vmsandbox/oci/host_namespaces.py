"""Namespaces of the host, told apart by their inodes (namespaces(7)).

A process stands on the host for each container: whoever joins a namespace of it is in the container's machine.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from vmsandbox.errors import InvalidArgument, NotFound, Unimplemented

PROC_NAMES = {"network": "net", "ipc": "ipc", "uts": "uts", "pid": "pid"}
"""The names in /proc/PID/ns of the runtime-spec's types that can be shared."""

Identity = tuple[int, int]
"""Device and inode."""


def read_namespace(path: str) -> Identity:
    """Return the identity of a namespace.

    Raises:
        NotFound: nothing is at the path, any more.
        InvalidArgument: it is something else.
    """
    try:
        found = Path(path).stat()
    except OSError as error:
        raise NotFound(f"there is no namespace at {path}: {error.strerror}") from None
    if found.st_dev != Path("/proc/self/ns/net").stat().st_dev:
        raise InvalidArgument(f"{path} is not a namespace", field="linux.namespaces")
    return found.st_dev, found.st_ino


def joined_namespaces(config: Mapping[str, Any]) -> dict[str, Identity]:
    """Return the namespaces that a config.json gives by a path, by their types.

    Raises:
        Unimplemented: one is the daemon's own, and so the host's.
        NotFound, InvalidArgument: as `read_namespace`.
    """
    found = {}
    for each in (config.get("linux") or {}).get("namespaces") or ():
        kind, path = str(each.get("type")), each.get("path")
        if path and kind in PROC_NAMES:
            found[kind] = read_namespace(str(path))
            if found[kind] == read_namespace(f"/proc/self/ns/{PROC_NAMES[kind]}"):
                raise Unimplemented(
                    f"{path} is the host's {kind} namespace, which a virtual machine cannot have",
                    field="linux.namespaces",
                )
    return found


def namespaces_of(pid: int) -> dict[str, Identity]:
    """Return the namespaces of a process by their types; none of one that has ended."""
    try:
        return {kind: read_namespace(f"/proc/{pid}/ns/{name}") for kind, name in PROC_NAMES.items()}
    except NotFound:
        return {}
