"""The frames of the control channel: the two hellos, and the envelope of all others."""

import enum
from dataclasses import dataclass
from typing import Annotated

from vmsandbox.protocol.bounds import JSON, AtMost, Between, Count, Framed, Matching, Printable, Seconds
from vmsandbox.protocol.features import TIMED_ANSWERS, Since

Version = Annotated[int, Between(0, 2**31 - 1)]

VERSION = 3
"""The newest protocol version spoken by this build."""

VERSIONS = (1, 2, 3)
"""All that it speaks."""

FEATURES_NAMED = 3
"""The version from which on an agent names in its reply what it can do (`features`)."""

CONTROL_PORT = 1024
STREAM_PORT = 1025

READY_PORT = 1026
"""A port of the host: the guest connects to it once, when it listens on the other two ports."""


Digits = Annotated[str, Matching(r"([0-9a-f]{64})?")]
"""A nonce or a proof (`secret`): 32 bytes as hexadecimal digits, or empty where the machine has no secret."""


class Kind(enum.Enum):
    """The kinds of envelopes."""

    REQUEST = "request"
    RESPONSE = "response"
    ERROR = "error"
    CANCEL = "cancel"
    EVENT = "event"
    ACKNOWLEDGE = "acknowledge"
    GOODBYE = "goodbye"


@dataclass(frozen=True, slots=True)
class TimedPart:
    """How long a part of a request took in the guest, by the guest's word."""

    name: Annotated[str, Matching(r"[a-z]{1,16}")]
    seconds: Seconds


@dataclass(frozen=True, slots=True)
class Envelope:
    """The content of every control frame after the two hellos."""

    kind: Kind
    id: Count = 0
    """The id of the request (REQUEST, RESPONSE, ERROR, CANCEL), or the number of the event (EVENT, ACKNOWLEDGE)."""
    method: Printable = ""
    """REQUEST: the method. EVENT: the event's name. ERROR: the code of the error tree (`not_found`, ...)."""
    body: Annotated[JSON, Framed()] = None
    """The encoded dataclass; for ERROR and GOODBYE, the message."""
    deadline: Seconds = 0
    """REQUEST: seconds that the host is going to wait."""
    timed: Annotated[bool, Since(TIMED_ANSWERS)] = False
    """REQUEST: the host wants to know how long the parts take."""
    parts: Annotated[tuple[TimedPart, ...], AtMost(8), Since(TIMED_ANSWERS)] = ()
    """RESPONSE to a request that is `timed`: its parts, one after the other."""


@dataclass(frozen=True, slots=True)
class Hello:
    """Host to agent, the first frame. It has these fields for ever: nobody knows yet who reads it."""

    versions: Annotated[tuple[Version, ...], AtMost(64)]
    build: Printable
    """Build id of the agent that the host's guest image was built with."""
    acknowledged: Count = 0
    """The last event the host has dealt with; later ones are sent again."""
    nonce: Digits = ""
    """A random number of this connection; empty if the machine was started without a secret."""


@dataclass(frozen=True, slots=True)
class HelloReply:
    """Agent to host, the answer to `Hello`; the version is the highest that both speak, 0 where there is none."""

    version: Version
    build: Printable
    boot_id: Printable
    kernel: Printable
    uptime: Seconds
    """Seconds since the guest's kernel started."""
    agent_started: Seconds
    """Uptime, in seconds, at which the agent began to run."""
    nonce: Digits = ""
    """A random number of this connection; present if the host sent one."""
    proof: Digits = ""
    """The proof that the agent knows the machine's secret."""
    features: Annotated[tuple[Printable, ...], AtMost(256)] = ()
    """The features of the agent (`protocol.features`), in version `FEATURES_NAMED` and later."""


@dataclass(frozen=True, slots=True)
class HelloProof:
    """Host to agent, after `HelloReply`, where the machine has a secret."""

    proof: Digits
