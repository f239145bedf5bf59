"""The output of commands: results on stdout, everything else on stderr; plain lines where stderr is not a terminal.

No control sequence goes to what is not a terminal, nor where NO_COLOR is set (no-color.org) or TERM is `dumb`. Control
characters in names and messages, which a guest may have chosen, are shown and not obeyed.
"""

import contextlib
import json
import os
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any, TextIO

from vmsandbox.cli.control import visible

_QUIET = 2.0
"""Seconds after which something that goes on is worth a line where nothing can be drawn."""

Update = Callable[[str, int, int], None]
"""A report of progress: the current step, the amount done, the total; 0 of 0 if they are unknown."""

BOLD, RED, GREEN, YELLOW = "1", "1;31", "32", "33"
"""SGR parameters, for `Output.styled`."""


class Output:
    """Standard output or standard error: the stream that `sys` has at the moment."""

    def __init__(self, name: str) -> None:
        """Write to the stream of `sys` that is called so."""
        self._name = name

    @property
    def file(self) -> TextIO:
        """The stream."""
        stream: TextIO = getattr(sys, self._name)
        return stream

    @property
    def is_terminal(self) -> bool:
        """Whether a person sees it as it is written."""
        return self.file.isatty()

    @property
    def draws(self) -> bool:
        """Whether control sequences of ours may go there."""
        return self.is_terminal and not os.environ.get("NO_COLOR") and os.environ.get("TERM") != "dumb"

    def styled(self, text: str, style: str) -> str:
        """The text in a style, where the stream takes one; the text itself is shown as by `shown`."""
        return f"\x1b[{style}m{self.shown(text)}\x1b[0m" if self.draws else self.shown(text)

    def shown(self, text: str) -> str:
        """The text with its control characters shown, where a terminal would obey them."""
        return visible(text) if self.is_terminal else text

    def line(self, text: str) -> None:
        """Write a line as it is, at once."""
        self.file.write(f"{text}\n")
        self.file.flush()


_drawing: list[str] = []
"""The step that is drawn, if there is one."""

OUT = Output("stdout")
ERR = Output("stderr")


def error(text: str) -> None:
    """Say what went wrong; the first line is what a script's log would keep."""
    _say(ERR.styled("error:", RED), text)


def warning(text: str) -> None:
    """Say what a person should know although it went well."""
    _say(ERR.styled("warning:", YELLOW), text)


def note(text: str) -> None:
    """Say what is going on."""
    _say("", text)


def _say(title: str, text: str) -> None:
    with contextlib.suppress(BrokenPipeError):  # whoever has left will not miss it
        ERR.line(f"{title} {ERR.shown(text)}" if title else ERR.shown(text))


def result(text: str) -> None:
    """Print a line of the command's result."""
    OUT.line(OUT.shown(text))


def result_json(value: Any) -> None:
    """Print the command's result for a program."""
    OUT.line(json.dumps(value, indent=2, default=str))


def table(columns: Sequence[str], rows: Sequence[Sequence[str]]) -> None:
    """Print rows under headings, as kubectl does: no lines, nothing cut off."""
    shown = [[OUT.shown(cell).replace("\n", " ") for cell in row] for row in (columns, *rows)]
    widths = [max(map(len, column)) for column in zip(*shown, strict=True)]
    for number, row in enumerate(shown):
        text = "   ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        OUT.line(text if number else OUT.styled(text, BOLD))


@contextlib.contextmanager
def step(text: str) -> Iterator[Update]:
    """Show that something is being done while the body runs: a bar or a counter, or a line when it took long."""
    begin = time.monotonic()
    with _drawn(text) if ERR.draws else _printed(text) as update:
        yield update
    taken = time.monotonic() - begin
    if taken >= _QUIET:
        note(f"{text}: done, {taken:.0f} s")


@contextlib.contextmanager
def _drawn(text: str) -> Iterator[Update]:
    if _drawing:  # rich draws one thing at a time
        note(text)
        yield lambda what, done, total: None
        return
    _drawing.append(text)
    try:
        with _bar(text) as update:
            yield update
    finally:
        _drawing.clear()


@contextlib.contextmanager
def _bar(text: str) -> Iterator[Update]:
    from rich.console import Console
    from rich.markup import escape
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}"), BarColumn(), TimeElapsedColumn())
    console = Console(stderr=True, highlight=False, soft_wrap=True)
    with Progress(*columns, console=console, transient=True) as progress:
        task = progress.add_task(escape(text), total=None)
        yield lambda what, done, total: _show(progress, task, f"{text}: {what}" if what else text, done, total)


def _show(progress: Any, task: int, text: str, done: int, total: int) -> None:
    from rich.markup import escape

    progress.update(task, description=escape(visible(text)), completed=done, total=total or None)


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
