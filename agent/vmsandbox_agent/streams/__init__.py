"""Connections to the host, and the byte streams that they carry: a process's output and input, and ports.

What a process prints is kept until the host has acknowledged it, and then it blocks: nothing is lost.
"""

from vmsandbox_agent.streams.connection import HostConnection, Listen, announce_by_vsock, is_host, listen_vsock
from vmsandbox_agent.streams.input import ProcessInput
from vmsandbox_agent.streams.port import connect_to_port, serve_port
from vmsandbox_agent.streams.stdio import ConsoleSocket, Pipes, Stdio, terminal_stdio
from vmsandbox_agent.streams.tokens import StreamTokens

__all__ = [
    "ConsoleSocket",
    "HostConnection",
    "Listen",
    "Pipes",
    "ProcessInput",
    "Stdio",
    "StreamTokens",
    "announce_by_vsock",
    "connect_to_port",
    "is_host",
    "listen_vsock",
    "serve_port",
    "terminal_stdio",
]
