"""Requests about all processes of a container together."""

from dataclasses import dataclass
from typing import Annotated, ClassVar

from vmsandbox.protocol.bounds import AtMost, Between, Count, Id, Unicode, UserId
from vmsandbox.protocol.messages.guest import Empty

MAX_LISTED = 512
"""Processes of a container that are listed at most."""

MAX_COMMAND = 256
"""Characters of the command of a listed process."""

Pid = Annotated[int, Between(0, 2**31 - 1)]


@dataclass(frozen=True, slots=True)
class FreezeContainer:
    """Keep all processes of a container from running, or let them go on; repeating it changes nothing."""

    METHOD: ClassVar[str] = "freeze_container"
    RESULT: ClassVar[type] = Empty

    container_id: Id
    frozen: bool = True


@dataclass(frozen=True, slots=True)
class ListedProcess:
    """A process of a container (proc(5)); its numbers are those that it has in the container."""

    pid: Pid
    parent: Pid
    """0: its parent is outside of the container."""
    uid: UserId
    started: Count
    """Nanoseconds since the epoch, by the guest's clock."""
    cpu: Count
    """Nanoseconds of CPU time."""
    command: Annotated[str, AtMost(MAX_COMMAND), Unicode()]
    """The arguments with spaces between them; the name in brackets where there are none."""


@dataclass(frozen=True, slots=True)
class ListedProcesses:
    """The result of `ListProcesses`."""

    processes: Annotated[tuple[ListedProcess, ...], AtMost(MAX_LISTED)] = ()


@dataclass(frozen=True, slots=True)
class ListProcesses:
    """Tell the processes of a container, the first `MAX_LISTED` of them."""

    METHOD: ClassVar[str] = "list_processes"
    RESULT: ClassVar[type] = ListedProcesses

    container_id: Id
