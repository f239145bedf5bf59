"""From the request of a client and what its URL stands for to the protocol that both speak from then on."""

from collections.abc import Sequence

from vmsandbox.model import AttachRequest, ExecRequest, PortForwardRequest
from vmsandbox.streaming.protocol import remote_command, stream_pairs
from vmsandbox.streaming.protocol.channels import WebSocketChannels
from vmsandbox.streaming.protocol.multiplexer import Multiplexer
from vmsandbox.streaming.protocol.port_forward import PortForward
from vmsandbox.streaming.protocol.remote_command import RemoteCommand, Wanted
from vmsandbox.streaming.protocol.spdy import SpdyConnection
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


def agree_on_command(asked: UpgradeRequest, request: ExecRequest | AttachRequest) -> tuple[str, RemoteCommand]:
    """The version that both speak, and the protocol for it. Raises Refusal where there is none."""
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
    """The version that both speak, and the protocol for it. Raises Refusal where there is none."""
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
