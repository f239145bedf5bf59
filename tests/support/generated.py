"""Sections of pages that programs write, between two lines that mark them."""

from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"


def replaced(text: str, begin: str, end: str, section: str) -> str:
    """Return the page with another section between the lines `begin` and `end`.

    Raises:
        ValueError: the page does not have the two lines, in their order.
    """
    before, found, rest = text.partition(begin)
    _, ended, after = rest.partition(end)
    if not (found and ended):
        raise ValueError(f"the page has to hold the lines {begin!r} and, below, {end!r}")
    return f"{before}{begin}{section}{end}{after}"
