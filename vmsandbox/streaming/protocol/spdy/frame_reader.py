"""SPDY/3 frames out of bytes that are cut anywhere (draft-mbelshe-httpbis-spdy-00, 2.2)."""

from collections.abc import Iterator

from vmsandbox.streaming.protocol.spdy.frames import (
    CONTROL,
    FIN,
    HEADER,
    MASK_24,
    VERSION,
    ControlFrame,
    DataFrame,
    SpdyError,
)

CONTROL_LIMIT = 32 * 1024
"""Bytes that the payload of a control frame may have; the draft asks for 8 KiB at least."""


class SpdyFrameReader:
    """Cuts a stream of bytes into frames. Holds at most one control frame of `CONTROL_LIMIT`."""

    def __init__(self) -> None:
        """Begin with a frame's first byte."""
        self._buffer = bytearray()
        self._stream = 0
        self._flags = 0
        self._missing = 0

    def feed(self, data: bytes) -> Iterator[DataFrame | ControlFrame]:
        """The frames, and pieces of data frames, that `data` completes. Raises SpdyError."""
        self._buffer += data
        while (frame := self._piece() if self._missing else self._frame()) is not None:
            yield frame

    def _piece(self) -> DataFrame | None:
        """Return the bytes that have arrived of the data frame that was begun."""
        piece = bytes(self._buffer[: self._missing])
        if not piece:
            return None
        del self._buffer[: len(piece)]
        self._missing -= len(piece)
        return DataFrame(self._stream, piece, not self._missing and bool(self._flags & FIN))

    def _frame(self) -> DataFrame | ControlFrame | None:
        if len(self._buffer) < HEADER.size:
            return None
        first, second = HEADER.unpack_from(self._buffer)
        flags, length = second >> 24, second & MASK_24
        if first & CONTROL:
            return self._control(first, flags, length)
        del self._buffer[: HEADER.size]
        self._stream, self._flags, self._missing = first, flags, length
        return self._piece() if length else DataFrame(first, b"", bool(flags & FIN))

    def _control(self, first: int, flags: int, length: int) -> ControlFrame | None:
        if (version := first >> 16 & 0x7FFF) != VERSION:
            raise SpdyError(f"version {version}, not {VERSION}")
        if length > CONTROL_LIMIT:
            raise SpdyError(f"a control frame of {length} bytes")
        end = HEADER.size + length
        if len(self._buffer) < end:
            return None
        payload = bytes(self._buffer[HEADER.size : end])
        del self._buffer[:end]
        return ControlFrame(first & 0xFFFF, flags, payload)
