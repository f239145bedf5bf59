"""Values of the protocol by the bounds of its annotations: those within them, and those just beyond."""

import dataclasses
import enum
import types
import typing
from collections.abc import Iterator
from typing import Annotated, Any

from hypothesis import strategies as st

from vmsandbox.protocol import messages
from vmsandbox.protocol.bounds import AtMost, Between, Document, Framed, Matching
from vmsandbox.protocol.codec import hints

NEEDED = {int: Between, float: Between, str: (Matching, AtMost), Any: (Document, Framed)}
COLLECTIONS = (tuple, dict)
HUGE = 2**70


def message_types() -> list[type]:
    """Every dataclass that crosses vsock, also those within others."""
    found: dict[type, None] = {}

    def add(kind: Any) -> None:
        if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind not in found:
            found[kind] = None
            for hint in hints(kind).values():
                add(hint)
        for inner in typing.get_args(kind):
            add(inner)

    requests = messages.REQUESTS.values()
    for kind in (messages.Hello, messages.HelloReply, messages.Envelope, *messages.EVENTS.values(), *requests):
        add(kind)
        add(getattr(kind, "RESULT", None))
    return list(found)


def unbounded(kind: Any, bounds: tuple[Any, ...] = ()) -> Iterator[str]:
    """Yield the parts of an annotation without a bound."""
    origin = typing.get_origin(kind)
    if origin is Annotated:
        inner, *more = typing.get_args(kind)
        yield from unbounded(inner, (*bounds, *more))
    elif origin in (typing.Union, types.UnionType):
        for inner in typing.get_args(kind):
            yield from unbounded(inner)
    elif origin in COLLECTIONS:
        if not any(isinstance(bound, AtMost) for bound in bounds):
            yield str(kind)
        for inner in typing.get_args(kind):
            if inner is not Ellipsis:
                yield from unbounded(inner)
    elif kind in NEEDED and not any(isinstance(bound, NEEDED[kind]) for bound in bounds):
        yield str(kind)


def within(kind: Any, bounds: tuple[Any, ...] = ()) -> st.SearchStrategy[Any]:
    """Values of an annotation, its extremes among them."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        return within(arguments[0], (*bounds, *arguments[1:]))
    if origin in (typing.Union, types.UnionType):
        return st.one_of(*(st.none() if inner is type(None) else within(inner) for inner in arguments))
    if origin is tuple:
        return st.lists(within(arguments[0]), max_size=3).map(tuple)
    if origin is dict:
        return st.dictionaries(within(arguments[0]), within(arguments[1]), max_size=3)
    if dataclasses.is_dataclass(kind):
        fields = {name: within(hint) for name, hint in hints(typing.cast(type, kind)).items()}
        return st.builds(typing.cast(type, kind), **fields)
    if isinstance(kind, type) and issubclass(kind, enum.Enum):
        return st.sampled_from(kind)
    return _plain(kind, bounds)


def _plain(kind: Any, bounds: tuple[Any, ...]) -> st.SearchStrategy[Any]:
    ranges = [bound for bound in bounds if isinstance(bound, Between)]
    patterns = [bound.pattern for bound in bounds if isinstance(bound, Matching)]
    if kind is int:
        return st.integers(int(ranges[0].least), int(ranges[0].most))
    if kind is float:
        return st.floats(ranges[0].least, ranges[0].most)
    if kind is str:
        text = st.text(st.characters(exclude_categories=("Cs",)), max_size=50)
        return (
            st.from_regex(patterns[0], fullmatch=True, alphabet=st.characters(max_codepoint=126)) if patterns else text
        )
    if kind is bool:
        return st.booleans()
    leaves = st.none() | st.booleans() | st.integers(-(2**63), 2**64 - 1) | st.text(max_size=5).filter(str.isascii)
    return st.recursive(leaves, lambda x: st.lists(x, max_size=3) | st.dictionaries(st.just("a"), x), max_leaves=5)


def beyond(kind: Any, bounds: tuple[Any, ...] = ()) -> Iterator[Any]:
    """JSON values just beyond the bounds of an annotation."""
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin is Annotated:
        yield from beyond(arguments[0], (*bounds, *arguments[1:]))
    elif origin in (typing.Union, types.UnionType):
        for inner in arguments:
            yield from beyond(inner)
    elif origin is tuple:
        yield from ([None] * (bound.items + 1) for bound in bounds if isinstance(bound, AtMost))
        yield from ([bad] for bad in beyond(arguments[0]))
    elif origin is dict:
        yield from ({str(n): None for n in range(bound.items + 1)} for bound in bounds if isinstance(bound, AtMost))
        yield from ({bad: None} for bad in beyond(arguments[0]) if isinstance(bad, str))
    else:
        yield from (bad for bound in bounds for bad in _beyond(kind, bound))


def _beyond(kind: Any, bound: Any) -> Iterator[Any]:
    if isinstance(bound, Between):
        step = 1 if kind is int else 0.5
        yield from (bound.least - step, bound.most + step, -HUGE, HUGE)
        yield from (float("nan"), float("inf"), float("-inf")) if kind is float else ()
    elif isinstance(bound, Matching):
        yield from ("\x1b", "x" * 2000, "ab\n", "\ud800", "ä")
    elif isinstance(bound, AtMost):
        yield "x" * (bound.items + 1)
    elif isinstance(bound, Document):
        deep: Any = 0
        for _ in range(bound.depth + 1):
            deep = [deep]
        yield from (HUGE, [-HUGE], {"a": float("nan")}, [0] * bound.values, deep)
