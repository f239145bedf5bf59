import pytest

from vmsandbox.errors import InvalidArgument
from vmsandbox.typed_yaml import read
from vmsandbox.typed_yaml.tree import MOST_BYTES


def error_of(text: str) -> str:
    with pytest.raises(InvalidArgument) as raised:
        read(text, "x.yaml")
    return str(raised.value)


def values(text: str) -> dict[str, object]:
    (document,) = read(text, "x.yaml")
    assert isinstance(document.value, dict)
    return {key: node.value for key, node in document.value.items()}


def test_scalars_mean_what_they_mean_to_kubernetes():
    text = (
        "a: 0644\nb: 0o644\nc: 12:30:45\nd: 2026-11-24\ne: 0x1F\nf: on\ng: .5\nh: ~\ni: =\nj: !!str 5\nk: -1_000\nl:\n"
    )
    assert values(text) == {
        "a": 0o644, "b": 0o644, "c": "12:30:45", "d": "2026-11-24", "e": 31, "f": True, "g": 0.5, "h": None, "i": "=",
        "j": "5", "k": -1000, "l": None,
    }  # fmt: skip


def test_a_tag_of_python_is_refused():
    assert "has no meaning" in error_of("a: !!python/object/apply:os.system [ls]")
    assert "has no meaning" in error_of("a: !secret b")


def test_a_key_given_twice_is_an_error_with_its_line():
    assert error_of("a: 1\nb: {c: 1,\n  c: 2}") == "x.yaml:3: b.c: this key is given twice"


def test_merge_keys_and_anchors_work_and_own_keys_win():
    text = "base: &b {x: 1, y: 1}\nmore: &m {y: 2, z: 2}\nall: {<<: [*b, *m], x: 3}\n"
    (document,) = read(text, "x.yaml")
    assert {key: node.value for key, node in document.of("all").value.items()} == {"x": 3, "y": 1, "z": 2}


def laughs(first: str, multiplied: str) -> str:
    """Eight levels, each of which says the level below ten times."""
    pairs = zip("abcdefgh", "bcdefghi", strict=True)
    levels = (f"{c}: &{c} " + multiplied.format(", ".join([f"*{p}"] * 10)) for p, c in pairs)
    return "\n".join([f"a: &a {first}", *levels])


@pytest.mark.parametrize(
    "text",
    [
        laughs("[x]", "[{}]"),
        laughs("{}", "{{<<: [{}]}}"),
        "a: &a [*a]",
        "a: &a {<<: *a}",
        "[" * 2000 + "]" * 2000,
        "[" * 100 + "]" * 100,
        "a: " + "x" * MOST_BYTES,
    ],
    ids=["billion laughs", "merged laughs", "recursive", "merges itself", "deep", "nested", "large"],
)  # fmt: skip
def test_a_hostile_file_ends_in_an_error(text):
    with pytest.raises(InvalidArgument, match=r"x\.yaml"):
        read(text, "x.yaml")


@pytest.mark.parametrize(
    "text", ["a: [", "a: b: c", "\x00", "a: *unknown", "? [x]\n: y", "true: x", "%YAML 3.0\n---\na: b", "a:\n\t- b"]
)
def test_a_file_that_is_not_yaml_is_named(text):
    with pytest.raises(InvalidArgument, match=r"x\.yaml"):
        read(text, "x.yaml")
