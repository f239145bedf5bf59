"""The parts of calls, as the daemon's own traces tell them."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from tests.support.collector import Collector
from tests.support.waiting import eventually

_DEADLINE = 20.0


@dataclass(frozen=True)
class Span:
    """A part of a call: seconds since the call's begin, and how deep it is within other parts."""

    name: str
    begin: float
    end: float
    depth: int

    def as_list(self) -> list[float | int | str]:
        """For JSON."""
        return [self.name, round(self.begin, 4), round(self.end, 4), self.depth]


def calls(collector: Collector, method: str, count: int) -> list[list[Span]]:
    """Return the parts of the last `count` calls of a method; the first part is the call itself.

    Spans come some time after their calls.
    """
    roots = eventually(lambda: _last(collector, method, count), _DEADLINE)
    return [_parts(collector, root) for root in roots]


def median_call(found: Sequence[list[Span]]) -> list[Span]:
    """Return the call whose duration is the median."""
    return sorted(found, key=lambda parts: parts[0].end)[len(found) // 2]


def _last(collector: Collector, method: str, count: int) -> list[Any] | None:
    roots = [span for span in collector.spans if span.name == method and not span.parent_span_id]
    return roots[-count:] if len(roots) >= count else None


def _parts(collector: Collector, root: Any) -> list[Span]:
    zero = root.start_time_unix_nano
    parts = [span for span in collector.spans if span.trace_id == root.trace_id]
    by_id = {span.span_id: span for span in parts}

    def depth(span: Any) -> int:
        above = by_id.get(span.parent_span_id)
        return 0 if above is None else depth(above) + 1

    found = [
        Span(span.name, (span.start_time_unix_nano - zero) / 1e9, (span.end_time_unix_nano - zero) / 1e9, depth(span))
        for span in parts
    ]
    return sorted(found, key=lambda span: (span.begin, span.depth))
