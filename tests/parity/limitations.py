"""The section of docs/limitations.md that is generated from the table."""

import textwrap
from collections.abc import Sequence

from tests.parity.behaviour import Behaviour
from tests.support.generated import DOCS, replaced

LIMITATIONS = DOCS / "limitations.md"
BEGIN = "<!-- generated from the table of behaviours by `python -m tests.parity --limitations` -->\n"
END = "<!-- end of what is generated -->\n"
_WIDTH = 125


def updated(text: str, behaviours: Sequence[Behaviour]) -> str:
    """Return the page with the section from the table. Raises as `replaced`."""
    return replaced(text, BEGIN, END, _section(behaviours))


def _section(behaviours: Sequence[Behaviour]) -> str:
    items = (_item(f"- *{behaviour.name}*: {behaviour.differs}") for behaviour in behaviours if behaviour.differs)
    head = (
        "The tests ask vmsandbox and containerd the same questions (`python -m tests.parity --list`). These answers "
        "differ, and no others:"
    )
    return "\n".join((textwrap.fill(head, _WIDTH), "", *items, ""))


def _item(text: str) -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
