"""The frames of the control channel: the two hellos, and the envelope of all others."""

import enum
from dataclasses import dataclass

from vmsandbox.protocol.codec import JSON

VERSION = 1
"""The protocol version spoken by this build."""

CONTROL_PORT = 1024
STREAM_PORT = 1025

READY_PORT = 1026
"""Of the host: the guest connects to it once, when it listens on the other two."""


class Kind(enum.Enum):
    """What an envelope is."""

    REQUEST = "request"
    RESPONSE = "response"
    ERROR = "error"
    CANCEL = "cancel"
    EVENT = "event"
    ACKNOWLEDGE = "acknowledge"
    GOODBYE = "goodbye"


@dataclass(frozen=True, slots=True)
class Envelope:
    """What every control frame after the two hellos holds."""

    kind: Kind
    id: int = 0
    """Of the request (REQUEST, RESPONSE, ERROR, CANCEL), or the number of the event (EVENT, ACKNOWLEDGE)."""
    method: str = ""
    """REQUEST: the method. EVENT: the event's name. ERROR: the code of the error tree (`not_found`, ...)."""
    body: JSON = None
    """The encoded dataclass; for ERROR and GOODBYE, the message."""
    deadline: float = 0
    """REQUEST: seconds that the host is going to wait."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Host to agent, the first frame."""

    versions: tuple[int, ...]
    build: str
    """Build id of the agent that the host's guest image was built with."""
    acknowledged: int = 0
    """The last event the host has dealt with; later ones are sent again."""


@dataclass(frozen=True, slots=True)
class HelloReply:
    """Agent to host, the answer to `Hello`; the version is the highest that both speak, 0 where there is none."""

    version: int
    build: str
    boot_id: str
    kernel: str
    uptime: float
    """Seconds since the guest's kernel started."""
    agent_started: float
    """Uptime, in seconds, at which the agent began to run."""
