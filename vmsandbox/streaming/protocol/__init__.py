"""The protocols of exec, attach and port-forward, without I/O: bytes go in, events come out, calls make bytes.

From the bottom up: `upgrade` is the HTTP request, and `negotiation` finds what both ends speak from then on. A
multiplexer carries streams over one connection: `spdy`, `channels` (of a WebSocket), or `tunnel` (SPDY in a WebSocket).
On it stands `remote_command` or `port_forward`. Nothing here reads a socket, waits, or looks at a clock.
"""

from vmsandbox.streaming.protocol.command_status import STATUS_LIMIT, CommandStatus
from vmsandbox.streaming.protocol.multiplexer import Data, Ended, Event, Failed, Reset
from vmsandbox.streaming.protocol.negotiation import (
    COMMANDS_OFFERED,
    PORTS_OFFERED,
    agree_on_command,
    agree_on_ports,
    command_client,
    ports_client,
)
from vmsandbox.streaming.protocol.port_forward import (
    GaveUp,
    PortEvent,
    PortForward,
    PortInput,
    PortInputEnded,
    Requested,
    Waiting,
)
from vmsandbox.streaming.protocol.remote_command import (
    ERROR,
    RESIZE,
    CommandEvent,
    Input,
    InputEnded,
    RemoteCommand,
    Resized,
    Started,
    Wanted,
    stream_headers,
)
from vmsandbox.streaming.protocol.stream_pairs import DATA, pair_headers
from vmsandbox.streaming.protocol.stream_protocol import ClientProtocol, Left
from vmsandbox.streaming.protocol.terminal_size import TerminalSize
from vmsandbox.streaming.protocol.upgrade import Handshake, Refusal, UpgradeRequest

__all__ = [
    "COMMANDS_OFFERED",
    "DATA",
    "ERROR",
    "PORTS_OFFERED",
    "RESIZE",
    "STATUS_LIMIT",
    "ClientProtocol",
    "CommandEvent",
    "CommandStatus",
    "Data",
    "Ended",
    "Event",
    "Failed",
    "GaveUp",
    "Handshake",
    "Input",
    "InputEnded",
    "Left",
    "PortEvent",
    "PortForward",
    "PortInput",
    "PortInputEnded",
    "Refusal",
    "RemoteCommand",
    "Requested",
    "Reset",
    "Resized",
    "Started",
    "TerminalSize",
    "UpgradeRequest",
    "Waiting",
    "Wanted",
    "agree_on_command",
    "agree_on_ports",
    "command_client",
    "pair_headers",
    "ports_client",
    "stream_headers",
]
