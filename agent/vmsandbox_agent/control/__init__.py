"""The control channel (docs/protocol.md): the host accepted, greeted and answered, one controller at a time."""

from vmsandbox_agent.control.requests import GuestRequests
from vmsandbox_agent.control.server import Server

__all__ = ["GuestRequests", "Server"]
