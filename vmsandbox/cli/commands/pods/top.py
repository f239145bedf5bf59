"""vmsandbox top: the processes of containers, as the ps of their images tells them."""

from collections.abc import Awaitable, Callable, Mapping
from typing import TYPE_CHECKING, Any

import click

from vmsandbox.cli import terminal
from vmsandbox.cli.commands.daemon import ask
from vmsandbox.cli.commands.each import Outcome, for_each
from vmsandbox.cli.commands.formats import form_option, show_document
from vmsandbox.cli.commands.live import live_table
from vmsandbox.cli.commands.names import completing
from vmsandbox.cli.commands.pods.log_targets import LogTarget, targets
from vmsandbox.cli.control import visible
from vmsandbox.cli.options import Global
from vmsandbox.errors import FailedPrecondition, VmsandboxError

if TYPE_CHECKING:
    from vmsandbox.cri.client import CriClient

_COLUMNS = ("user", "pid", "ppid", "tty", "rss", "stat", "args")
_PS = ("ps", "-e", "-o", ",".join(_COLUMNS))
"""Understood by procps and by busybox alike."""
_DEADLINE = 30.0
INTERVAL = 2.0
"""Seconds between two lists: each is a process of the container's."""
_MISSING = (126, 127)


_HEADINGS = ("CONTAINER", *(column.upper() for column in _COLUMNS[:-1]), "COMMAND")
_ORDERS = {"p": "pid", "m": "memory", "u": "user"}
_SORTED_BY: Mapping[str, Callable[[list[str]], tuple[float, str]]] = {
    "p": lambda row: (_kibibytes(row[1 + _COLUMNS.index("pid")]), ""),
    "m": lambda row: (-_kibibytes(row[1 + _COLUMNS.index("rss")]), ""),
    "u": lambda row: (0, row[1 + _COLUMNS.index("user")]),
}

_Found = Outcome[tuple[LogTarget, list[list[str]]]]


@click.command()
@click.argument("name", shell_complete=completing("pod", "container"))
@click.option("--no-stream", is_flag=True, help="Print one list, and end.")
@form_option(("text", "json", "yaml"))
@click.pass_obj
def top(options: Global, name: str, no_stream: bool, output: str) -> None:
    """List the processes of a container.

    A pod means all its containers. On a terminal until q or Ctrl-C, else once; p, m and u sort by pid, memory and user.
    `ps` of the container's image lists them, and itself; an image without it has no list.

    Example: vmsandbox top --no-stream web
    """

    async def work(client: "CriClient") -> _Found | None:
        chosen = {target.container.id: target for target in await targets(client, name)}

        async def look(container_id: str) -> tuple[LogTarget, list[list[str]]]:
            return chosen[container_id], await _processes(client, chosen[container_id])

        first = await for_each(chosen, look)
        if no_stream or output != "text" or not terminal.OUT.draws or not first.results:
            return first
        await _live(first, lambda: for_each(chosen, look))
        return None

    if (outcome := ask(options, work)) is None:
        return
    if output != "text":
        show_document([_entry(target, row) for target, rows in outcome.results for row in rows], output)
    else:
        terminal.table(_HEADINGS, _rows(outcome))
    outcome.end()


async def _live(found: _Found, again: Callable[[], Awaitable[_Found]]) -> None:
    async with live_table(_HEADINGS, _ORDERS) as table:
        while not table.ended and found.results:
            rows = _rows(found)
            table.draw(lambda order, rows=rows: sorted(rows, key=_SORTED_BY[order]))  # type: ignore[misc]
            await table.pause(INTERVAL)
            found = await again()


def _rows(found: _Found) -> list[list[str]]:
    return [[target.name, *row] for target, rows in found.results for row in rows]


def _kibibytes(text: str) -> float:
    """Read a number as a `ps` prints it: busybox's abbreviates a size, as in 4m."""
    factor = {"m": 1 << 10, "g": 1 << 20}.get(text[-1:].lower(), 1)
    digits = text.rstrip("mMgG")
    return float(digits) * factor if digits.replace(".", "", 1).isdecimal() else 0


async def _processes(client: "CriClient", target: LogTarget) -> list[list[str]]:
    """Return a row for each process, without ps itself."""
    try:
        result = await client.exec_sync(target.container.id, _PS, _DEADLINE)
    except VmsandboxError as error:
        raise error.at(f"container {target.name}") from None
    if result.exit_code in _MISSING:
        raise FailedPrecondition(
            f"the image of container {target.name} has no ps", hint="`vmsandbox stats` counts its processes"
        )
    if result.exit_code:
        said = visible(result.stderr.decode(errors="replace"))
        raise FailedPrecondition(f"ps has failed in container {target.name}", evidence={"ps": said})
    lines = visible(result.stdout.decode(errors="replace")).splitlines()[1:]
    rows = [line.split(None, len(_COLUMNS) - 1) for line in lines]
    return [row for row in rows if len(row) == len(_COLUMNS) and row[-1] != " ".join(_PS)]


def _entry(target: LogTarget, row: list[str]) -> dict[str, Any]:
    values = dict(zip(_COLUMNS, row, strict=True))
    command = values.pop("args")
    numbers = {key: int(values[key]) for key in ("pid", "ppid") if values[key].isdecimal()}
    return {"container": target.name, "containerId": target.container.id, **values, **numbers, "command": command}
