"""One process that runs pods: its directories, and what a crashed one left in them.

The daemon has RUN/serve and STATE/serve; every process that runs a pod without it has a number, and the directories
RUN/run/N and STATE/run/N. Each holds a flock(2) on its state directory. A number whose lock is free belongs to nobody:
what lies in its directories was left by a process that was killed, and the next process that takes the number gives it
back before it starts anything (docs/on-disk.md).
"""

import contextlib
import fcntl
import itertools
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.errors import FailedPrecondition
from vmsandbox.fs import PASSABLE, make_directory, make_missing

_LOCK = "lock"
_STATE = "state.db"
_NUMBERS = "run"
_DAEMON = "serve"


@dataclass(frozen=True, slots=True)
class Instance:
    """The directories of one process, its own for as long as it lives."""

    runtime: Path
    """For sockets and libvirt; gone after a reboot."""
    persistent: Path
    """For disks and records."""

    @property
    def database(self) -> Path:
        """Its state database."""
        return self.persistent / _STATE

    @property
    def logs(self) -> Path:
        """Of the containers of a pod that the daemon runs for this process."""
        return self.persistent / "logs"

    @property
    def embedded_libvirt(self) -> str:
        """The URI of a libvirt inside this process, which needs no libvirtd."""
        return f"qemu:///embed?root={self.runtime / 'libvirt'}"


@contextlib.contextmanager
def claim(run_directory: Path, state_directory: Path) -> Iterator[Instance]:
    """Own the lowest free number, one that a crashed process left before a new one.

    When the context is left the directories are empty but for files nobody needs, unless giving back failed: then
    the state database stays, for the next owner.
    """
    numbers = state_directory / _NUMBERS
    _make_tops(run_directory, state_directory)
    for directory in (numbers, run_directory / _NUMBERS):
        make_directory(directory, PASSABLE)
    lock, name = next(filter(None, (_try_lock(numbers, str(number)) for number in itertools.count())))
    with _owned(lock, Instance(run_directory / _NUMBERS / name, numbers / name)) as instance:
        yield instance


@contextlib.contextmanager
def claim_daemon(run_directory: Path, state_directory: Path) -> Iterator[Instance]:
    """Own the directories of the daemon. What is in them stays: its machines outlive it.

    Raises:
        FailedPrecondition: another daemon has them.
    """
    _make_tops(run_directory, state_directory)
    locked = _try_lock(state_directory, _DAEMON)
    if locked is None:
        raise FailedPrecondition(
            f"another `vmsandbox serve` runs with {state_directory}", hint="stop it, or set another state_directory"
        )
    with _owned(locked[0], Instance(run_directory / _DAEMON, state_directory / _DAEMON)) as instance:
        yield instance


def _make_tops(*directories: Path) -> None:
    """Make what is missing. One that exists may be shared with others (/srv), and stays as the administrator has it."""
    for directory in directories:
        make_missing(directory, PASSABLE)


@contextlib.contextmanager
def _owned(lock: int, instance: Instance) -> Iterator[Instance]:
    try:
        make_directory(instance.runtime, PASSABLE)
        yield instance
    finally:
        os.close(lock)


def crashed(state_directory: Path) -> bool:
    """Whether a process that was killed has left something that nobody has given back yet."""
    for database in (state_directory / _NUMBERS).glob(f"*/{_STATE}"):
        claimed = _try_lock(database.parent.parent, database.parent.name)
        if claimed is not None:
            os.close(claimed[0])
            return True
    return False


def _try_lock(numbers: Path, name: str) -> tuple[int, str] | None:
    make_directory(numbers / name, PASSABLE)
    fd = os.open(numbers / name / _LOCK, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(fd)
        return None
    return fd, name
