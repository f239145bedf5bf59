"""The versions of remote command and port-forward, and how they differ.

The list of a transport is in the order in which we would choose as a client; a server takes the first of the client's
list that it knows, as in Kubernetes.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from vmsandbox.streaming.protocol.channels import ChannelProtocol


@dataclass(frozen=True, slots=True)
class CommandVersion:
    """A version of the remote-command protocol (Kubernetes: util/remotecommand)."""

    name: str
    resize: bool = True
    """v3: there is a stream for the window's size."""
    json_status: bool = True
    """v4: the error stream ends with a metav1.Status; before that it has text where something failed."""
    channels: ChannelProtocol | None = None
    """How a WebSocket carries it."""


_BASE64 = ChannelProtocol(base64=True)
_BINARY = ChannelProtocol()

SPDY_COMMANDS = (
    CommandVersion("v4.channel.k8s.io"),
    CommandVersion("v3.channel.k8s.io", json_status=False),
    CommandVersion("v2.channel.k8s.io", resize=False, json_status=False),
    CommandVersion("channel.k8s.io", resize=False, json_status=False),
)
WEBSOCKET_COMMANDS = (
    CommandVersion("v5.channel.k8s.io", channels=ChannelProtocol(half_close=True)),
    CommandVersion("v4.channel.k8s.io", channels=_BINARY),
    CommandVersion("v4.base64.channel.k8s.io", channels=_BASE64),
    CommandVersion("channel.k8s.io", json_status=False, channels=_BINARY),
    CommandVersion("base64.channel.k8s.io", json_status=False, channels=_BASE64),
    CommandVersion("", json_status=False, channels=_BINARY),
)


@dataclass(frozen=True, slots=True)
class PortVersion:
    """A version of port-forward."""

    name: str
    channels: ChannelProtocol | None = None
    """None: streams are SPDY's, over TCP or in a tunnel."""


SPDY_PORTS = (PortVersion("portforward.k8s.io"),)
WEBSOCKET_PORTS = (
    PortVersion("SPDY/3.1+portforward.k8s.io"),
    PortVersion("v4.channel.k8s.io", channels=_BINARY),
    PortVersion("v4.base64.channel.k8s.io", channels=_BASE64),
    PortVersion("", channels=_BINARY),
)

Version = TypeVar("Version", CommandVersion, PortVersion)

COMMAND_CHANNELS: Mapping[str, int] = {"stdin": 0, "stdout": 1, "stderr": 2, "error": 3, "resize": 4}
"""The WebSocket channel of each stream of a remote command, by its SPDY name."""


def choose(offered: Sequence[str], known: Sequence[Version]) -> Version | None:
    """Return the first of the offered names that is known. A client that offers no name means the nameless version."""
    by_name = {version.name: version for version in known}
    return next((by_name[name] for name in (offered or [""]) if name in by_name), None)
