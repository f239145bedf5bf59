"""SPDY inside of WebSocket messages (KEP-4006: `SPDY/3.1+portforward.k8s.io`), as a multiplexer without I/O.

The session's bytes are cut into binary messages anyhow; the bounds of messages mean nothing.
"""

from collections.abc import Mapping

from typing_extensions import override

from vmsandbox.streaming.protocol.multiplexer import Closed, Event, Failed, Multiplexer
from vmsandbox.streaming.protocol.spdy import SpdyConnection
from vmsandbox.streaming.protocol.websocket import MESSAGE_LIMIT, PeerClosed, WebSocket, WebSocketError


class Tunnel(Multiplexer):
    """A `Multiplexer`: a SPDY session whose transport is a WebSocket connection."""

    def __init__(self, *, server: bool) -> None:
        """Begin as the server or the client of a connection whose handshake is done."""
        self._socket = WebSocket(server=server)
        self._session = SpdyConnection(server=server)

    @override
    def receive(self, data: bytes) -> list[Event]:
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

    @override
    def output(self) -> bytes:
        self._wrap()
        return self._socket.output()

    @override
    def open(self, headers: Mapping[str, str]) -> int:
        return self._session.open(headers)

    @override
    def room(self, stream: int) -> int:
        return self._session.room(stream)

    @override
    def send(self, stream: int, data: bytes) -> None:
        self._session.send(stream, data)

    @override
    def end(self, stream: int) -> None:
        self._session.end(stream)

    @override
    def reset(self, stream: int) -> None:
        self._session.reset(stream)

    @override
    def consumed(self, stream: int, count: int) -> None:
        self._session.consumed(stream, count)

    @override
    def heartbeat(self) -> None:
        self._socket.heartbeat()

    @override
    def close(self, reason: str = "") -> None:
        """Both sessions end."""
        self._session.close(reason)
        self._wrap()
        self._socket.close(reason)

    def _wrap(self) -> None:
        spdy = self._session.output()
        for start in range(0, len(spdy), MESSAGE_LIMIT):
            self._socket.send(spdy[start : start + MESSAGE_LIMIT])
