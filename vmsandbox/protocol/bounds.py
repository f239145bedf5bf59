"""The bounds that an annotation adds to a type: `Annotated[int, Between(1, 5)]`, and the bounded types."""

import dataclasses
import math
import re
from typing import Annotated, Any, Protocol, TypeAlias

JSON: TypeAlias = Any
"""A value that `json.loads` can give; used where the content is somebody else's format (OCI runtime-spec)."""


class Bound(Protocol):
    """Given to `Annotated`; the codec asks it when it decodes."""

    def holds(self, value: Any) -> bool:
        """Whether the value is within it."""
        ...


@dataclasses.dataclass(frozen=True, slots=True)
class Between:
    """A number from `least` to `most`; a float that is not a number is not."""

    least: float
    most: float

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
    """So many items, or characters."""

    items: int

    def holds(self, value: Any) -> bool:
        """Whether the text, or the list or dict that is not decoded yet, has no more."""
        return len(value) <= self.items


@dataclasses.dataclass(frozen=True, slots=True)
class Unicode:
    """A text that can be written as UTF-8: JSON can hold halves of a character, which nothing else can."""

    def holds(self, value: Any) -> bool:
        """Whether the text can."""
        return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


@dataclasses.dataclass(frozen=True, slots=True)
class Framed:
    """A value that the frame it arrives in bounds, by its size and nesting; its fields are decoded by themselves."""

    def holds(self, value: Any) -> bool:
        """Whether it is: always."""
        return True


@dataclasses.dataclass(frozen=True, slots=True)
class Document:
    """JSON of at most `values` values, nested at most `depth` deep, whose numbers are finite and fit 64 bits."""

    values: int
    depth: int

    def holds(self, value: Any) -> bool:
        """Whether the JSON is."""
        level, seen = [value], 0
        for _ in range(self.depth + 1):
            seen += len(level)
            if seen > self.values or not all(map(_is_plain, level)):
                return False
            level = [inner for outer in level if isinstance(outer, (list, dict)) for inner in _values(outer)]
            if not level:
                return True
        return False


def _is_plain(value: Any) -> bool:
    if isinstance(value, float):
        return math.isfinite(value)
    return not isinstance(value, int) or -(2**63) <= value < 2**64


def _values(collection: "list[Any] | dict[str, Any]") -> "list[Any]":
    return collection if isinstance(collection, list) else list(collection.values())


Int32 = Annotated[int, Between(-(2**31), 2**31 - 1)]

Int64 = Annotated[int, Between(-(2**63), 2**63 - 1)]

UInt32 = Annotated[int, Between(0, 2**32 - 1)]

UInt64 = Annotated[int, Between(0, 2**64 - 1)]

Count = Annotated[int, Between(0, 2**63 - 1)]
"""A number of something, as the CRI's UInt64Value and every counter of a kernel can hold it."""

Difference = Annotated[int, Between(-(2**63) + 1, 2**63 - 1)]
"""Between two of them."""

Seconds = Annotated[float, Between(0, 10.0**9)]

Id = Annotated[str, Matching(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")]
"""The id of a container or an exec, the serial of a disk, or the name of a volume."""

OptionalId = Annotated[str, Matching(r"([A-Za-z0-9][A-Za-z0-9_.-]{0,127})?")]

Printable = Annotated[str, Matching(r"[ -~]{0,128}")]
"""A short text in printable ASCII, such as the release of a kernel."""

Text = Annotated[str, AtMost(4096), Unicode()]
"""A path, a name of a user, a value of a sysctl."""

LongText = Annotated[str, AtMost(1024 * 1024), Unicode()]
"""The content of a small file."""

UserId = Annotated[int, Between(0, 2**32 - 2)]
"""The id of a user or group; the highest number means none (setuid(2))."""

ExitCode = Annotated[int, Between(0, 255)]
"""128 + N after signal N."""

Signal = Annotated[int, Between(1, 64)]
"""signal(7), with the real-time signals."""

Size16 = Annotated[int, Between(0, 2**16 - 1)]
"""A side of a terminal (ioctl_tty(2)), or a maximum transmission unit."""

Port = Annotated[int, Between(1, 2**16 - 1)]

OciDocument = Annotated[JSON, Document(values=200_000, depth=32)]
"""A part of an OCI runtime-spec."""
