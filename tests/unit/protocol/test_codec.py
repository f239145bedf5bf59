"""The codec between dataclasses and JSON values: it loses nothing, and lets nothing through that was not declared."""

import enum
from dataclasses import dataclass, field
from typing import Annotated, Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.protocol.bounds import AtMost, Between, Matching
from vmsandbox.protocol.codec import JSON, MalformedMessage, decode, encode


class Colour(enum.Enum):
    RED = "red"
    BLUE = "blue"


@dataclass(frozen=True, slots=True)
class Leaf:
    name: str
    weight: float = 0
    colour: Colour = Colour.RED


@dataclass(frozen=True, slots=True)
class Tree:
    leaf: Leaf
    count: int = 0
    wet: bool = False
    leaves: tuple[Leaf, ...] = ()
    names: dict[str, str] = field(default_factory=dict)
    maybe: Leaf | None = None
    anything: JSON = None


leaves = st.builds(
    Leaf,
    name=st.text(),
    weight=st.floats(allow_nan=False, allow_infinity=False),
    colour=st.sampled_from(Colour),
)
anything = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(), lambda x: st.lists(x) | st.dictionaries(st.text(), x)
)
trees = st.builds(
    Tree,
    leaf=leaves,
    count=st.integers(),
    wet=st.booleans(),
    leaves=st.lists(leaves, max_size=3).map(tuple),
    names=st.dictionaries(st.text(), st.text(), max_size=3),
    maybe=st.none() | leaves,
    anything=anything,
)


@given(trees)
def test_decoding_undoes_encoding(tree: Tree) -> None:
    assert decode(Tree, encode(tree)) == tree


@given(anything)
def test_decoding_anything_gives_the_dataclass_or_says_what_is_wrong(data: Any) -> None:
    try:
        assert isinstance(decode(Tree, data), Tree)
    except MalformedMessage as error:
        assert str(error).startswith("Tree")


def test_fields_at_their_default_are_left_out() -> None:
    assert encode(Tree(Leaf("x"))) == {"leaf": {"name": "x"}, "names": {}}


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        ([], "Tree: expected dict, got list"),
        ({}, "Tree: .*leaf"),
        ({"leaf": {"name": 1}}, r"Tree\.leaf\.name: expected str, got int"),
        ({"leaf": {"name": "x", "weight": "1"}}, r"Tree\.leaf\.weight: expected float, got str"),
        ({"leaf": {"name": "x", "weight": True}}, r"Tree\.leaf\.weight: expected float, got bool"),
        ({"leaf": {"name": "x", "colour": "green"}}, r"Tree\.leaf\.colour: 'green' is not one of \['red', 'blue'\]"),
        ({"leaf": {"name": "x", "colour": []}}, r"Tree\.leaf\.colour: \[\] is not one of"),
        ({"leaf": {"name": "x"}, "count": True}, r"Tree\.count: expected int, got bool"),
        ({"leaf": {"name": "x"}, "count": 1.0}, r"Tree\.count: expected int, got float"),
        ({"leaf": {"name": "x"}, "wet": 1}, r"Tree\.wet: expected bool, got int"),
        ({"leaf": {"name": "x"}, "leaves": [{"name": "a"}, 2]}, r"Tree\.leaves\[1\]: expected dict, got int"),
        ({"leaf": {"name": "x"}, "names": {"a": 1}}, r"Tree\.names\.a: expected str, got int"),
        ({"leaf": {"name": "x", "weight": 10**400}}, r"Tree\.leaf\.weight: expected float, got int"),
        ({"leaf": {"name": "x"}, "bark": 1}, "Tree: unknown field 'bark'"),
    ],
)
def test_the_first_fault_is_named_with_its_place(data: JSON, reason: str) -> None:
    with pytest.raises(MalformedMessage, match=reason):
        decode(Tree, data)


def test_a_whole_number_passes_as_a_float() -> None:
    assert decode(Leaf, {"name": "x", "weight": 3}).weight == 3.0


@dataclass(frozen=True, slots=True)
class Named:
    KIND: ClassVar[str] = "named"
    name: str = ""


def test_what_belongs_to_the_class_is_not_a_field() -> None:
    with pytest.raises(MalformedMessage, match="unknown field 'KIND'"):
        decode(Named, {"KIND": "other"})


@dataclass(frozen=True, slots=True)
class Crate:
    """A dataclass with bounds."""

    number: Annotated[int, Between(1, 5)] | None = None
    sizes: Annotated[dict[Annotated[str, Matching("[a-z]+")], int], AtMost(2)] = field(default_factory=dict)
    numbers: Annotated[tuple[int, ...], AtMost(2)] = ()


@given(st.integers(), st.dictionaries(st.text("ab1"), st.integers(), max_size=4))
def test_a_value_with_bounds_is_decoded_just_when_it_is_within_them(number: int, sizes: dict[str, int]) -> None:
    within = 1 <= number <= 5 and len(sizes) <= 2 and all(name.isalpha() for name in sizes)
    try:
        assert decode(Crate, {"number": number, "sizes": sizes}) == Crate(number, sizes)
        assert within
    except MalformedMessage as error:
        assert str(error).startswith("Crate.")
        assert not within


def test_a_value_beyond_its_bounds_is_named_with_them() -> None:
    with pytest.raises(MalformedMessage, match=r"Crate\.number: not within Between\(least=1, most=5\)"):
        decode(Crate, {"number": 6})


@pytest.mark.parametrize("kind", [dict, list])
def test_a_collection_beyond_its_bounds_costs_no_decoding(kind: type) -> None:
    items = {"a": "no number", "b": 2, "c": 3} if kind is dict else ["no number", 2, 3]
    with pytest.raises(MalformedMessage, match=r"\.(sizes|numbers): not within AtMost\(items=2\)"):
        decode(Crate, {"sizes": items} if kind is dict else {"numbers": items})


@pytest.mark.parametrize("name", ["sizes", "numbers", "number"])
def test_a_value_of_another_type_is_not_asked_for_its_bounds(name: str) -> None:
    with pytest.raises(MalformedMessage, match=rf"Crate\.{name}: expected"):
        decode(Crate, {name: "text"})
