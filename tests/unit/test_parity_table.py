"""The table of tests/parity is one that can be listed and told apart."""

import subprocess
import sys

import pytest

from tests.parity.limitations import BEGIN, END, LIMITATIONS, updated
from tests.parity.table import BEHAVIOURS


def test_each_behaviour_has_a_name_of_its_own_and_a_source() -> None:
    assert len({behaviour.name for behaviour in BEHAVIOURS}) == len(BEHAVIOURS)
    assert all(behaviour.source for behaviour in BEHAVIOURS)


def test_each_behaviour_asks_something() -> None:
    assert all(behaviour.script or behaviour.exec for behaviour in BEHAVIOURS)


def test_the_list_says_each_behaviour_with_its_source() -> None:
    done = subprocess.run([sys.executable, "-m", "tests.parity", "--list"], check=True, capture_output=True, text=True)
    lines = done.stdout.splitlines()
    for behaviour in BEHAVIOURS:
        assert behaviour.name in lines
        assert f"    source: {behaviour.source}" in lines


def test_the_documentation_says_exactly_those_whose_answers_differ() -> None:
    """`python -m tests.parity --limitations` writes it."""
    text = LIMITATIONS.read_text()
    assert text == updated(text, BEHAVIOURS)
    assert all(f"- *{behaviour.name}*: " in text for behaviour in BEHAVIOURS if behaviour.differs)


def test_a_page_without_the_generated_section_is_refused() -> None:
    with pytest.raises(ValueError, match="has to hold the lines"):
        updated(f"{END}{BEGIN}", BEHAVIOURS)


def test_what_stands_around_the_generated_section_is_kept() -> None:
    [first, *_] = (behaviour for behaviour in BEHAVIOURS if behaviour.differs)
    page = updated(f"before\n{BEGIN}of another table\n{END}after\n", [first])
    assert page.startswith(f"before\n{BEGIN}The tests ask")
    assert page.endswith(f"{END}after\n")
    assert "of another table" not in page
