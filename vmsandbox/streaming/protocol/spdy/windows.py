"""Flow control of SPDY/3.1: a window for each stream, and one for the session (2.6.8 of the drafts 3 and 3.1).

The peers that Kubernetes has (moby/spdystream) know no windows: they send no WINDOW_UPDATE, overrun ours, and ignore
what we send. So windows hold the sender back only since the peer has shown that it knows them, by a WINDOW_UPDATE (of
a stream for those of streams, of the session for that one) or an initial window size; the bytes are counted from the
beginning. Ours are announced, and what comes in is credited, always: a peer that knows windows is held back on the
stream whose data nobody takes, and on no other. A peer that overruns our windows makes no error, against the draft: it
cannot know from the first byte whether we mean them. What holds it back then is that its connection is not read.
"""

from collections.abc import Iterable

from vmsandbox.streaming.protocol.multiplexer import UNBOUNDED

INITIAL = 64 * 1024
"""Bytes of every window at first."""
SESSION = 1 << 30
"""Bytes that we take in on a session: more than ever wait, so that a stream which is stuck holds up itself alone."""
MAXIMUM = 0x7FFF_FFFF


class SendWindow:
    """The bytes that the peer still takes on a stream, or on the session. Below 0 it was overrun, or made smaller."""

    def __init__(self, initial: int) -> None:
        """Begin with `initial` bytes."""
        self.room = initial

    def sent(self, count: int) -> None:
        """Count bytes that were sent."""
        self.room -= count

    def enlarge(self, delta: int) -> bool:
        """Take the peer's credit, or a changed initial size; return whether the window stays valid."""
        self.room += delta
        return self.room <= MAXIMUM


class ReceiveWindow:
    """The credit that the peer is due, given in one piece when half of the window has been consumed."""

    def __init__(self) -> None:
        """Begin with nothing consumed."""
        self._consumed = 0

    def consumed(self, count: int) -> int:
        """Count bytes that were dealt with; return the credit to be sent now, or 0."""
        self._consumed += count
        if self._consumed < INITIAL // 2:
            return 0
        credit, self._consumed = self._consumed, 0
        return credit


class FlowControl:
    """The windows of a session: its own, and the rules that its streams share."""

    def __init__(self) -> None:
        """Begin with the windows of a session in which nothing was announced."""
        self._send = SendWindow(INITIAL)
        self._receive = ReceiveWindow()
        self._initial = INITIAL
        self._streams_known = False
        self._session_known = False

    def new_window(self) -> SendWindow:
        """The window for what is sent on a new stream."""
        return SendWindow(self._initial)

    def room(self, stream: SendWindow) -> int:
        """Return how many bytes may be sent now on the stream of this window."""
        own = stream.room if self._streams_known else UNBOUNDED
        session = self._send.room if self._session_known else UNBOUNDED
        return max(0, min(own, session))

    def sent(self, stream: SendWindow, count: int) -> None:
        """Count bytes that were sent on the stream of this window."""
        stream.sent(count)
        self._send.sent(count)

    def consumed(self, count: int) -> int:
        """Count bytes of any stream that were dealt with; return the session's credit to be sent now, or 0."""
        return self._receive.consumed(count)

    def enlarge_session(self, delta: int) -> bool:
        """Take the peer's credit for the session; return whether its window stays valid."""
        self._session_known = True
        return self._send.enlarge(delta)

    def enlarge_stream(self, stream: SendWindow | None, delta: int) -> bool:
        """Take the peer's credit for a stream (None: it is gone); return whether its window stays valid."""
        self._streams_known = True
        return stream is None or stream.enlarge(delta)

    def resize(self, initial: int, streams: Iterable[SendWindow]) -> None:
        """Take another initial size, which also changes the windows of all streams that there are."""
        self._streams_known = True
        delta, self._initial = min(initial, MAXIMUM) - self._initial, min(initial, MAXIMUM)
        for stream in streams:
            stream.enlarge(delta)
