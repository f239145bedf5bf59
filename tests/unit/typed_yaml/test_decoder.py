"""All mistakes of a tree are found, and what is right of it is decoded."""

from dataclasses import dataclass, field

import pytest

from vmsandbox.errors import InvalidArgument, Mistakes, NotFound, together
from vmsandbox.typed_yaml import decode, decode_all, read


def _small(value: int) -> str:
    return "" if value < 10 else f"{value} is not below 10"


@dataclass(frozen=True)
class Inner:
    """A part with a field that is required."""

    name: str
    count: int = field(default=1, metadata={"check": _small})


@dataclass(frozen=True)
class Outer:
    """Fields of each kind."""

    inner: Inner = Inner("default")
    inners: tuple[Inner, ...] = ()
    by_name: dict[str, Inner] = field(default_factory=dict)
    limit: int | None = field(default=5, metadata={"check": _small})
    numbers: tuple[int, ...] = field(default=(), metadata={"check": _small})


def found(text: str) -> tuple[Outer | None, list[str]]:
    decoded, mistakes = decode_all(Outer, read(text, "c")[0])
    return decoded, [str(mistake) for mistake in mistakes]


def test_every_mistake_is_told_in_the_order_of_the_file_and_the_rest_is_decoded() -> None:
    text = (
        "inner: {count: 1}\nnonsense: 1\nlimit: 10\nnumbers: [1, 11, x, 2]\nby_name:\n  a: {name: A}\n  b: {name: []}"
    )
    decoded, mistakes = found(text)
    assert mistakes == [
        "c:1: inner.name: this field is required",
        "c:2: nonsense: there is no such field",
        "c:3: limit: 10 is not below 10",
        "c:4: numbers[1]: 11 is not below 10",
        "c:4: numbers[2]: expected an integer, not a string (x)",
        "c:7: by_name.b.name: expected a string, not a list",
    ]
    assert decoded == Outer(numbers=(1, 2), by_name={"a": Inner("A")})


def test_an_item_with_a_mistake_is_left_out() -> None:
    decoded, mistakes = found("inners: [{name: a}, {name: b, count: 12}, {count: 2}, {name: d, count: 3}]")
    assert mistakes == ["c:1: inners[1].count: 12 is not below 10", "c:1: inners[2].name: this field is required"]
    assert decoded is not None
    assert decoded.inners == (Inner("a"), Inner("b"), Inner("d", 3))


def test_half_a_character_is_not_text_in_values_and_keys() -> None:
    decoded, mistakes = found('inner: {name: "a\\uD800"}\nby_name: {"\\uDCFF": {name: A}, b: {name: B}}')
    assert mistakes[0] == "c:1: inner.name: it is not text in UTF-8"
    assert [mistake.endswith(": it is not text in UTF-8") for mistake in mistakes] == [True, True]
    assert decoded == Outer(by_name={"b": Inner("B")})


def test_null_is_not_held_to_the_rule_of_its_field() -> None:
    assert found("limit: null") == (Outer(), [])


def test_a_list_in_place_of_a_mapping_is_nothing_and_one_mistake() -> None:
    assert found("[]") == (None, ["c:1: expected a mapping, not a list"])


def test_a_required_field_is_asked_for_once_whatever_else_is_wrong() -> None:
    decoded, mistakes = decode_all(Inner, read("name: 3\ncount: x", "c")[0])
    assert decoded is None
    assert list(map(str, mistakes)) == [
        "c:1: name: expected a string, not an integer (3)",
        "c:2: count: expected an integer, not a string (x)",
    ]


def test_decode_raises_the_first_mistake() -> None:
    with pytest.raises(InvalidArgument, match="c:1: limit: 10 is not below 10"):
        decode(Outer, read("limit: 10\nnonsense: 1", "c")[0])


def test_mistakes_are_one_error_with_a_line_for_each() -> None:
    first, second = InvalidArgument("a", hint="x"), InvalidArgument("b")
    both = together([first, second])
    assert isinstance(both, Mistakes)
    assert str(both) == "2 mistakes: a (x); b"
    assert both.at("c.yaml").report() == "c.yaml: 2 mistakes:\n  a (x)\n  b"
    assert together([one := NotFound("c")]) is one
