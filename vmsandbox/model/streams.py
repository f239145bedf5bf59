"""Input and output of containers."""

from dataclasses import dataclass

from vmsandbox.protocol.codec import JSON
from vmsandbox.protocol.messages import Stream


@dataclass(frozen=True, slots=True)
class Output:
    """A piece of a container's output, as it was read."""

    stream: Stream
    data: bytes


@dataclass(frozen=True, slots=True)
class ExecResult:
    """CRI ExecSyncResponse."""

    stdout: bytes
    stderr: bytes
    exit_code: int


@dataclass(frozen=True, slots=True)
class ExecRequest:
    """CRI ExecRequest: a command whose streams a client takes over at a URL."""

    container_id: str
    command: tuple[str, ...]
    tty: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    process: JSON = None
    """The runtime-spec's process of a caller that has made its own (`oci`), with its user; None: it is built."""


@dataclass(frozen=True, slots=True)
class DebugRequest:
    """A command in the guest of a sandbox itself, whose streams a client takes over at a URL."""

    sandbox_id: str
    command: tuple[str, ...] = ()
    """Empty: a shell."""
    tty: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False


@dataclass(frozen=True, slots=True)
class AttachRequest:
    """CRI AttachRequest: the streams of a container's own process, at a URL."""

    container_id: str
    tty: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False


CommandRequest = ExecRequest | AttachRequest | DebugRequest
"""A process with the streams of a client."""


@dataclass(frozen=True, slots=True)
class PortForwardRequest:
    """CRI PortForwardRequest: TCP ports of a sandbox, at a URL. A client of SPDY names the ports itself."""

    sandbox_id: str
    ports: tuple[int, ...] = ()
