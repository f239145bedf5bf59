"""The output of commands: results on stdout, everything else on stderr; plain lines where stderr is not a terminal."""

import contextlib
import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, Progress, SpinnerColumn, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

OUT = Console(highlight=False, soft_wrap=True)
ERR = Console(stderr=True, highlight=False, soft_wrap=True)

_QUIET = 2.0
"""Seconds after which something that goes on is worth a line where nothing can be drawn."""

Update = Callable[[str, int, int], None]
"""A report of progress: the current step, the amount done, the total; 0 of 0 if they are unknown."""


def error(text: str) -> None:
    """Say what went wrong; the first line is what a script's log would keep."""
    ERR.print(f"[bold red]error:[/] {escape(text)}")


def warning(text: str) -> None:
    """Say what a person should know although it went well."""
    ERR.print(f"[yellow]warning:[/] {escape(text)}")


def note(text: str) -> None:
    """Say what is going on."""
    ERR.print(escape(text))


def result(text: str) -> None:
    """Print a line of the command's result."""
    OUT.print(text, markup=False)


def result_json(value: Any) -> None:
    """Print the command's result for a program."""
    OUT.print(json.dumps(value, indent=2, default=str), markup=False)


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under headings, as kubectl does: no lines, nothing cut off."""
    if OUT.is_terminal:
        drawn = Table(*columns, box=None, pad_edge=False, header_style="bold", padding=(0, 3, 0, 0))
        for row in rows:
            drawn.add_row(*map(escape, row))
        OUT.print(drawn)
        return
    widths = [max(map(len, column)) for column in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        result("   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


@contextlib.contextmanager
def step(text: str) -> Iterator[Update]:
    """Show that something is being done while the body runs: a bar or a counter, or a line when it took long."""
    begin = time.monotonic()
    with _drawn(text) if ERR.is_terminal else _printed(text) as update:
        yield update
    taken = time.monotonic() - begin
    if taken >= _QUIET:
        note(f"{text}: done, {taken:.0f} s")


@contextlib.contextmanager
def _drawn(text: str) -> Iterator[Update]:
    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    with Progress(*columns, console=ERR, transient=True) as progress:
        task = progress.add_task(escape(text), total=None)
        yield lambda what, done, total: _show(progress, task, f"{text}: {what}" if what else text, done, total)


def _show(progress: Progress, task: TaskID, text: str, done: int, total: int) -> None:
    progress.update(task, description=escape(text), completed=done, total=total or None)


@contextlib.contextmanager
def _printed(text: str) -> Iterator[Update]:
    """A line at the beginning, and one for each new thing that is done after a while."""
    said = [text]
    quiet_until = time.monotonic() + _QUIET

    def update(what: str, done: int, total: int) -> None:
        if what not in said and time.monotonic() > quiet_until:
            said.append(what)
            note(f"{text}: {what}")

    note(text)
    yield update
