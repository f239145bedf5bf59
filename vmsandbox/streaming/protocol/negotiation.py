"""Client and server find a version of remote command or port-forward; either end gets its protocol.

The server takes the first of the client's list that it knows. Our own client offers what the other end of its work
needs: for commands channels with an exit status, for ports SPDY in a WebSocket, which has windows.
"""

from collections.abc import Sequence

from vmsandbox.errors import Internal
from vmsandbox.model import CommandRequest, PortForwardRequest
from vmsandbox.streaming.protocol import remote_command, stream_pairs
from vmsandbox.streaming.protocol.channels import WebSocketChannels
from vmsandbox.streaming.protocol.multiplexer import Multiplexer
from vmsandbox.streaming.protocol.port_forward import PortForward
from vmsandbox.streaming.protocol.remote_command import RemoteCommand, Wanted
from vmsandbox.streaming.protocol.spdy import SpdyConnection
from vmsandbox.streaming.protocol.stream_protocol import ClientProtocol
from vmsandbox.streaming.protocol.tunnel import Tunnel
from vmsandbox.streaming.protocol.upgrade import Refusal, UpgradeRequest
from vmsandbox.streaming.protocol.versions import (
    SPDY_COMMANDS,
    SPDY_PORTS,
    WEBSOCKET_COMMANDS,
    WEBSOCKET_PORTS,
    Version,
    choose,
)

COMMANDS_OFFERED = ("v5.channel.k8s.io", "v4.channel.k8s.io")
"""The versions that our client offers for a remote command, the preferred one first."""
PORTS_OFFERED = ("SPDY/3.1+portforward.k8s.io",)
"""The versions that our client offers for port-forward."""


def agree_on_command(asked: UpgradeRequest, request: CommandRequest) -> tuple[str, RemoteCommand]:
    """Return the version that both ends speak, and the protocol for it. Raises Refusal without such a version."""
    version = _choose(asked, WEBSOCKET_COMMANDS if asked.websocket else SPDY_COMMANDS)
    wanted = Wanted(request.stdin, request.stdout, request.stderr, request.tty)
    multiplexer: Multiplexer
    if version.channels is not None:
        channels = remote_command.channel_headers(wanted)
        multiplexer = WebSocketChannels(version.channels, channels, server=True)
    else:
        multiplexer = SpdyConnection(server=True)
    return version.name, RemoteCommand(multiplexer, version, wanted)


def agree_on_ports(asked: UpgradeRequest, request: PortForwardRequest) -> tuple[str, PortForward]:
    """Return the version that both ends speak, and the protocol for it. Raises Refusal without such a version."""
    version = _choose(asked, WEBSOCKET_PORTS if asked.websocket else SPDY_PORTS)
    if version.channels is not None:
        if not request.ports:
            raise Refusal(400, "over WebSocket channels the ports have to be named when the URL is asked for")
        channels = stream_pairs.channel_headers(request.ports)
        if len(channels) > version.channels.most:
            raise Refusal(400, f"over these WebSocket channels at most {version.channels.most // 2} ports can be named")
        multiplexer = WebSocketChannels(version.channels, channels, server=True)
        return version.name, PortForward(multiplexer, tells_ports=True)
    return version.name, PortForward(Tunnel(server=True) if asked.websocket else SpdyConnection(server=True))


def command_client(version: str, wanted: Wanted) -> ClientProtocol:
    """Return the client's end of a remote command. Raises Internal for a version that was not offered."""
    _check_offered(version, COMMANDS_OFFERED)
    chosen = choose((version,), WEBSOCKET_COMMANDS)
    assert chosen is not None
    assert chosen.channels is not None
    return ClientProtocol(WebSocketChannels(chosen.channels, remote_command.channel_headers(wanted), server=False))


def ports_client(version: str) -> ClientProtocol:
    """Return the client's end of port-forward. Raises Internal for a version that was not offered."""
    _check_offered(version, PORTS_OFFERED)
    return ClientProtocol(Tunnel(server=False))


def _check_offered(version: str, offered: Sequence[str]) -> None:
    if version not in offered:
        raise Internal(f"the streaming server chose {version!r}, which was not offered")


def _choose(asked: UpgradeRequest, known: Sequence[Version]) -> Version:
    """The first version of the client's list that is known; the kubelet refuses with 403, too."""
    version = choose(asked.versions, known)
    if version is None:
        names = [candidate.name for candidate in known if candidate.name]
        raise Refusal(
            403,
            f"no common version: the client offers {', '.join(asked.versions)}; known are {', '.join(names)}",
            [("X-Accepted-Stream-Protocol-Versions", name) for name in names],
        )
    return version
