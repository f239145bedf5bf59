"""vmsandbox exec and attach: a person and a container."""

import sys
from typing import TYPE_CHECKING

import click

from vmsandbox.cli import execution
from vmsandbox.cli.commands.daemon import ask, find_container
from vmsandbox.cli.commands.detach_keys import DEFAULT, DetachKeys, parse_keys
from vmsandbox.cli.commands.names import completing
from vmsandbox.cli.commands.tty import converse, talk
from vmsandbox.cli.options import Global
from vmsandbox.model import AttachRequest, ExecRequest
from vmsandbox.streaming.client import Wanted, client_tls
from vmsandbox.streaming.client import command as connect

if TYPE_CHECKING:
    from vmsandbox.cri.client import CriClient


@click.command("exec", context_settings={"allow_interspersed_args": False})
@click.option("-i", "--stdin", is_flag=True, help="Pass standard input to the command.")
@click.option("-t", "--tty", is_flag=True, help="Give the command a terminal.")
@click.argument("name", shell_complete=completing("pod", "container"))
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED)
@click.pass_obj
def exec_(options: Global, stdin: bool, tty: bool, name: str, command: tuple[str, ...]) -> None:
    """Run COMMAND in container NAME: exec -it web sh.

    Options come before NAME; all words after it are the command's.
    Exit status: the command's; 127 when the container has no such command, 126 when it is not executable, 125 when it
    could not be run for another reason.
    """

    async def work(client: "CriClient") -> int:
        container = await find_container(client, name)
        wanted = Wanted(stdin=stdin, stdout=True, stderr=not tty, tty=tty)
        request = ExecRequest(container.id, command, tty=tty, stdin=stdin, stdout=True, stderr=not tty)
        tls = client_tls(options.config("warning").streaming)
        async with connect(await client.exec_url(request), wanted, tls) as process:
            return await converse(process, stdin=stdin, terminal=tty)

    sys.exit(ask(options, work, failed=execution.RUN_FAILED))


@click.command()
@click.option("-i", "--stdin", is_flag=True, help="Pass standard input to the container (created with stdin: true).")
@click.option("-t", "--tty", is_flag=True, help="The container has a terminal (created with tty: true).")
@click.option(
    "--detach-keys", default=DEFAULT, show_default=True, metavar="KEYS", help="With -it: what to type to let go of it."
)
@click.argument("name", shell_complete=completing("pod", "container"))
@click.pass_obj
def attach(options: Global, stdin: bool, tty: bool, detach_keys: str, name: str) -> None:
    """Follow what container NAME prints, until it ends.

    With -i type into it.

    Exit status: the container's; 0 after the detach keys. They, and Ctrl-C without a terminal, let go of the container,
    which runs on.
    """

    async def work(client: "CriClient") -> int:
        keys = DetachKeys(parse_keys(detach_keys) if stdin and tty else b"")
        container = await find_container(client, name)
        wanted = Wanted(stdin=stdin, stdout=True, stderr=not tty, tty=tty)
        request = AttachRequest(container.id, tty=tty, stdin=stdin, stdout=True, stderr=not tty)
        tls = client_tls(options.config("warning").streaming)
        async with connect(await client.attach_url(request), wanted, tls) as process:
            await talk(process, stdin=stdin, terminal=tty, keys=keys)
        if keys.found:
            return 0
        return (await client.wait_container(container.id)).exit_code

    sys.exit(ask(options, work, failed=execution.RUN_FAILED))
