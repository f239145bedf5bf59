"""Figures of a run: what was measured, here and under containerd, and the table and the JSON of all."""

import json
import os
import platform
import statistics
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tests.performance.bench.spans import Span

HERE, THERE = "vmsandbox", "containerd"


@dataclass(frozen=True)
class Figure:
    """Values of one thing that was measured here and under another runtime; one of the two may have none."""

    section: str
    name: str
    unit: str = "s"
    here: Sequence[float] = ()
    there: Sequence[float] = ()
    other: str = THERE
    """The runtime or thing that `there` are values of."""

    @property
    def ratio(self) -> float | None:
        """The median here, as a multiple of the other's."""
        if not (self.here and self.there):
            return None
        return statistics.median(self.here) / max(statistics.median(self.there), 1e-9)

    def row(self) -> str:
        """A line of the table."""
        ratio = "" if self.ratio is None else f"{self.ratio:.1f}"
        return f"| {self.name} | {_told(self.here, self.unit)} | {_told(self.there, self.unit)} | {ratio} |"


@dataclass
class Report:
    """The findings of a run so far."""

    repetitions: int
    figures: list[Figure] = field(default_factory=list)
    spans: dict[str, list[Span]] = field(default_factory=dict)
    """The parts of one call each, by its name: the call with the median duration."""
    memory: dict[str, float] = field(default_factory=dict)
    """The parts of an idle pod's memory, in MiB."""
    load: list[float] = field(default_factory=list)
    earlier: list[str] = field(default_factory=list)
    """The conditions of the runs of which this has parts, too."""

    def merge(self, told: Mapping[str, Any]) -> None:
        """Take over what `as_json` of an earlier run says, for what this run does not have."""
        measured = {each.section for each in self.figures}
        self.figures += [each for each in map(_figure, told["figures"]) if each.section not in measured]
        self.memory = self.memory or told["memory"]
        spans = {name: [Span(*each) for each in parts] for name, parts in told["spans"].items()}
        self.spans = {**spans, **self.spans}
        self.earlier.append(told["conditions"])

    def add(self, section: str, name: str, unit: str = "s", other: str = THERE, **values: Sequence[float]) -> None:
        """Add a figure; `here` and `there` are its values, the latter of another runtime or thing."""
        self.figures.append(Figure(section, name, unit, other=other, **values))

    def compare(self, section: str, both: Mapping[str, Sequence[tuple[str, float]]], prefix: str = "") -> None:
        """Add a figure for each name among values that are named, by runtime."""
        for name in dict.fromkeys(name for values in both.values() for name, _ in values):
            here, there = ([value for each, value in both.get(side, ()) if each == name] for side in (HERE, THERE))
            self.add(section, prefix + name, here=here, there=there)

    def note_load(self) -> None:
        """Note the load of the host now."""
        self.load.append(os.getloadavg()[0])

    def conditions(self) -> str:
        """Say where and when this was measured."""
        load = f"{min(self.load):.1f} to {max(self.load):.1f}" if self.load else "unknown"
        day = time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime())
        own = [f"{day}, {os.cpu_count()} CPUs, load {load}, medians of {self.repetitions}"] if self.load else []
        return "; ".join([*own, *self.earlier])

    def table(self) -> str:
        """All figures as tables of Markdown, one for each section."""
        return "\n".join(_tables(self.figures))

    def as_json(self) -> str:
        """All figures with their single values, for a comparison of two runs."""
        return json.dumps(
            {
                "conditions": self.conditions(),
                "kernel": platform.release(),
                "figures": [
                    {
                        "section": each.section,
                        "name": each.name,
                        "unit": each.unit,
                        HERE: [round(value, 5) for value in each.here],
                        each.other: [round(value, 5) for value in each.there],
                        "ratio": None if each.ratio is None else round(each.ratio, 3),
                    }
                    for each in self.figures
                ],
                "memory": {name: round(value, 2) for name, value in self.memory.items()},
                "spans": {name: [span.as_list() for span in spans] for name, spans in self.spans.items()},
            },
            indent=1,
        )


def _figure(told: Mapping[str, Any]) -> Figure:
    """Return a figure of `as_json`."""
    other = next(name for name in told if name not in ("section", "name", "unit", "ratio", HERE))
    return Figure(told["section"], told["name"], told["unit"], told[HERE], told[other], other)


def _tables(figures: Iterable[Figure]) -> Iterator[str]:
    section = ""
    for each in figures:
        if each.section != section:
            section = each.section
            yield f"\n| {section} | {HERE} | {each.other} | ratio |\n|---|---|---|---|"
        yield each.row()
    yield ""


def _told(values: Sequence[float], unit: str) -> str:
    if not values:
        return ""
    value = statistics.median(values)
    digits = 0 if value >= 100 else 1 if value >= 10 else 2 if value >= 1 else 3
    return f"{value:.{digits}f} {unit}"
