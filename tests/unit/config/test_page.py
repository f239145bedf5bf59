"""The table of docs/kubernetes.md says what a reload does with each setting, as the settings themselves do."""

import re
from pathlib import Path

from tests.unit.config.test_settings import SETTINGS
from vmsandbox.config import Effect

PAGE = Path(__file__).parents[3] / "docs" / "kubernetes.md"


def test_the_page_says_of_each_setting_what_a_reload_does_with_it() -> None:
    table = PAGE.read_text().partition("| a change of | takes effect |")[2].partition("\n\n")[0]
    at_once, new_pods, rest = table.strip().splitlines()[1:]
    said = {name: effect for name, (_, field) in SETTINGS.items() for effect in [field.metadata["effect"]]}
    named = {Effect.AT_ONCE: at_once, Effect.NEW_PODS: new_pods}
    for effect, row in named.items():
        names = set(re.findall(r"`([a-z_.0-9]+)`", row)) - {"images"}
        covered = {name for name in SETTINGS if any(name == each or name.startswith(f"{each}.") for each in names)}
        assert covered == {name for name, its in said.items() if its is effect}
        assert names - {"handlers"} <= SETTINGS.keys() | {name.rpartition(".")[0] for name in SETTINGS}
    assert "after a restart" in rest
