"""Requests about commands and streams."""

import enum
from dataclasses import dataclass
from typing import Annotated, ClassVar

from vmsandbox.protocol.bounds import Count, Id, Matching, OciDocument, OptionalId, Port, Signal, Size16
from vmsandbox.protocol.messages.containers import User
from vmsandbox.protocol.messages.guest import Empty


@dataclass(frozen=True, slots=True)
class Exec:
    """Start a process in a running container, or in the guest itself. Its end is an `Exit` event with `exec_id`."""

    METHOD: ClassVar[str] = "exec"
    RESULT: ClassVar[type] = Empty

    container_id: Id
    exec_id: Id
    process: OciDocument
    """The runtime-spec's `process` object; user as in `CreateContainer`.

    In the guest itself `args` and `env` count; no `args` are a shell.
    """
    user: User | None = None
    """None: as the container's own process."""
    stdin: bool = False
    tty: bool = False


@dataclass(frozen=True, slots=True)
class SignalExec:
    """Kill the process of an exec (and its children left in its session). Succeeds when it has ended."""

    METHOD: ClassVar[str] = "signal_exec"
    RESULT: ClassVar[type] = Empty

    container_id: Id
    exec_id: Id
    signal: Signal


@dataclass(frozen=True, slots=True)
class EndExecs:
    """Kill and forget every exec, for a host that comes back and knows none of them."""

    METHOD: ClassVar[str] = "end_execs"
    RESULT: ClassVar[type] = Empty


@dataclass(frozen=True, slots=True)
class Resize:
    """Set the window size of a tty, of the container itself or (with `exec_id`) of an exec."""

    METHOD: ClassVar[str] = "resize"
    RESULT: ClassVar[type] = Empty

    container_id: Id
    columns: Size16
    rows: Size16
    exec_id: OptionalId = ""


class Stream(enum.Enum):
    """The three streams of a process; with a tty there is no STDERR."""

    STDIN = "stdin"
    STDOUT = "stdout"
    STDERR = "stderr"


@dataclass(frozen=True, slots=True)
class StreamToken:
    """Presented once, as the first frame on `STREAM_PORT`; void when the control connection ends."""

    token: Annotated[str, Matching(r"[!-~]{1,128}")]


@dataclass(frozen=True, slots=True)
class OpenStream:
    """Get a token for a stream of a container, or (with `exec_id`) of an exec.

    Output begins at `offset` bytes from the stream's start: what lies before it is thereby acknowledged.
    A second opening of the same stream ends the first.
    """

    METHOD: ClassVar[str] = "open_stream"
    RESULT: ClassVar[type] = StreamToken

    container_id: Id
    stream: Stream
    exec_id: OptionalId = ""
    offset: Count = 0


@dataclass(frozen=True, slots=True)
class OpenPort:
    """Get a token for a TCP connection to `port` on the guest's localhost (port-forward)."""

    METHOD: ClassVar[str] = "open_port"
    RESULT: ClassVar[type] = StreamToken

    port: Port
