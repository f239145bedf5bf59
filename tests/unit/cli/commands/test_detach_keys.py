"""The keys that let go of a terminal: found across reads, and never lost to the container otherwise."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vmsandbox.cli.commands.detach_keys import DEFAULT, DetachKeys, parse_keys
from vmsandbox.errors import InvalidArgument

KEYS = b"\x10\x11"


def test_the_keys_are_those_of_podman() -> None:
    assert parse_keys(DEFAULT) == KEYS
    assert parse_keys("ctrl-],x,ctrl-@") == b"\x1dx\0"
    assert parse_keys("") == b""


@pytest.mark.parametrize("text", ["ctrl-pp", "esc", ",", "ctrl-", "ctrl-1", "é"])
def test_other_texts_are_refused(text: str) -> None:
    with pytest.raises(InvalidArgument, match="is not a key"):
        parse_keys(text)


@given(st.lists(st.text("ab\x10\x11", max_size=4).map(str.encode), max_size=8))
def test_however_the_keys_come_what_is_before_them_is_the_containers(pieces: list[bytes]) -> None:
    found = DetachKeys(KEYS)
    passed = b""
    for piece in pieces:
        if not found.found:
            passed += found.feed(piece)
    before, keys, _ = b"".join(pieces).partition(KEYS)
    assert found.found == bool(keys)
    assert passed == before if keys else b"".join(pieces) in (passed, passed + KEYS[:1])


def test_without_keys_everything_is_the_containers() -> None:
    none = DetachKeys(b"")
    assert none.feed(KEYS) == KEYS
    assert not none.found
