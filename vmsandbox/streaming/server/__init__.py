"""The streaming server: it gives out URLs, and serves exec, attach or port-forward at each of them once.

`StreamingServer` is for `vmsandbox serve`; `Targets` is what it leads to, which the runtime service is.
"""

from vmsandbox.streaming.server.server import StreamingServer
from vmsandbox.streaming.server.targets import ClientProcess, Port, Targets

__all__ = ["ClientProcess", "Port", "StreamingServer", "Targets"]
