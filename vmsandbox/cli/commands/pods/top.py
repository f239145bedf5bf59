"""vmsandbox top: the processes of containers, as the ps of their images tells them."""

from typing import Any

import click

from vmsandbox.cli import terminal
from vmsandbox.cli.commands.daemon import ask
from vmsandbox.cli.commands.each import Outcome, for_each
from vmsandbox.cli.commands.formats import form_option, show_document
from vmsandbox.cli.commands.names import completing
from vmsandbox.cli.commands.pods.log_targets import LogTarget, targets
from vmsandbox.cli.control import visible
from vmsandbox.cli.options import Global
from vmsandbox.cri.client import CriClient
from vmsandbox.errors import FailedPrecondition, VmsandboxError

_COLUMNS = ("user", "pid", "ppid", "tty", "rss", "stat", "args")
_PS = ("ps", "-e", "-o", ",".join(_COLUMNS))
"""Understood by procps and by busybox alike."""
_DEADLINE = 30.0
_MISSING = (126, 127)


@click.command()
@click.argument("name", shell_complete=completing("pod", "container"))
@form_option(("text", "json", "yaml"))
@click.pass_obj
def top(options: Global, name: str, output: str) -> None:
    """List the processes of a container.

    A pod means all its containers. `ps` of the container's image lists them, and itself; an image without it has no
    list.

    Example: vmsandbox top web
    """

    async def work(client: CriClient) -> Outcome[tuple[LogTarget, list[list[str]]]]:
        chosen = {target.container.id: target for target in await targets(client, name)}

        async def look(container_id: str) -> tuple[LogTarget, list[list[str]]]:
            return chosen[container_id], await _processes(client, chosen[container_id])

        return await for_each(chosen, look)

    outcome = ask(options, work)
    if output != "text":
        show_document([_entry(target, row) for target, rows in outcome.results for row in rows], output)
    else:
        headings = ("CONTAINER", *(column.upper() for column in _COLUMNS[:-1]), "COMMAND")
        terminal.table(headings, [[target.name, *row] for target, rows in outcome.results for row in rows])
    outcome.end()


async def _processes(client: CriClient, target: LogTarget) -> list[list[str]]:
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
