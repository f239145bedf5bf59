"""Spans: what a call of the CRI does, and when. They are made while the call runs, and only if somebody takes them."""

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from typing import Protocol

from vmsandbox import log


class Tracer(Protocol):
    """Takes spans. It must return at once, and raise nothing of its own."""

    def call(self, method: str, headers: Mapping[str, str]) -> AbstractContextManager[str]:
        """Surround a call of the CRI; enters with the id of its trace, in hexadecimal; empty: it is not traced.

        Args:
            method: of the CRI.
            headers: of the request; `traceparent` (W3C Trace Context) names the caller's span.
        """

    def span(self, name: str) -> AbstractContextManager[object]:
        """Surround a part of the work that runs here now."""

    def past(self, name: str, begin: float, end: float) -> None:
        """Tell of a part that has ended; the moments are seconds ago."""


_tracer: Tracer | None = None


@contextlib.contextmanager
def tracing(tracer: Tracer) -> Iterator[None]:
    """Have `tracer` take all spans of this process while the context lasts."""
    global _tracer  # noqa: PLW0603 - like the handlers of logging, it is the process's
    before, _tracer = _tracer, tracer
    try:
        yield
    finally:
        _tracer = before


def call_span(method: str, headers: Mapping[str, str]) -> AbstractContextManager[str]:
    """See `Tracer.call`."""
    return contextlib.nullcontext("") if _tracer is None else _tracer.call(method, headers)


def span(name: str) -> AbstractContextManager[object]:
    """Surround a part of a call. Nothing happens outside of calls: tasks that outlive theirs make no spans."""
    return _tracer.span(name) if _tracer is not None and log.in_request() else contextlib.nullcontext()


def is_traced() -> bool:
    """Whether spans that are made here are taken."""
    return _tracer is not None and log.in_request()


def past_span(name: str, begin: float, end: float) -> None:
    """Tell of a part of a call that has ended: it began and ended so many seconds ago."""
    if _tracer is not None and log.in_request():
        _tracer.past(name, begin, end)
