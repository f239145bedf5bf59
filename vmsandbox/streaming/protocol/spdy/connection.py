"""One end of a SPDY/3.1 session, without I/O (draft-mbelshe-httpbis-spdy-00, 2.3 to 2.6).

What breaks a stream's rules resets that stream; what breaks the session's (frames that cannot be read, headers that
cannot be decompressed) ends the session with GOAWAY. Frames for a stream that is gone are dropped without a word: the
peer cannot know yet.
"""

from collections.abc import Callable, Mapping

from typing_extensions import override

from vmsandbox.streaming.protocol.multiplexer import (
    UNBOUNDED,
    Closed,
    Data,
    Ended,
    Event,
    Failed,
    Multiplexer,
    Opened,
    Reset,
)
from vmsandbox.streaming.protocol.spdy import frames
from vmsandbox.streaming.protocol.spdy.frame_reader import SpdyFrameReader
from vmsandbox.streaming.protocol.spdy.frames import (
    ControlFrame,
    DataFrame,
    FrameKind,
    GoAwayStatus,
    SpdyError,
    SpdySetting,
    Status,
)
from vmsandbox.streaming.protocol.spdy.headers import HeaderCompressor, HeaderDecompressor, MalformedHeaders
from vmsandbox.streaming.protocol.spdy.streams import MAX_STREAMS, SpdyStream, SpdyStreams
from vmsandbox.streaming.protocol.spdy.windows import INITIAL, SESSION, FlowControl


