"""The bound on messages that repeat: a guest, or a disk that is full, may cause the same one without end."""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass

from typing_extensions import override

from vmsandbox.log.subject import current

MOST = 20
"""Messages of one kind, about one pod, within one `WINDOW`; the others are counted."""

WINDOW = 60.0
"""Seconds."""

_KINDS = 1024
"""Kinds of messages that are counted; of more, the oldest is forgotten."""


@dataclass(slots=True)
class _Kind:
    begin: float
    shown: int = 0
    left_out: int = 0


class Flood(logging.Filter):
    """Lets `MOST` messages of a kind pass; the first one that passes again says how many were left out.

    A kind is a level and a message without its arguments, about one pod. Messages for debugging all pass.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        """Nothing was said yet. `clock` tells the time in seconds."""
        super().__init__()
        self._clock = clock
        self._kinds: dict[tuple[str, int, str, str], _Kind] = {}

    @override
    def filter(self, record: logging.LogRecord) -> bool:
        if record.levelno <= logging.DEBUG:
            return True
        kind = self._kind(record)
        if kind.shown >= MOST:
            kind.left_out += 1
            return False
        if kind.left_out:
            record.left_out = kind.left_out
            kind.left_out = 0
        kind.shown += 1
        return True

    def _kind(self, record: logging.LogRecord) -> _Kind:
        subject, now = current(), self._clock()
        key = (record.name, record.levelno, str(record.msg), subject.pod_id if subject else "")
        kind = self._kinds.setdefault(key, _Kind(now))
        if now - kind.begin >= WINDOW:
            kind.begin, kind.shown = now, 0
        if len(self._kinds) > _KINDS:
            del self._kinds[next(iter(self._kinds))]
        return kind
