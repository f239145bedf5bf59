"""What an annotation may demand of a value beside its type: `Annotated[int, Between(1, 5)]`."""

import dataclasses
import re
from typing import Annotated, Any, Protocol


class Bound(Protocol):
    """Given to `Annotated`; the codec asks it when it decodes."""

    def holds(self, value: Any) -> bool:
        """Whether the value is within it."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Between:
    """A number from `least` to `most`."""

    least: int
    most: int

    def holds(self, value: Any) -> bool:
        """Whether the number is."""
        return bool(self.least <= value <= self.most)


@dataclasses.dataclass(frozen=True, slots=True)
class Matching:
    """A text that is `pattern` from its beginning to its end."""

    pattern: str

    def holds(self, value: Any) -> bool:
        """Whether the text is."""
        return re.fullmatch(self.pattern, value) is not None


@dataclasses.dataclass(frozen=True, slots=True)
class AtMost:
    """So many items."""

    items: int

    def holds(self, value: Any) -> bool:
        """Whether the list or dict, not decoded yet, has no more."""
        return len(value) <= self.items


Count = Annotated[int, Between(0, 2**63 - 1)]
"""A number of something, as the CRI's UInt64Value and every counter of a kernel can hold it."""
