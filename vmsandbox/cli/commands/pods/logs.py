"""vmsandbox logs: what containers have printed."""

import functools
import re
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from time import time_ns
from typing import TYPE_CHECKING

import click

from vmsandbox import aio
from vmsandbox.cli.commands.daemon import ask
from vmsandbox.cli.commands.each import Outcome, for_each
from vmsandbox.cli.commands.names import completing
from vmsandbox.cli.commands.pods.log_output import LogOutput
from vmsandbox.cli.commands.pods.log_targets import LogTarget, previous, targets
from vmsandbox.cli.options import Global
from vmsandbox.errors import FailedPrecondition
from vmsandbox.moments import rfc3339
from vmsandbox.sandbox.streams import LogEntry, follow_log

if TYPE_CHECKING:
    from vmsandbox.cri.client import CriClient

_UNITS = {"d": 86400, "h": 3600, "m": 60, "s": 1}
_DURATION = re.compile(r"(?:\d+(?:\.\d+)?[dhms])+")


def moment(text: str) -> str:
    """Read a time or a duration until now: 2026-11-28T16:00:00Z, 10m, 1h30m. Raises click.BadParameter.

    Returns:
        The time in the form of the log: RFC 3339, in UTC, with nanoseconds.
    """
    if _DURATION.fullmatch(text):
        seconds = sum(float(part[:-1]) * _UNITS[part[-1]] for part in re.findall(r"[\d.]+[dhms]", text))
        return rfc3339(max(0, time_ns() - round(seconds * 1e9)))
    try:
        read = datetime.fromisoformat(text)
        since_epoch = (read if read.tzinfo else read.astimezone()) - datetime(1970, 1, 1, tzinfo=UTC)
        return rfc3339(max(0, since_epoch // timedelta(microseconds=1) * 1000))
    except (ValueError, OverflowError):
        raise click.BadParameter(f"{text!r} is neither a time (2026-11-28T16:00:00Z) nor a duration (10m)") from None


@dataclass(frozen=True, slots=True)
class Choice:
    """The part of a log that is shown."""

    since: str = ""
    """RFC 3339 in UTC; empty: from the beginning."""
    tail: int | None = None
    """Lines at the end of the log at most."""

    def begins(self, entry: LogEntry) -> bool:
        """Whether an entry is not older than `since`."""
        return not self.since or _in_utc(entry.timestamp) >= self.since


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=completing("pod", "container"))
@click.option("-f", "--follow", "following", is_flag=True, help="Follow the log until the container has ended.")
@click.option("-n", "--tail", type=click.IntRange(min=0), help="Show only the last N lines.")
@click.option("--since", type=moment, metavar="TIME", help="Show only what is newer: 10m, or RFC 3339.")
@click.option("-t", "--timestamps", is_flag=True, help="Begin each line with its time.")
@click.option("-p", "--previous", "before", is_flag=True, help="The attempt before the last restart.")
@click.pass_obj
def logs(
    options: Global,
    names: tuple[str, ...],
    *,
    following: bool,
    tail: int | None,
    since: str | None,
    timestamps: bool,
    before: bool,
) -> None:
    """Print what container NAME has printed.

    Its standard output goes to standard output, its standard error to standard error. A pod means all its containers;
    the lines of several containers begin with their names.

    Example: vmsandbox logs --since 10m -f web
    """

    async def work(client: "CriClient") -> Outcome[None]:
        found = await for_each(names, lambda name: targets(client, name))
        chosen = {target.container.id: target for group in found.results for target in group}
        failed = found.failed
        if before:
            older = await for_each(chosen, lambda container_id: previous(client, chosen[container_id]))
            chosen = {target.container.id: target for target in older.results}
            failed = failed or older.failed
        with LogOutput([target.name for target in chosen.values()], timestamps=timestamps) as output:
            choice = Choice(since or "", tail)
            show = functools.partial(_show, client, choice=choice, output=output, following=following)
            shown = await for_each(chosen, lambda container_id: show(chosen[container_id]), at_once=following)
        return Outcome([], failed=failed or shown.failed)

    ask(options, work).end()


async def _show(client: "CriClient", target: LogTarget, *, choice: Choice, output: LogOutput, following: bool) -> None:
    path = target.path or Path((await client.container_status(target.container.id)).log_path)
    if path == Path():
        raise FailedPrecondition(f"container {target.name} has no log: it was created without a log path")
    skipped = 0 if choice.tail is None else max(0, await _count(path, choice) - choice.tail)
    async with (
        _ending(client, target, following) as ended,
        aclosing(follow_log(path, ended=ended)) as entries,
    ):
        async for entry in entries:
            if not choice.begins(entry):
                continue
            if skipped:
                skipped -= entry.complete
            else:
                output.write(target.name, entry)


async def _count(path: Path, choice: Choice) -> int:
    """How many lines the log has now that are not too old; one without its end counts."""
    count, complete = 0, True
    async with aclosing(follow_log(path, ended=lambda: True)) as entries:
        async for entry in entries:
            if choice.begins(entry):
                complete = entry.complete
                count += complete
    return count + (not complete)


def _ending(client: "CriClient", target: LogTarget, following: bool) -> AbstractAsyncContextManager[Callable[[], bool]]:
    """Whether nothing comes to the log any more: at once where nobody follows, else when the container has ended."""
    return _until_end(client, target) if following and target.path is None else _at_once()


@asynccontextmanager
async def _at_once() -> AsyncIterator[Callable[[], bool]]:
    yield lambda: True


@asynccontextmanager
async def _until_end(client: "CriClient", target: LogTarget) -> AsyncIterator[Callable[[], bool]]:
    async with aio.background(client.wait_container(target.container.id)) as waiting:
        yield waiting.done


def _in_utc(timestamp: str) -> str:
    """Return a log's timestamp in the form of `moment`; other runtimes write local time."""
    if timestamp.endswith("Z"):
        return timestamp
    try:
        return moment(timestamp)
    except click.BadParameter:
        return timestamp
