"""A client's connection, on the server's side and on the client's: a socket that carries a protocol, and its bytes.

`wire` holds a protocol and a socket together. In `byte_queue` bytes wait for somebody slow. `sockets` has what
asyncio's streams lack. Nothing here knows a protocol; `wire.WireProtocol` says what one has to offer.
"""

from vmsandbox.streaming.io.byte_queue import Backlog, ByteQueue
from vmsandbox.streaming.io.sockets import close, farewell, keep_alive
from vmsandbox.streaming.io.wire import IDLE_TIMEOUT, LINGER, ClientGone, Wire

__all__ = ["IDLE_TIMEOUT", "LINGER", "Backlog", "ByteQueue", "ClientGone", "Wire", "close", "farewell", "keep_alive"]
