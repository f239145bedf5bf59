"""Classes that are made with code which was compiled before are the same as others."""

import dataclasses

import pytest

from vmsandbox_agent import dataclass_code


def _made() -> type:
    @dataclasses.dataclass(frozen=True, slots=True)
    class Point:
        """A class of a test."""

        x: int
        y: int = 5

    return Point


def test_a_class_made_with_prepared_code_works_as_any_other(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dataclass_code, "CODE", {})
    plain = _made()
    with dataclass_code.prepared():
        _made()
        known = dict(dataclass_code.CODE)
        prepared = _made()
    assert known
    assert known == dataclass_code.CODE
    for made in (plain, prepared):
        assert repr(made(1)).endswith("Point(x=1, y=5)")
        assert made(1) == made(1, 5)
        assert made(1).y == 5
        assert hash(made(2)) == hash((2, 5))
        with pytest.raises(dataclasses.FrozenInstanceError):
            made(1).x = 2


def test_an_agent_that_runs_from_its_sources_has_no_code_and_compiles_as_ever() -> None:
    assert "exec" not in vars(dataclasses)
    assert isinstance(dataclass_code.CODE, dict)
