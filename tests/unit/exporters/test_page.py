"""docs/metrics.md has every metric and every step, as they are declared; `UPDATE_GOLDEN=1 pytest` writes its tables."""

import re
from pathlib import Path

import pytest

from tests.support.golden import assert_golden
from tests.support.metrics_page import metrics_table, steps_table

PAGE = Path("docs/metrics.md")
CHECKOUT = Path(__file__).parents[3]


@pytest.mark.parametrize(("name", "table"), [("metrics", metrics_table()), ("steps", steps_table())])
def test_a_table_of_the_page_is_that_of_the_declarations(name: str, table: str) -> None:
    begin, end = f"<!-- {name} -->", f"<!-- end of {name} -->"
    text = (CHECKOUT / PAGE).read_text()
    found = re.sub(f"{begin}.*?{end}", lambda _: f"{begin}\n\n{table}\n\n{end}", text, count=1, flags=re.DOTALL)
    assert begin in text
    assert_golden(PAGE, found)
