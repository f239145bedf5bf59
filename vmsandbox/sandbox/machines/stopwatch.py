"""The time that the parts of a cold start take."""

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass, field


@dataclass(slots=True)
class Stopwatch:
    """Measures the parts of a cold start."""

    parts: dict[str, float] = field(default_factory=dict)
    reached: dict[str, float] = field(default_factory=dict)
    """When steps were done, by the monotonic clock."""

    def reach(self, done: str) -> None:
        """Note that a step is done."""
        self.reached[done] = time.monotonic()

    @contextlib.contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Note the seconds that the body takes."""
        begin = time.monotonic()
        yield
        self.parts[part] = time.monotonic() - begin
