"""vmsandbox stats: what containers use, once or again and again."""

import asyncio
import contextlib
from collections.abc import Callable, Iterator, Sequence

import click

from vmsandbox.cli import terminal
from vmsandbox.cli.commands.daemon import ask
from vmsandbox.cli.commands.entries import Entry, short
from vmsandbox.cli.commands.formats import Column, show
from vmsandbox.cli.commands.names import completing
from vmsandbox.cli.commands.pods.log_targets import targets
from vmsandbox.cli.control import visible
from vmsandbox.cli.options import Global, size
from vmsandbox.cri.client import CriClient, Reading
from vmsandbox.moments import rfc3339

INTERVAL = 1.0
"""Seconds between two readings, whose difference is the use of CPUs."""
_UNKNOWN = "-"


def _bytes(*keys: str) -> Callable[[Entry], str]:
    def cell(entry: Entry) -> str:
        return " / ".join(_UNKNOWN if entry[key] is None else size(entry[key]) for key in keys)

    return cell


def _percent(key: str) -> Callable[[Entry], str]:
    return lambda entry: _UNKNOWN if entry[key] is None else f"{entry[key]:.1f}%"


_COLUMNS = (
    Column("CONTAINER ID", lambda entry: short(entry["id"])),
    Column("NAME", lambda entry: f"{entry['pod']}/{entry['name']}"),
    Column("CPU %", _percent("cpuPercent")),
    Column("MEM / LIMIT", _bytes("memory", "memoryLimit")),
    Column("MEM %", _percent("memoryPercent")),
    Column("NET IN / OUT", _bytes("networkReceived", "networkSent")),
    Column("BLOCK IN / OUT", _bytes("blockRead", "blockWritten")),
    Column("PIDS", lambda entry: _UNKNOWN if entry["processes"] is None else str(entry["processes"])),
)


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completing("pod", "container"))
@click.option("--no-stream", is_flag=True, help="Print one reading, and end.")
@click.option("-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", help="Form of the output.")
@click.pass_obj
def stats(options: Global, names: tuple[str, ...], no_stream: bool, output: str) -> None:
    """Show what containers use: CPU, memory, network, disks.

    On a terminal until Ctrl-C, else once. NAME is a container, or a pod for all its containers. 100 % of CPU is one
    vCPU; the network's figures are those of the whole pod.

    Example: vmsandbox stats --no-stream web
    """

    async def work(client: CriClient) -> None:
        watched = {target.container.id for name in names for target in await targets(client, name)}
        before = await client.readings()
        with _drawing() if _lives(no_stream, output) else contextlib.nullcontext(None) as draw:
            while True:
                await asyncio.sleep(INTERVAL)
                after = await client.readings()
                entries = await _entries(client, before, after)
                shown = [entry for entry in entries if not names or entry["id"] in watched]
                if draw is None:
                    show(shown, _COLUMNS, lambda entry: str(entry["id"]), output, quiet=False)
                    return
                draw(shown)
                before = after

    ask(options, work)


def _lives(no_stream: bool, output: str) -> bool:
    return not no_stream and output == "text" and terminal.OUT.draws


async def _entries(client: CriClient, before: Sequence[Reading], after: Sequence[Reading]) -> list[Entry]:
    """Describe all readings, in the order of pods and names."""
    containers = {one.id: one for one in await client.list_containers()}
    pods = {pod.id: pod for pod in await client.list_pod_sandboxes()}
    earlier = {reading.container_id: reading for reading in before}
    found = []
    for reading in after:
        container = containers.get(reading.container_id)
        pod = pods.get(container.sandbox_id) if container else None
        names = {
            "id": reading.container_id,
            "name": container.config.metadata.name if container else "",
            "pod": pod.config.metadata.name if pod else "",
            "namespace": pod.config.metadata.namespace if pod else "",
        }
        found.append({**names, **_usage(earlier.get(reading.container_id), reading)})
    return sorted(found, key=lambda entry: (entry["namespace"], entry["pod"], entry["name"]))


def _usage(before: Reading | None, after: Reading) -> Entry:
    limit = after.memory_limit
    return {
        "time": rfc3339(after.at),
        "cpuPercent": _cpu_percent(before, after),
        "memory": after.memory,
        "memoryLimit": limit,
        "memoryPercent": 100 * after.memory / limit if limit and after.memory is not None else None,
        "networkReceived": after.received,
        "networkSent": after.sent,
        "blockRead": after.read,
        "blockWritten": after.written,
        "processes": after.processes,
    }


def _cpu_percent(before: Reading | None, after: Reading) -> float | None:
    """Return the CPU time that was used between two readings, 100 for one CPU all the time."""
    if before is None or before.cpu is None or after.cpu is None or after.at <= before.at:
        return None
    return max(0.0, 100 * (after.cpu - before.cpu) / (after.at - before.at))


@contextlib.contextmanager
def _drawing() -> Iterator[Callable[[Sequence[Entry]], None]]:
    """Give the function that draws entries in the place of the ones before."""
    from rich.console import Console
    from rich.live import Live
    from rich.table import Table
    from rich.text import Text

    with Live(console=Console(highlight=False), auto_refresh=False) as live:

        def draw(entries: Sequence[Entry]) -> None:
            table = Table(*(column.heading for column in _COLUMNS), box=None, pad_edge=False, header_style="bold")
            for entry in entries:
                table.add_row(*(Text(visible(column.cell(entry)), no_wrap=True) for column in _COLUMNS))
            live.update(table, refresh=True)

        yield draw
