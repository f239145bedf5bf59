"""The client's end of exec, attach and port-forward, for our own command line.

`command` runs or attaches to what a URL stands for, `port_forward` opens connections to ports of its pod.
"""

from vmsandbox.streaming.client.commands import CommandClient, command
from vmsandbox.streaming.client.dialling import client_tls
from vmsandbox.streaming.client.ports import PortConnection, PortForwardClient, port_forward
from vmsandbox.streaming.protocol import Wanted

__all__ = ["CommandClient", "PortConnection", "PortForwardClient", "Wanted", "client_tls", "command", "port_forward"]
