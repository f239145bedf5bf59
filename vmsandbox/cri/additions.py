"""Calls that the CRI does not have, on its socket: the gRPC service `vmsandbox.v1.Additions`, for our own command line.

A kubelet does not know them. Whoever may open the socket may do more by the CRI's own calls. Messages are JSON: the
dataclasses below, as `protocol.codec` writes them. A runtime that is older, or another one to which pods are delegated,
does not have them: callers go on without.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from vmsandbox.errors import InvalidArgument
from vmsandbox.protocol import codec

SERVICE = "vmsandbox.v1.Additions"

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class SignalContainer:
    """Send a signal to a container's first process."""

    container_id: str
    signal: str
    """A name, with or without SIG, or a number."""


@dataclass(frozen=True, slots=True)
class EndPod:
    """Ask all containers of a sandbox to end, kill those that have not after the timeout, and stop the sandbox.

    No container is made or started there meanwhile.
    """

    pod_sandbox_id: str
    timeout: float
    """Seconds."""


@dataclass(frozen=True, slots=True)
class ReadConsole:
    """Read what a sandbox's guest has printed on its console."""

    pod_sandbox_id: str
    position: int
    """Bytes from the beginning of the console; 0 asks for all that is kept."""


@dataclass(frozen=True, slots=True)
class ConsoleText:
    """The output of the guest from there on. It is the guest's: no terminal is to obey it."""

    text: str
    position: int
    """The end of the text, from which the next call goes on."""


@dataclass(frozen=True, slots=True)
class Debug:
    """Prepare the streams of a command in the guest of a sandbox itself; like the CRI's Exec."""

    pod_sandbox_id: str
    command: tuple[str, ...]
    """Empty: a shell."""
    tty: bool
    stdin: bool


@dataclass(frozen=True, slots=True)
class StreamingUrl:
    """The URL at which a client takes the streams over."""

    url: str


@dataclass(frozen=True, slots=True)
class Done:
    """The answer of a call without a result."""


CALLS: Mapping[str, tuple[type, type]] = {
    "SignalContainer": (SignalContainer, Done),
    "EndPod": (EndPod, Done),
    "ReadConsole": (ReadConsole, ConsoleText),
    "Debug": (Debug, StreamingUrl),
}
"""Each method with its request and its answer."""


def to_wire(message: object) -> bytes:
    """Write a message."""
    return json.dumps(codec.encode(message)).encode()


def reader(kind: type[T]) -> Callable[[bytes], T]:
    """Make the function that reads a message of a kind; it raises InvalidArgument for anything else."""

    def read(data: bytes) -> T:
        try:
            value: Any = json.loads(data)
            return codec.decode(kind, value)
        except ValueError as error:
            raise InvalidArgument(f"not a message of {SERVICE}: {error}") from None

    return read
