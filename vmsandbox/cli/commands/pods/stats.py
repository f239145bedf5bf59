"""vmsandbox stats: what containers use, once or again and again."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence

import click

from vmsandbox.cli import terminal
from vmsandbox.cli.commands.daemon import ask
from vmsandbox.cli.commands.entries import Entry, short
from vmsandbox.cli.commands.formats import Column, show
from vmsandbox.cli.commands.live import live_table
from vmsandbox.cli.commands.names import completing
from vmsandbox.cli.commands.pods.log_targets import targets
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

_ORDERS = {"n": "name", "c": "CPU", "m": "memory", "p": "processes"}
_LARGEST_FIRST: Mapping[str, str] = {"c": "cpuPercent", "m": "memory", "p": "processes"}


@click.command()
@click.argument("names", nargs=-1, metavar="[NAME]...", shell_complete=completing("pod", "container"))
@click.option("--no-stream", is_flag=True, help="Print one reading, and end.")
@click.option("-o", "--output", type=click.Choice(["text", "json", "yaml"]), default="text", help="Form of the output.")
@click.pass_obj
def stats(options: Global, names: tuple[str, ...], no_stream: bool, output: str) -> None:
    """Show what containers use: CPU, memory, network, disks.

    On a terminal until q or Ctrl-C, else once; c, m, p and n sort by CPU, memory, processes and name. NAME is a
    container, or a pod for all its containers. 100 % of CPU is one vCPU; the network's figures are those of the whole
    pod.

    Example: vmsandbox stats --no-stream web
    """

    async def work(client: CriClient) -> None:
        watched = {target.container.id for name in names for target in await targets(client, name)}

        async def entries(before: Sequence[Reading], after: Sequence[Reading]) -> list[Entry]:
            return [entry for entry in await _entries(client, before, after) if not names or entry["id"] in watched]

        if _lives(no_stream, output):
            await _live(client, entries)
            return
        before = await client.readings()
        await asyncio.sleep(INTERVAL)
        shown = await entries(before, await client.readings())
        show(shown, _COLUMNS, lambda entry: str(entry["id"]), output, quiet=False)

    ask(options, work)


async def _live(
    client: CriClient, entries: Callable[[Sequence[Reading], Sequence[Reading]], Awaitable[list[Entry]]]
) -> None:
    before = await client.readings()
    async with live_table([column.heading for column in _COLUMNS], _ORDERS) as table:
        while not table.ended:
            await table.pause(INTERVAL)
            after = await client.readings()
            shown = await entries(before, after)
            table.draw(lambda order, shown=shown: _rows(shown, order))  # type: ignore[misc]
            before = after


def _rows(entries: Sequence[Entry], order: str) -> list[list[str]]:
    if key := _LARGEST_FIRST.get(order):
        entries = sorted(entries, key=lambda entry: -(entry[key] or 0))
    return [[column.cell(entry) for column in _COLUMNS] for entry in entries]


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
