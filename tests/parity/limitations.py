"""The section of docs/limitations.md that is generated from the table."""

import textwrap
from collections.abc import Sequence
from pathlib import Path

from tests.parity.behaviour import Behaviour

LIMITATIONS = Path(__file__).parents[2] / "docs/limitations.md"
BEGIN = "<!-- generated from the table of behaviours by `python -m tests.parity --limitations` -->\n"
END = "<!-- end of what is generated -->\n"
_WIDTH = 125


def updated(text: str, behaviours: Sequence[Behaviour]) -> str:
    """Return the page with the section from the table.

    Raises:
        ValueError: the page does not have the two markers, in their order.
    """
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not (begin and end):
        raise ValueError(f"docs/limitations.md has to hold the lines {BEGIN!r} and, below, {END!r}")
    return f"{before}{begin}{_section(behaviours)}{end}{after}"


def _section(behaviours: Sequence[Behaviour]) -> str:
    items = (_item(f"- *{behaviour.name}*: {behaviour.differs}") for behaviour in behaviours if behaviour.differs)
    head = (
        "The tests ask vmsandbox and containerd the same questions (`python -m tests.parity --list`). These answers "
        "differ, and no others:"
    )
    return "\n".join((textwrap.fill(head, _WIDTH), "", *items, ""))


def _item(text: str) -> str:
    return textwrap.fill(text, _WIDTH, subsequent_indent="  ", break_on_hyphens=False)
