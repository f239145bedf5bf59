"""The table of tests/parity is one that can be listed and told apart."""

import subprocess
import sys
from pathlib import Path

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
    text = (Path(__file__).parents[2] / "docs/limitations.md").read_text()
    section = text.partition("## Answers that differ from containerd's")[2].partition("\n## ")[0]
    said = [line for line in section.splitlines() if line.startswith("- ")]
    assert said == [f"- *{each.name}*: {each.differs}" for each in BEHAVIOURS if each.differs]
