"""The WebSocket subprotocols of Kubernetes' channels, as a multiplexer without I/O.

Every message begins with the number of its channel: one byte, or in the base64 protocols the ASCII character so far
behind the digit 0, after which the rest is base64. Which channels there are both sides know beforehand, so all are open
from the beginning. Only v5 has a half close: the message 255, N says that channel N has ended (KEP-4006). There
is no reset, and no flow control but the connection's.
"""

import base64
import binascii
from collections.abc import Mapping
from dataclasses import dataclass

from typing_extensions import override
from wsproto.frame_protocol import CloseReason

from vmsandbox.streaming.protocol.multiplexer import UNBOUNDED, Closed, Data, Ended, Event, Failed, Multiplexer, Opened
from vmsandbox.streaming.protocol.websocket import MESSAGE_LIMIT, PeerClosed, Piece, WebSocket, WebSocketError

CLOSE_CHANNEL = 255
_FIRST = ord("0")
"""The character of channel 0 in base64 protocols."""
_TEXT_LIMIT = 256 * 1024
"""Bytes that a base64 message may have: it is decoded whole."""


@dataclass(frozen=True, slots=True)
class ChannelProtocol:
    """The form of messages: binary or base64, and with a half close or without."""

    base64: bool = False
    half_close: bool = False

    @property
    def most(self) -> int:
        """The number of channels that messages can name."""
        return 128 - _FIRST if self.base64 else 256


class WebSocketChannels(Multiplexer):
    """A `Multiplexer`; the streams are the channels."""

    def __init__(self, protocol: ChannelProtocol, channels: Mapping[int, Mapping[str, str]], *, server: bool) -> None:
        """Speak `protocol` on a connection whose handshake is done.

        Args:
            protocol: as it was agreed on.
            channels: the headers that a SPDY client would open each channel with.
            server: which end this is.
        """
        self._socket = WebSocket(server=server)
        self._protocol = protocol
        self._channels = {number: dict(headers) for number, headers in channels.items()}
        self._server = server
        self._announced = not server
        self._sending = set(channels)
        self._receiving = set(channels)
        self._channel: int | None = None
        self._text = bytearray()

    @override
    def receive(self, data: bytes) -> list[Event]:
        """The first call opens all channels."""
        events: list[Event] = []
        if not self._announced:
            self._announced = True
            events += [Opened(number, headers) for number, headers in self._channels.items()]
        try:
            for happened in self._socket.receive(data):
                events += self._take(happened)
        except WebSocketError as error:
            self._socket.close(str(error), error.code)
            events.append(Failed(str(error)))
        return events

    @override
    def output(self) -> bytes:
        return self._socket.output()

    @override
    def open(self, headers: Mapping[str, str]) -> int:
        """The number of the channel with these headers."""
        return next(number for number, known in self._channels.items() if known == headers)

    @override
    def room(self, stream: int) -> int:
        return UNBOUNDED

    @override
    def send(self, stream: int, data: bytes) -> None:
        """Empty data makes an empty message."""
        if stream in self._sending:
            for start in range(0, len(data) or 1, MESSAGE_LIMIT):
                self._send(stream, data[start : start + MESSAGE_LIMIT])

    @override
    def end(self, stream: int) -> None:
        """Only a client of v5 has a way to say it."""
        if stream in self._sending:
            self._sending.discard(stream)
            if self._protocol.half_close and not self._server:
                self._socket.send(bytes((CLOSE_CHANNEL, stream)))

    @override
    def reset(self, stream: int) -> None:
        """The peer does not learn of it."""
        self._receiving.discard(stream)
        self.end(stream)

    @override
    def consumed(self, stream: int, count: int) -> None:
        """There are no windows."""

    @override
    def heartbeat(self) -> None:
        self._socket.heartbeat()

    @override
    def close(self, reason: str = "") -> None:
        self._socket.close(reason)

    def _send(self, stream: int, data: bytes) -> None:
        if self._protocol.base64:
            self._socket.send(chr(_FIRST + stream) + base64.b64encode(data).decode())
        else:
            self._socket.send(bytes((stream,)) + data)

    def _take(self, happened: Piece | PeerClosed) -> list[Event]:
        match happened:
            case PeerClosed(reason):
                return [Failed(reason)] if reason else [Closed()]
            case Piece(data, last):
                return self._take_text(data, last) if self._protocol.base64 else self._take_bytes(data, last)

    def _take_bytes(self, data: bytes, last: bool) -> list[Event]:
        events: list[Event] = []
        if self._channel is None and data:
            self._channel, data = data[0], data[1:]
        if self._channel == CLOSE_CHANNEL and self._protocol.half_close:
            events = self._end_channels(data)
        elif data and self._channel in self._receiving:
            events = [Data(self._channel, data)]
        if last:
            self._channel = None
        return events

    def _end_channels(self, numbers: bytes) -> list[Event]:
        ended = [number for number in numbers if number in self._receiving]
        self._receiving.difference_update(ended)
        return [Ended(number) for number in ended]

    def _take_text(self, data: bytes, last: bool) -> list[Event]:
        self._text += data
        if len(self._text) > _TEXT_LIMIT:
            raise WebSocketError(f"a base64 message of more than {_TEXT_LIMIT} bytes", CloseReason.MESSAGE_TOO_BIG)
        if not last:
            return []
        message = bytes(self._text)
        self._text.clear()
        if not message:
            return []
        number = message[0] - _FIRST
        try:
            content = base64.b64decode(message[1:], validate=True)
        except binascii.Error as error:
            raise WebSocketError(str(error), CloseReason.INVALID_FRAME_PAYLOAD_DATA) from None
        return [Data(number, content)] if content and number in self._receiving else []
