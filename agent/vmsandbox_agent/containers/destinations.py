"""Where in its root a container's mounts go: the image's symbolic links are followed, also those that lead to nothing.

crun makes the target of a mount that is missing, but refuses one behind a dangling link; runc makes both, within the
root. So crun is given names in which no link is left.
"""

import os
from collections import deque
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from vmsandbox.protocol.codec import JSON
from vmsandbox_agent.errors import AgentError

_MAX_LINKS = 40
"""Symbolic links on the way to one name, as many as Linux follows (path_resolution(7))."""


def resolve_destinations(mounts: Iterable[JSON], root: Path) -> list[JSON]:
    """Return the mounts of a runtime-spec, each with the destination that its links lead to, within `root`.

    What an earlier mount covers is not looked into: the image's links do not count there.

    Args:
        mounts: in the order in which they are made.
        root: the container's root, which is hostile, and in which nothing runs yet.

    Raises:
        AgentError: the links of a destination lead in a circle.
    """
    covered: set[str] = set()
    return [_with_destination(mount, root, covered) for mount in mounts]


def resolve(name: str, root: Path) -> str:
    """Return the name that a name's links lead to, within `root`; nothing has to be there.

    Raises:
        AgentError: its links lead in a circle.
    """
    return _resolve(name, root, set())


def _with_destination(mount: JSON, root: Path, covered: set[str]) -> JSON:
    destination = mount.get("destination") if isinstance(mount, dict) else None
    if not isinstance(mount, dict) or not isinstance(destination, str):
        return mount  # crun says what is wrong with it
    resolved = _resolve(destination, root, covered)
    covered.add(resolved)
    completed: dict[str, Any] = {**mount, "destination": resolved}
    return completed


def _resolve(destination: str, root: Path, covered: set[str]) -> str:
    waiting, here, links = deque(destination.split("/")), "", 0
    while waiting:
        part = waiting.popleft()
        if part == "..":
            here = here.rpartition("/")[0]
        elif part not in ("", "."):
            target = None if _is_covered(here, covered) else _link(root, f"{here}/{part}")
            if target is None:
                here = f"{here}/{part}"
                continue
            links += 1
            if links > _MAX_LINKS:
                raise AgentError(
                    "invalid_argument", f"the image's symbolic links on the way to {destination} never end"
                )
            waiting.extendleft(reversed(target.split("/")))
            here = "" if target.startswith("/") else here
    return here or "/"


def _is_covered(directory: str, covered: set[str]) -> bool:
    parts = directory.split("/")
    return any("/".join(parts[:count]) in covered for count in range(2, len(parts) + 1))


def _link(root: Path, name: str) -> str | None:
    """Return the target of a symbolic link, None of anything else; no directory in `name` is a link."""
    try:
        return os.readlink(f"{root}{name}")  # noqa: PTH115 - three times as quick, once for each part of each name
    except OSError:
        return None
