"""WebSocket messages without I/O, by wsproto.

A message is handed on in the pieces in which it arrives, so that nobody can make us hold a large one. Pings are
answered. A close is answered, and ends the connection.
"""

from dataclasses import dataclass

from wsproto.connection import Connection, ConnectionState, ConnectionType
from wsproto.events import BytesMessage, CloseConnection, Ping, Pong, TextMessage
from wsproto.frame_protocol import CloseReason

MESSAGE_LIMIT = 32 * 1024
"""Bytes that are put into one message."""

CLOSED_IN_ORDER = (CloseReason.NORMAL_CLOSURE, CloseReason.GOING_AWAY, CloseReason.NO_STATUS_RCVD)


class WebSocketError(Exception):
    """The peer broke the protocol; `code` tells it how."""

    def __init__(self, message: str, code: CloseReason = CloseReason.PROTOCOL_ERROR) -> None:
        """`message` says what the peer did."""
        super().__init__(message)
        self.code = code


@dataclass(frozen=True, slots=True)
class Piece:
    """Bytes of a message; `last` comes with its end. A text message is its UTF-8."""

    data: bytes
    last: bool


@dataclass(frozen=True, slots=True)
class PeerClosed:
    """The peer has closed the connection; in order, or with the error that `reason` tells."""

    reason: str = ""


class WebSocket:
    """One end of a connection whose handshake is done."""

    def __init__(self, *, server: bool) -> None:
        """Begin as the server or as the client."""
        self._connection = Connection(ConnectionType.SERVER if server else ConnectionType.CLIENT)
        self._output = bytearray()
        self._over = False

    def receive(self, data: bytes) -> list[Piece | PeerClosed]:
        """Take bytes in; after the peer's close they are ignored.

        Raises:
            WebSocketError: the peer broke the protocol; `fail` tells it so.
        """
        if self._over:
            return []
        self._connection.receive_data(data)
        happened: list[Piece | PeerClosed] = []
        for event in self._connection.events():
            match event:
                case BytesMessage():
                    happened.append(Piece(bytes(event.data), event.message_finished))
                case TextMessage():
                    happened.append(Piece(event.data.encode(), event.message_finished))
                case Ping():
                    self._pong(event)
                case CloseConnection():
                    happened.append(self._closed(event))
        return happened

    def output(self) -> bytes:
        """Take the bytes that are to be sent now."""
        taken = bytes(self._output)
        self._output.clear()
        return taken

    def send(self, message: bytes | str) -> None:
        """Send a message; nothing happens when a side has closed."""
        if self._connection.state is ConnectionState.OPEN:
            event = BytesMessage(message) if isinstance(message, bytes) else TextMessage(message)
            self._output += self._connection.send(event)

    def heartbeat(self) -> None:
        """Send an unsolicited pong, which is not answered (RFC 6455, 5.5.3)."""
        if self._connection.state is ConnectionState.OPEN:
            self._output += self._connection.send(Pong())

    def close(self, reason: str = "", code: CloseReason = CloseReason.NORMAL_CLOSURE) -> None:
        """Send a close, once; with a reason, because of an error."""
        if self._connection.state is ConnectionState.OPEN:
            if reason and code is CloseReason.NORMAL_CLOSURE:
                code = CloseReason.INTERNAL_ERROR
            self._output += self._connection.send(CloseConnection(code, reason or None))

    def _pong(self, ping: Ping) -> None:
        if self._connection.state is ConnectionState.OPEN:
            self._output += self._connection.send(ping.response())

    def _closed(self, event: CloseConnection) -> PeerClosed:
        """Return the peer's close. Raises WebSocketError for a malformed frame, which wsproto reports likewise."""
        self._over = True
        if self._connection.state is ConnectionState.OPEN:
            raise WebSocketError(event.reason or "malformed frame", CloseReason(event.code))
        if self._connection.state is ConnectionState.REMOTE_CLOSING:
            self._output += self._connection.send(event.response())
        in_order = event.code in CLOSED_IN_ORDER
        return PeerClosed("" if in_order else f"closed with code {int(event.code)}: {event.reason or ''}")
