"""The part of docs/performance.md that a run writes: its tables."""

from tests.performance.bench.figures import Report
from tests.support.generated import replaced

BEGIN = "<!-- written by `make bench` -->\n"
END = "<!-- end of what is written -->\n"


def updated(text: str, report: Report) -> str:
    """Return the page with the tables of this run. Raises as `replaced`."""
    return replaced(text, BEGIN, END, f"\n{report.conditions()}\n{report.table()}\n")
