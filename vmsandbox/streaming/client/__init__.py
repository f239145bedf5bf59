"""The client's end of exec, attach and port-forward, for our own command line."""

from vmsandbox.streaming.client.commands import CommandClient, command
from vmsandbox.streaming.client.port_forward import PortConnection, PortForwardClient, port_forward

__all__ = ["CommandClient", "PortConnection", "PortForwardClient", "command", "port_forward"]
