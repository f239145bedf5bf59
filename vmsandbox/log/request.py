"""The call that messages come from."""

import contextlib
import secrets
from collections.abc import Iterator
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(slots=True)
class Request:
    """A call of the CRI. Tasks that outlive it are not part of it any more."""

    method: str
    id: str = ""
    """Random: it joins the lines of one call."""
    trace: str = ""
    """The id of its trace (W3C Trace Context), in hexadecimal; empty: it is not traced."""
    over: bool = False


_request: ContextVar[Request | None] = ContextVar("request", default=None)


@contextlib.contextmanager
def within(method: str) -> Iterator[Request]:
    """Messages of the body, and of its tasks until the body has ended, come from one call of a method."""
    request = Request(method, secrets.token_hex(4))
    before = _request.set(request)
    try:
        yield request
    finally:
        request.over = True
        _request.reset(before)


def current_request() -> Request | None:
    """The call that runs here."""
    request = _request.get()
    return None if request is None or request.over else request


def in_request() -> bool:
    """Whether this is part of a call that has not ended."""
    return current_request() is not None
