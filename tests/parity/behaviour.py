"""One row of the table."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from tests.standins.images import PARITY


@dataclass(frozen=True)
class Place:
    """Where a container has a directory that it mounts more than once."""

    path: str
    part: str = ""
    """The path in the directory."""
    readonly: bool = False


@dataclass(frozen=True)
class Behaviour:
    """A container, a question to it, and where the question comes from.

    The answer is what `script` prints, standard error included, and its exit code. With `exec` the script prepares the
    container, and the answer is that of a command run in it, which starts in the first of the volumes.

    As a machine takes seconds to make a container, behaviours of the same image, volumes and settings share one:
    commands, and scripts, which run one after the other in the order of the table.
    """

    name: str
    source: str
    """A report in a public tracker, a specification, or an issue of this project."""
    script: str
    exec: str = ""
    alone: bool = False
    """Whether the script has a container to itself, whose end with the reason that the runtime gives is in the answer.

    For those that ask of it, and those that change what others look at.
    """
    image: str = PARITY
    volumes: tuple[str, ...] = ()
    """Paths in the container; each has a directory of the host with a `file`, writable by all."""
    owner: tuple[int, int, int] = (0, 0, 0o777)
    """User, group and mode of these directories."""
    places: tuple[Place, ...] = ()
    """The places of one more directory: with a `file`, a `page` of 4 KiB, and a directory `sub` with a `page`."""
    read_only: bool = False
    """The volumes are."""
    disks: Mapping[str, str] = field(default_factory=dict)
    """Paths of raw block volumes and their permissions; each is of 1 MiB, its node on the host 0640 and 1001:1002."""
    security: Mapping[str, Any] = field(default_factory=dict)
    """CRI LinuxContainerSecurityContext."""
    config: Mapping[str, Any] = field(default_factory=dict)
    """Further fields of a CRI ContainerConfig."""
    differs: str = ""
    """Why the answer is another one here; empty where it has to be the same."""

    @property
    def container(self) -> str:
        """The settings that distinguish its container from others."""
        return repr(replace(self, name="", source="", script="", exec="", differs=""))