class SpdyConnection(Multiplexer):
    """A session; a `Multiplexer`. A stream that the peer opens is replied to at once, without headers.

    Our windows are announced with the first stream. A server must not do that before: a client of Kubernetes throws
    away what comes together with the answer to its request.
    """

    def __init__(self, *, server: bool, max_streams: int = MAX_STREAMS) -> None:
        """Begin as the server or the client of a session that has just been agreed on."""
        self._reader = SpdyFrameReader()
        self._compressor = HeaderCompressor()
        self._decompressor = HeaderDecompressor()
        self._output = bytearray()
        self._announcement = frames.settings({SpdySetting.INITIAL_WINDOW_SIZE: INITIAL})
        self._announcement += frames.window_update(0, SESSION - INITIAL)
        self._streams = SpdyStreams(server=server, limit=max_streams)
        self._flow = FlowControl()
        self._over = False
        self._handlers: dict[int, Callable[[ControlFrame], list[Event]]] = {
            FrameKind.SYN_STREAM: self._on_syn_stream,
            FrameKind.SYN_REPLY: self._on_syn_reply,
            FrameKind.RST_STREAM: self._on_rst_stream,
            FrameKind.SETTINGS: self._on_settings,
            FrameKind.PING: self._on_ping,
            FrameKind.GOAWAY: self._on_goaway,
            FrameKind.HEADERS: self._on_headers,
            FrameKind.WINDOW_UPDATE: self._on_window_update,
        }

    @override
    def receive(self, data: bytes) -> list[Event]:
        events: list[Event] = []
        if self._over:
            return events
        try:
            for frame in self._reader.feed(data):
                if self._over:
                    break
                events += self._on_data(frame) if isinstance(frame, DataFrame) else self._on_control(frame)
        except SpdyError as error:
            self._end_session(GoAwayStatus.PROTOCOL_ERROR)
            events.append(Failed(str(error)))
        return events

    @override
    def output(self) -> bytes:
        taken = bytes(self._output)
        self._output.clear()
        return taken

    @override
    def open(self, headers: Mapping[str, str]) -> int:
        """The stream cannot be sent on until the peer has replied."""
        number = self._streams.open(SpdyStream(self._flow.new_window(), replied=False))
        self._announce()
        self._output += frames.syn_stream(number, self._compressor.compress(headers))
        return number

    @override
    def room(self, stream: int) -> int:
        found = self._streams.get(stream)
        if found is None or not found.sending:
            return UNBOUNDED  # It is thrown away.
        return self._flow.room(found.send) if found.replied else 0

    @override
    def send(self, stream: int, data: bytes) -> None:
        found = self._streams.get(stream)
        if found is not None and found.sending and data and not self._over:
            self._flow.sent(found.send, len(data))
            self._output += frames.data(stream, data)

    @override
    def end(self, stream: int) -> None:
        found = self._streams.get(stream)
        if found is not None and found.sending and not self._over:
            found.sending = False
            self._output += frames.data(stream, b"", fin=True)
            self._streams.drop_closed(stream)

    @override
    def reset(self, stream: int) -> None:
        if self._streams.drop(stream) and not self._over:
            self._output += frames.rst_stream(stream, Status.CANCEL)

    @override
    def consumed(self, stream: int, count: int) -> None:
        """Data of a stream that is gone counts for the session."""
        if self._over:
            return
        found = self._streams.get(stream)
        if found is not None and found.receiving and (credit := found.receive.consumed(count)):
            self._output += frames.window_update(stream, credit)
        if credit := self._flow.consumed(count):
            self._output += frames.window_update(0, credit)

    @override
    def heartbeat(self) -> None:
        """SETTINGS without any. A PING would have to be answered by a peer that perhaps cannot."""
        if not self._over:
            self._output += frames.settings({})

    @override
    def close(self, reason: str = "") -> None:
        self._end_session(GoAwayStatus.INTERNAL_ERROR if reason else GoAwayStatus.OK)

    def _announce(self) -> None:
        self._output += self._announcement
        self._announcement = b""

    def _end_session(self, status: GoAwayStatus) -> None:
        if not self._over:
            self._over = True
            self._output += frames.goaway(self._streams.last_of_peer, status)

    def _on_data(self, frame: DataFrame) -> list[Event]:
        if not frame.stream:
            raise SpdyError("data on stream 0")
        found = self._streams.get(frame.stream)
        if found is None or not found.receiving:
            return self._on_stray_data(frame, found)
        events: list[Event] = [Data(frame.stream, frame.data)] if frame.data else []
        return events + (self._finish(frame.stream, found) if frame.fin else [])

    def _on_stray_data(self, frame: DataFrame, found: SpdyStream | None) -> list[Event]:
        """Data on a stream that is gone, never was, or was closed by the peer itself."""
        self.consumed(frame.stream, len(frame.data))
        if found is not None:
            return self._break(frame.stream, Status.STREAM_ALREADY_CLOSED)
        if self._streams.never_was(frame.stream):
            self._output += frames.rst_stream(frame.stream, Status.INVALID_STREAM)
        return []

    def _on_control(self, frame: ControlFrame) -> list[Event]:
        handler = self._handlers.get(frame.kind)
        return handler(frame) if handler else []  # 2.2.1: unknown types are ignored

    def _on_syn_stream(self, frame: ControlFrame) -> list[Event]:
        number = frames.stream_of(frame.words(2)[0])
        headers = self._headers(frame.payload[10:])
        self._streams.count(number)
        if self._streams.full:
            self._output += frames.rst_stream(number, Status.REFUSED_STREAM)
            return []
        if headers is None:
            self._output += frames.rst_stream(number, Status.PROTOCOL_ERROR)
            return []
        return self._accept(number, headers, frame.flags)

    def _accept(self, number: int, headers: dict[str, str], flags: int) -> list[Event]:
        found = SpdyStream(self._flow.new_window())
        self._streams.accept(number, found)
        self._announce()
        if flags & frames.UNIDIRECTIONAL:
            found.sending = False
        else:
            self._output += frames.syn_reply(number, self._compressor.compress({}))
        return [Opened(number, headers), *(self._finish(number, found) if flags & frames.FIN else [])]

    def _on_syn_reply(self, frame: ControlFrame) -> list[Event]:
        number = frames.stream_of(frame.words(1)[0])
        headers = self._headers(frame.payload[4:])
        found = self._streams.get(number)
        if found is None:
            return []
        if found.replied or headers is None:
            return self._break(number, Status.STREAM_IN_USE if found.replied else Status.PROTOCOL_ERROR)
        found.replied = True
        return self._finish(number, found) if frame.flags & frames.FIN else []

    def _on_headers(self, frame: ControlFrame) -> list[Event]:
        """Read more headers, which mean nothing here, but are part of the compression and may close the stream."""
        number = frames.stream_of(frame.words(1)[0])
        headers = self._headers(frame.payload[4:])
        found = self._streams.get(number)
        if found is None or not found.receiving:
            return []
        if headers is None:
            return self._break(number, Status.PROTOCOL_ERROR)
        return self._finish(number, found) if frame.flags & frames.FIN else []

    def _on_rst_stream(self, frame: ControlFrame) -> list[Event]:
        number = frames.stream_of(frame.words(2)[0])
        return [Reset(number)] if self._streams.drop(number) else []

    def _on_ping(self, frame: ControlFrame) -> list[Event]:
        (number,) = frame.words(1)
        if self._streams.is_of_peer(number):  # its own, not our own come back
            self._output += frames.ping(number)
        return []

    def _on_goaway(self, _: ControlFrame) -> list[Event]:
        self._over = True
        return [Closed()]

    def _on_settings(self, frame: ControlFrame) -> list[Event]:
        initial = frames.settings_of(frame).get(SpdySetting.INITIAL_WINDOW_SIZE)
        if initial is not None:
            self._flow.resize(initial, (stream.send for stream in self._streams))
        return []

    def _on_window_update(self, frame: ControlFrame) -> list[Event]:
        first, second = frame.words(2)
        number, delta = frames.stream_of(first), frames.stream_of(second)
        if not number:
            if not self._flow.enlarge_session(delta):
                raise SpdyError("the window of the session is too large")
            return []
        found = self._streams.get(number)
        if not self._flow.enlarge_stream(found.send if found else None, delta):
            return self._break(number, Status.FLOW_CONTROL_ERROR)
        return []

    def _headers(self, block: bytes) -> dict[str, str] | None:
        try:
            return self._decompressor.decompress(block)
        except MalformedHeaders:
            return None

    def _break(self, number: int, status: Status) -> list[Event]:
        """Reset a stream because of what the peer did to it."""
        self._output += frames.rst_stream(number, status)
        return [Reset(number)] if self._streams.drop(number) else []

    def _finish(self, number: int, found: SpdyStream) -> list[Event]:
        found.receiving = False
        self._streams.drop_closed(number)
        return [Ended(number)]
