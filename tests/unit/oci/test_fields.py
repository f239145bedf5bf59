"""The table of config.json's fields: complete, obeyed, and the one that docs/oci.md prints."""

from pathlib import Path
from typing import Any

import pytest

from tests.unit.oci.configs import config
from vmsandbox.errors import Unimplemented
from vmsandbox.oci.fields import FIELDS, Fate, check_fields, guest_part, row_of

ROOT = Path(__file__).parents[3]
RUNTIME_SPEC = ROOT / "tests/unit/golden/oci/runtime-spec-fields.txt"
"""The paths of all fields of runtime-spec 1.3, of which those of other systems are told as a whole."""


def known() -> list[str]:
    return RUNTIME_SPEC.read_text().split()


def nested(path: str, value: Any) -> dict[str, Any]:
    """A document whose one field is that of a path."""
    for name in reversed(path.split(".")):
        value = {name: value}
    return value


def test_every_field_of_the_runtime_spec_has_a_row() -> None:
    parents = {path.rpartition(".")[0] for path in known()}
    assert [path for path in known() if row_of(path) is None and path not in parents] == []


def test_every_row_is_of_a_field_of_the_runtime_spec() -> None:
    assert {row.path for row in FIELDS} <= set(known())


def test_every_row_without_effect_and_every_refusal_has_a_reason() -> None:
    assert [row.path for row in FIELDS if row.fate in (Fate.NOTHING, Fate.REFUSED) and not row.note] == []


@pytest.mark.parametrize("row", [row for row in FIELDS if row.fate is Fate.REFUSED], ids=lambda row: row.path)
def test_a_refused_field_is_an_error_that_says_why_unless_it_asks_for_nothing(row) -> None:
    document = nested(row.path, ["something"])
    if row.path.startswith("mounts."):
        document = {"mounts": [nested(row.path.removeprefix("mounts."), ["something"])]}
    with pytest.raises(Unimplemented, match=r"refused: .+") as refused:
        check_fields(document)
    assert refused.value.field == row.path
    for nothing in (None, [], {}, "", 0, False, {"below": []}):
        check_fields(nested(row.path, nothing))


def test_a_field_that_nobody_knows_is_refused() -> None:
    for document in ({"extra": 1}, {"linux": {"extra": 1}}, {"process": {"extra": 1}}, {"mounts": [{"extra": 1}]}):
        with pytest.raises(Unimplemented, match=r"extra in config\.json is not known"):
            check_fields(document)


def test_the_guest_is_given_what_it_does_and_nothing_else() -> None:
    given = guest_part(config())
    assert set(given) == {"process", "mounts", "linux"}
    assert "apparmorProfile" not in given["process"] and given["process"]["rlimits"] == config()["process"]["rlimits"]
    assert set(given["linux"]) == {"resources", "seccomp", "maskedPaths", "readonlyPaths"}
    assert given["linux"]["resources"]["cpu"] == {"quota": 50000, "period": 100000}
    assert given["linux"]["resources"]["devices"] == [{"allow": False, "access": "rwm"}]


def test_the_page_has_the_table() -> None:
    rows = [f"| `{row.path}` | {row.fate.value}{': ' if row.note else ''}{row.note} |" for row in FIELDS]
    assert "\n".join(rows) in (ROOT / "docs/oci.md").read_text(), "\n".join(rows)
