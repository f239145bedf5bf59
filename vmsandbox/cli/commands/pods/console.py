"""vmsandbox console: what the kernel of a pod's machine, and its agent, have printed."""

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import click

from vmsandbox.cli import terminal
from vmsandbox.cli.commands.daemon import ask, find_pod
from vmsandbox.cli.commands.names import completing
from vmsandbox.cli.control import Filter
from vmsandbox.cli.options import Global
from vmsandbox.errors import FailedPrecondition, NotFound, Unimplemented
from vmsandbox.model import SandboxState

if TYPE_CHECKING:
    from vmsandbox.cri.client import CriClient

INTERVAL = 0.5
"""Seconds between two looks at a console that is followed."""


@click.command()
@click.argument("pod", shell_complete=completing("pod"))
@click.option("-f", "--follow", is_flag=True, help="Go on until Ctrl-C, or until the pod ends.")
@click.pass_obj
def console(options: Global, pod: str, follow: bool) -> None:
    """Print the console of a pod's machine.

    It has what the guest's kernel and its agent have printed: the last 64 KiB since the daemon has watched the machine.
    Control characters are shown and not obeyed. Output of containers is not there: see logs.

    Example: vmsandbox console -f web
    """

    async def work(client: "CriClient") -> None:
        sandbox = (await find_pod(client, pod)).id
        lines = Filter(colours=terminal.OUT.draws, returns=False)
        kept, silent = b"", True
        async for text in _texts(client, sandbox, follow):
            if silent and not text:
                terminal.note("the guest has printed nothing since the daemon watches it")
            silent = False
            *whole, kept = (kept + text.encode()).split(b"\n")
            for line in whole:
                terminal.OUT.line(lines.feed(line, final=True))
        if kept:
            terminal.OUT.line(lines.feed(kept, final=True))

    ask(options, work)


async def _texts(client: "CriClient", sandbox: str, follow: bool) -> AsyncIterator[str]:
    """Give what is there, and then, if the console is followed, what comes."""
    try:
        text, position = await client.read_console(sandbox, 0)
    except Unimplemented as error:
        error.hint = "the daemon is older than this command: upgrade and restart it"
        raise
    yield text
    with contextlib.suppress(NotFound, FailedPrecondition):  # It was stopped or removed meanwhile.
        while follow:
            await asyncio.sleep(INTERVAL)
            text, position = await client.read_console(sandbox, position)
            yield text
            if not text and (await client.pod_sandbox_status(sandbox)).state is not SandboxState.READY:
                return
