"""Runs the sections that are asked for, and prints and writes what they have found."""

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tests.performance.bench import page
from tests.performance.bench.figures import Report
from tests.performance.bench.picture import drawn
from tests.performance.bench.runtimes import SOURCES, best_source, runtimes
from tests.performance.bench.sections import commands, daemon, files, memory, pods, pulls

SIDE_BY_SIDE = {
    "streams": commands.streams,
    "cpu": commands.cpu,
    "files": files.measure,
    "pulls": pulls.measure,
    "memory": memory.measure,
    "daemon": daemon.cost,
}
"""The sections that share one pair of runtimes. `pods` has a pair for each source of machines, `lists` has none."""
SECTIONS = ("pods", *SIDE_BY_SIDE, "lists")


def main(arguments: Sequence[str]) -> None:
    """Measure, print the tables, and write what was asked for."""
    options = _options(arguments)
    report = Report(1 if options.quick else options.repetitions)
    if any(options.only):
        report.note_load()
    try:
        measure(report, options.only, options.at_once, options.sources)
    finally:  # What was measured before a failure took its time.
        for path in options.merge:
            report.merge(json.loads(path.read_text()))
        _write(report, options)


def _write(report: Report, options: argparse.Namespace) -> None:
    sys.stdout.write(f"{report.conditions()}\n{report.table()}\n")
    sys.stdout.flush()
    if options.json:
        options.json.write_text(report.as_json() + "\n")
    if options.picture:
        options.picture.write_text(drawn(report.spans, report.memory))
    if options.page:
        text = options.page.read_text()
        options.page.write_text(page.updated(text, report))


def measure(report: Report, wanted: Sequence[str], at_once: int, sources: Sequence[str]) -> None:
    """Run the sections that are wanted."""
    for source in SOURCES:
        if "pods" in wanted and source.name in sources and source.configurable:
            with runtimes(source) as both:
                pods.measure(both, report, at_once)
    together = [section for name, section in SIDE_BY_SIDE.items() if name in wanted]
    if together:
        with runtimes(best_source()) as both:
            for section in together:
                section(both, report)
    if "lists" in wanted:
        daemon.lists(report)


def _options(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.performance.bench", description=__doc__)
    parser.add_argument("--only", type=_names, default=SECTIONS, help=f"some of {','.join(SECTIONS)}")
    parser.add_argument("--sources", type=_names, default=[source.name for source in SOURCES], help="of pods' machines")
    parser.add_argument("--repetitions", type=int, default=5, help="of each figure, of which the median counts")
    parser.add_argument("--quick", action="store_true", help="one repetition")
    parser.add_argument("--at-once", type=int, default=10, help="pods side by side")
    parser.add_argument(
        "--merge",
        type=Path,
        nargs="*",
        default=(),
        help="files of --json of other runs, for sections that this one lacks",
    )
    parser.add_argument("--json", type=Path, help="file for all values")
    parser.add_argument("--picture", type=Path, help="file for an SVG of a start's time and a pod's memory")
    parser.add_argument("--page", type=Path, help="page whose tables are replaced by this run's")
    return parser.parse_args(arguments)


def _names(text: str) -> list[str]:
    return text.split(",")


if __name__ == "__main__":
    main(sys.argv[1:])
