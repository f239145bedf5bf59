"""Work that takes long, told to the person who waits for it: a command draws it, a daemon logs it.

A package says what it does, and need not know who listens: the listener belongs to the context (PEP 567) in which the
work was begun. Where the log has such messages, or nobody listens, they go to the log.
"""

import contextlib
import logging
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any

from vmsandbox import log

_log = log.get(__name__)


@dataclass(frozen=True, slots=True)
class Listener:
    """The functions of a command that speaks to a person."""

    step: Callable[[str], AbstractContextManager[Any]]
    """Shows for as long as its body runs that something is being done."""
    warning: Callable[[str], None]


_listener: ContextVar[Listener | None] = ContextVar("progress", default=None)


@contextlib.contextmanager
def heard_by(listener: Listener | None) -> Iterator[None]:
    """Tell what is done in the body to a listener."""
    token = _listener.set(listener)
    try:
        yield
    finally:
        _listener.reset(token)


@contextlib.contextmanager
def doing(text: str) -> Iterator[None]:
    """Tell that something which takes a while is being done in the body: `Trying whether KVM runs a guest`."""
    listener = _listener.get()
    if listener is None or _log.isEnabledFor(logging.INFO):
        _log.info("%s", text)
        yield
        return
    with listener.step(text):
        yield


@contextlib.contextmanager
def waiting(text: str, patience: float = 1.0) -> Iterator[None]:
    """Tell what is waited for in the body, like `doing`, where it takes longer than `patience` seconds."""
    import asyncio  # here, for commands that never wait

    with contextlib.ExitStack() as stack:
        timer = asyncio.get_running_loop().call_later(patience, lambda: stack.enter_context(doing(text)))
        stack.callback(timer.cancel)
        yield


def warn(text: str) -> None:
    """Tell what a person should know although the work goes on."""
    listener = _listener.get()
    if listener is None:
        _log.warning("%s", text)
    else:
        listener.warning(text)
