"""A table on a terminal that is drawn anew in its place: keys sort it and end it, and it follows the terminal's size.

What guests have chosen in it is shown and not obeyed (`cli.control`). The terminal is given back as it was.
"""

import asyncio
import contextlib
import os
import signal
import sys
import termios
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

from vmsandbox.cli.control import visible

if TYPE_CHECKING:
    from rich.live import Live

Rows = Callable[[str], Sequence[Sequence[str]]]
"""The rows of the table, in the order that a key stands for."""

_LOCAL_FLAGS = 3
_CONTROL_CHARACTERS = 6


class LiveTable:
    """The table, and what was typed."""

    def __init__(self, live: "Live", headings: Sequence[str], orders: Mapping[str, str]) -> None:
        """Draw on `live`; see `live_table`."""
        self._live = live
        self._headings = headings
        self._orders = orders
        self._order = next(iter(orders))
        self._rows: Rows = lambda _: ()
        self._ended = asyncio.Event()

    @property
    def ended(self) -> bool:
        """Whether q was typed."""
        return self._ended.is_set()

    def draw(self, rows: Rows) -> None:
        """Show other rows."""
        self._rows = rows
        self.redraw()

    def redraw(self) -> None:
        """Show the rows once more: in another order, or on a terminal of another size."""
        from rich.table import Table
        from rich.text import Text

        keys = ", ".join(f"{key} {name}" for key, name in self._orders.items())
        table = Table(
            *self._headings,
            box=None,
            pad_edge=False,
            header_style="bold",
            caption=f"by {self._orders[self._order]}; {keys}, q quit",
            caption_justify="left",
        )
        most = max(1, self._live.console.size.height - 2)  # below the headings, and above the keys
        for row in self._rows(self._order)[:most]:
            table.add_row(*(Text(visible(cell).replace("\n", " "), no_wrap=True) for cell in row))
        self._live.update(table, refresh=True)

    def press(self, key: str) -> None:
        """Do what a key stands for; others do nothing."""
        if key in ("q", "Q"):
            self._ended.set()
        elif key.lower() in self._orders:
            self._order = key.lower()
            self.redraw()

    async def pause(self, seconds: float) -> None:
        """Wait, until q is typed."""
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._ended.wait(), seconds)


@contextlib.asynccontextmanager
async def live_table(headings: Sequence[str], orders: Mapping[str, str]) -> AsyncIterator[LiveTable]:
    """Draw a table on standard output, which is a terminal, while the context lasts; the keys are standard input's.

    Args:
        headings: of the columns.
        orders: the name of each order by its key, a small letter; the first one is that of the beginning.
    """
    from rich.console import Console
    from rich.live import Live

    with Live(console=Console(highlight=False), auto_refresh=False, screen=True) as live:
        table = LiveTable(live, headings, orders)
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGWINCH, table.redraw)
        try:
            with _keys(table.press) if sys.stdin.isatty() else contextlib.nullcontext():
                yield table
        finally:
            loop.remove_signal_handler(signal.SIGWINCH)


@contextlib.contextmanager
def _keys(press: Callable[[str], None]) -> Iterator[None]:
    """Tell each key at once, without its echo. Ctrl-C stays what it is; Ctrl-Z does nothing."""
    descriptor = sys.stdin.fileno()
    before = termios.tcgetattr(descriptor)
    ours = termios.tcgetattr(descriptor)
    ours[_LOCAL_FLAGS] &= ~(termios.ICANON | termios.ECHO)
    ours[_CONTROL_CHARACTERS][termios.VSUSP] = b"\0"
    loop = asyncio.get_running_loop()

    def read() -> None:
        typed = os.read(descriptor, 64).decode(errors="replace")
        if not typed:  # the terminal has gone
            loop.remove_reader(descriptor)
        for key in typed:
            press(key)

    termios.tcsetattr(descriptor, termios.TCSADRAIN, ours)
    loop.add_reader(descriptor, read)
    try:
        yield
    finally:
        loop.remove_reader(descriptor)
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
