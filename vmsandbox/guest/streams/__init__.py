"""Byte streams of a guest: the output and the input of its processes, and connections to its ports.

Each is opened again after a loss, where it was broken off, for as long as its session lasts.
"""

from vmsandbox.guest.streams.input import InputStream
from vmsandbox.guest.streams.opening import open_stream
from vmsandbox.guest.streams.output import OutputStream, PortStream

__all__ = ["InputStream", "OutputStream", "PortStream", "open_stream"]
