"""A host of the laboratory, and a connection to it."""

import enum
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

LOST = "the connection was lost"
"""How the error of a connection that broke begins, whatever broke it."""


class HostKeys(enum.Enum):
    """The policies for a host whose key is not in the file of known hosts."""

    STRICT = "strict"
    ACCEPT_NEW = "accept-new"
    """The key is taken and remembered. A key that differs from a known one is refused even so."""


@dataclass(frozen=True, slots=True)
class Reach:
    """How all hosts are reached."""

    known_hosts: Path
    host_keys: HostKeys
    connect_timeout: float
    """Seconds in which an attempt to connect has to succeed."""
    silence_timeout: float
    """Seconds without an answer to a keepalive after which a host counts as gone."""


@dataclass(frozen=True, slots=True)
class Hop:
    """One end of an ssh connection."""

    name: str
    address: str
    port: int
    user: str
    key: Path | None
    """The one key that is offered; None: the keys of ssh-agent and of ~/.ssh."""

    def __str__(self) -> str:
        """Return user, address and port, for errors."""
        return f"{self.user}@{self.address}:{self.port}"


@dataclass(frozen=True, slots=True)
class LabHost:
    """A host of the inventory."""

    hop: Hop
    jump: Hop | None
    """The host that the connection leads through."""
    sudo: bool
    directory: str
    """The directory of the host where `up` installs; it contains nothing else."""
    setup: tuple[str, ...]
    """The command that makes an unpacked checkout ready, run there."""

    @property
    def name(self) -> str:
        """The host's name in the inventory."""
        return self.hop.name


@dataclass(frozen=True, slots=True)
class Command:
    """A command for a host. Secrets belong into `stdin`: other users of the host can read `argv`."""

    argv: tuple[str, ...]
    cwd: str = "/"
    stdin: bytes = b""
    program: str = ""
    """The text of a program in Python's standard library alone, which is run in place of `argv[0]`."""


class Stopping:
    """How often somebody has asked for an end (Ctrl-C); any thread may ask."""

    def __init__(self) -> None:
        """Nobody has asked yet."""
        self._lock = threading.Lock()
        self.asked = 0

    def ask(self) -> None:
        """Ask once more: commands on hosts get SIGINT each time."""
        with self._lock:
            self.asked += 1


Output = Callable[[bytes], None]


@dataclass(frozen=True, slots=True)
class Streams:
    """Where a command's output goes, as it comes, in the thread that runs the command."""

    stdout: Output
    stderr: Output


class Connection(Protocol):
    """A way to run commands on one host, for one thread."""

    def run(self, command: Command, streams: Streams, stopping: Stopping) -> int:
        """The command's exit status, 128 and the signal's number where a signal ended it, 127 where it cannot start.

        Raises:
            Unavailable: the connection was lost. The host ends the command when it learns of that.
        """

    def close(self) -> None:
        """Let go of the host, which ends what still runs there."""
