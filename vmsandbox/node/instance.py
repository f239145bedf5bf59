"""One process that runs pods: its directories, and what a crashed one left in them.

The daemon has RUN/serve and STATE/serve; every process that runs a pod without it has a number, and the directories
RUN/run/N and STATE/run/N. Each holds a flock(2) on its state directory. A number whose lock is free belongs to nobody:
what lies in its directories was left by a process that was killed, and the next process that takes the number gives it
back before it starts anything (docs/on-disk.md).
"""

import contextlib
import itertools
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from vmsandbox.errors import FailedPrecondition
from vmsandbox.fs import PASSABLE, make_directory, make_missing
from vmsandbox.fs.locks import try_locked

_LOCK = "lock"
_STATE = "state.db"
_NUMBERS = "run"
_DAEMON = "serve"
_SOCKET = "cri.sock"


@dataclass(frozen=True, slots=True)
class Instance:
    """The directories of one process, its own for as long as it lives."""

    runtime: Path
    """For sockets and libvirt; gone after a reboot."""
    persistent: Path
    """For disks and records."""
    stays: bool = False
    """Whether what is in them is of use to the next process, as for the daemon."""

    @property
    def templates(self) -> Path | None:
        """The directory of templates; None for a process that runs one pod, and would never use what it makes."""
        return self.persistent / "templates" if self.stays else None

    @property
    def database(self) -> Path:
        """The state database of the process."""
        return self.persistent / _STATE

    @property
    def socket(self) -> Path:
        """The socket at which a process without a daemon serves the CRI of its pod, for root alone."""
        return self.runtime / _SOCKET

    @property
    def logs(self) -> Path:
        """The directory for logs of a pod."""
        return self.persistent / "logs"

    @property
    def embedded_libvirt(self) -> str:
        """The URI of a libvirt inside this process, which needs no libvirtd."""
        return f"qemu:///embed?root={self.runtime / 'libvirt'}"


@contextlib.contextmanager
def claim(run_directory: Path, state_directory: Path) -> Iterator[Instance]:
    """Own the lowest free number, one that a crashed process left before a new one.

    When the context is left the directories are empty except for files that nobody needs, unless giving back failed:
    then the state database stays, for the next owner.
    """
    numbers = state_directory / _NUMBERS
    _make_tops(run_directory, state_directory)
    for directory in (numbers, run_directory / _NUMBERS):
        make_directory(directory, PASSABLE)
    with contextlib.ExitStack() as stack:
        name = next(name for name in map(str, itertools.count()) if _try_lock(stack, numbers / name))
        yield _made(Instance(run_directory / _NUMBERS / name, numbers / name))


@contextlib.contextmanager
def claim_daemon(run_directory: Path, state_directory: Path) -> Iterator[Instance]:
    """Own the directories of the daemon. What is in them stays: its machines outlive it.

    Raises:
        FailedPrecondition: another daemon has them.
    """
    _make_tops(run_directory, state_directory)
    with contextlib.ExitStack() as stack:
        if not _try_lock(stack, state_directory / _DAEMON):
            raise FailedPrecondition(
                f"another `vmsandbox serve` runs with {state_directory}", hint="stop it, or set another state_directory"
            )
        yield _made(Instance(daemon_runtime(run_directory), state_directory / _DAEMON, stays=True))


def daemon_runtime(run_directory: Path) -> Path:
    """The runtime directory of the daemon's instance."""
    return run_directory / _DAEMON


def run_sockets(run_directory: Path) -> tuple[Path, ...]:
    """The sockets of processes that run a pod without the daemon, and of killed ones; root alone sees any."""
    try:
        numbers = sorted((run_directory / _NUMBERS).iterdir())
    except OSError:  # No process has run a pod on this host, or this user may not list them.
        return ()
    return tuple(number / _SOCKET for number in numbers if (number / _SOCKET).exists())


def _make_tops(*directories: Path) -> None:
    """Make missing directories. One that exists may be shared (/srv), and stays as the administrator made it."""
    for directory in directories:
        make_missing(directory, PASSABLE)


def _made(instance: Instance) -> Instance:
    make_directory(instance.runtime, PASSABLE)
    return instance


def _try_lock(stack: contextlib.ExitStack, directory: Path) -> bool:
    """Hold the lock of a state directory, which is made, until `stack` is left; False where another process has it."""
    make_directory(directory, PASSABLE)
    return stack.enter_context(try_locked(directory / _LOCK))
