"""SPDY inside of WebSocket messages (KEP-4006: `SPDY/3.1+portforward.k8s.io`), as a multiplexer without I/O.

The session's bytes are cut into binary messages anyhow; the bounds of messages mean nothing.
"""

from collections.abc import Mapping

from vmsandbox.streaming.protocol.multiplexer import Closed, Event, Failed
from vmsandbox.streaming.protocol.spdy import SpdyConnection
from vmsandbox.streaming.protocol.websocket import MESSAGE_LIMIT, PeerClosed, WebSocket, WebSocketError


class Tunnel:
    """A `Multiplexer`: a SPDY session whose transport is a WebSocket connection."""

    def __init__(self, *, server: bool) -> None:
        """Begin as the server or the client of a connection whose handshake is done."""
        self._socket = WebSocket(server=server)
        self._session = SpdyConnection(server=server)

    def receive(self, data: bytes) -> list[Event]:
        """See `Multiplexer`."""
        events: list[Event] = []
        try:
            for happened in self._socket.receive(data):
                if isinstance(happened, PeerClosed):
                    events.append(Failed(happened.reason) if happened.reason else Closed())
                else:
                    events += self._session.receive(happened.data)
        except WebSocketError as error:
            self._socket.close(str(error), error.code)
            events.append(Failed(str(error)))
        return events

    def output(self) -> bytes:
        """See `Multiplexer`."""
        self._wrap()
        return self._socket.output()

    def open(self, headers: Mapping[str, str]) -> int:
        """See `Multiplexer`."""
        return self._session.open(headers)

    def room(self, stream: int) -> int:
        """See `Multiplexer`."""
        return self._session.room(stream)

    def send(self, stream: int, data: bytes) -> None:
        """See `Multiplexer`."""
        self._session.send(stream, data)

    def end(self, stream: int) -> None:
        """See `Multiplexer`."""
        self._session.end(stream)

    def reset(self, stream: int) -> None:
        """See `Multiplexer`."""
        self._session.reset(stream)

    def consumed(self, stream: int, count: int) -> None:
        """See `Multiplexer`."""
        self._session.consumed(stream, count)

    def heartbeat(self) -> None:
        """See `Multiplexer`."""
        self._socket.heartbeat()

    def close(self, reason: str = "") -> None:
        """See `Multiplexer`: both sessions end."""
        self._session.close(reason)
        self._wrap()
        self._socket.close(reason)

    def _wrap(self) -> None:
        spdy = self._session.output()
        for start in range(0, len(spdy), MESSAGE_LIMIT):
            self._socket.send(spdy[start : start + MESSAGE_LIMIT])
