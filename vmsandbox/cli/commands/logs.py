"""vmsandbox logs: what a container has printed."""

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import aclosing, asynccontextmanager
from pathlib import Path

import click

from vmsandbox import aio
from vmsandbox.cli.commands.daemon import ask, find_container
from vmsandbox.cli.options import Global
from vmsandbox.cri.client import CriClient
from vmsandbox.errors import FailedPrecondition
from vmsandbox.model import ContainerStatus
from vmsandbox.protocol.messages import Stream
from vmsandbox.sandbox.streams import LogEntry, follow_log


@click.command()
@click.argument("name")
@click.option("-f", "--follow", "following", is_flag=True, help="Follow the log until the container has ended.")
@click.option("-n", "--tail", type=click.IntRange(min=0), help="Show only the last N lines.")
@click.option("-t", "--timestamps", is_flag=True, help="Begin each line with its time.")
@click.pass_obj
def logs(options: Global, name: str, following: bool, tail: int | None, timestamps: bool) -> None:
    """Print what container NAME has printed.

    Its standard output goes to standard output, its standard error to standard error.
    """

    async def work(client: CriClient) -> None:
        container = await client.container_status((await find_container(client, name)).id)
        if not container.log_path:
            raise FailedPrecondition(f"container {name} has no log: it was created without a log path")
        path = Path(container.log_path)
        skipped = 0 if tail is None else max(0, await _count(path) - tail)
        async with _ending(client, container, following) as ended, aclosing(follow_log(path, ended=ended)) as entries:
            async for entry in entries:
                if skipped:
                    skipped -= 1
                else:
                    _print(entry, timestamps)

    ask(options, work)


async def _count(path: Path) -> int:
    """How many entries the log has now."""
    count = 0
    async with aclosing(follow_log(path, ended=lambda: True)) as entries:
        async for _ in entries:
            count += 1
    return count


@asynccontextmanager
async def _ending(client: CriClient, container: ContainerStatus, following: bool) -> AsyncIterator[Callable[[], bool]]:
    """Whether nothing comes to the log any more: at once where nobody follows, else when the container has ended."""
    if not following:
        yield lambda: True
        return
    async with aio.background(client.wait_container(container.id)) as waiting:
        yield waiting.done


def _print(entry: LogEntry, timestamps: bool) -> None:
    stream = sys.stderr.buffer if entry.stream is Stream.STDERR else sys.stdout.buffer
    stream.write((f"{entry.timestamp} ".encode() if timestamps else b"") + entry.content)
    stream.write(b"\n" if entry.complete or timestamps else b"")
    stream.flush()
