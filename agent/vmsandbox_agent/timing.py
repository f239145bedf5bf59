"""How long the parts of a request take, for a host that traces it."""

import contextlib
import time
from collections.abc import Iterator
from contextvars import ContextVar

_parts: ContextVar[dict[str, float] | None] = ContextVar("parts", default=None)


@contextlib.contextmanager
def timed() -> Iterator[dict[str, float]]:
    """Gather the parts of the body and of its tasks: seconds by their names. Without parts it is all one, `work`."""
    parts: dict[str, float] = {}
    before, begin = _parts.set(parts), time.monotonic()
    try:
        yield parts
    finally:
        _parts.reset(before)
        if not parts:
            parts["work"] = time.monotonic() - begin


@contextlib.contextmanager
def part(name: str) -> Iterator[None]:
    """Name a part, in lower case letters, of the request that is being carried out."""
    parts, begin = _parts.get(), time.monotonic()
    try:
        yield
    finally:
        if parts is not None:
            parts[name] = parts.get(name, 0.0) + time.monotonic() - begin
