"""One row of the table."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.standins.images import PARITY


@dataclass(frozen=True)
class Place:
    """Where a container has a directory that it mounts more than once."""

    path: str
    part: str = ""
    """Of the directory: a path in it."""
    readonly: bool = False


@dataclass(frozen=True)
class Behaviour:
    """A container, a question to it, and where the question comes from.

    The answer is what `script` prints, standard error included, its exit code and the reason that the runtime gives.
    With `exec` the script prepares the container, and the answer is that of a command run in it; without a script
    the container is one that behaviours of the same image, volumes and settings share, as a machine takes seconds
    to make one. A command starts in the first of the volumes.
    """

    name: str
    source: str
    """A report in a public tracker, a specification, or an issue of this project."""
    script: str
    exec: str = ""
    image: str = PARITY
    volumes: tuple[str, ...] = ()
    """Paths in the container; each has a directory of the host with a `file`, writable by all."""
    owner: tuple[int, int, int] = (0, 0, 0o777)
    """User, group and mode of these directories."""
    places: tuple[Place, ...] = ()
    """Of one more directory: with a `file`, a `page` of 4 KiB, and a directory `sub` with another `page`."""
    read_only: bool = False
    """The volumes are."""
    security: Mapping[str, Any] = field(default_factory=dict)
    """CRI LinuxContainerSecurityContext."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of a CRI ContainerConfig."""
    differs: str = ""
    """Why the answer is another one here; empty where it has to be the same."""
