"""vmsandbox inspect: all that the daemon tells of pods, containers and images."""

from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, Any

import click

from vmsandbox.cli.commands.daemon import ask, find_container, find_pod
from vmsandbox.cli.commands.each import Outcome, for_each
from vmsandbox.cli.commands.entries import Entry, image_entry
from vmsandbox.cli.commands.formats import form_option, show_document
from vmsandbox.cli.commands.names import completing
from vmsandbox.cli.options import Global
from vmsandbox.errors import NotFound

if TYPE_CHECKING:
    from vmsandbox.cri.client import CriClient

_Look = Callable[["CriClient", str], Awaitable[Entry]]


@click.command()
@click.argument(
    "names", nargs=-1, required=True, metavar="NAME...", shell_complete=completing("pod", "container", "image")
)
@click.option("--type", "kind", type=click.Choice(["pod", "container", "image"]), help="Look for this kind alone.")
@form_option(("json", "yaml"), "json")
@click.pass_obj
def inspect(options: Global, names: tuple[str, ...], kind: str | None, output: str) -> None:
    """Print all about pods, containers or images.

    The output is a list. NAME is a name or an id's beginning; one that several kinds have means the pod, then the
    container. Example: vmsandbox inspect web -o yaml
    """
    looks = _LOOKS if kind is None else {kind: _LOOKS[kind]}

    async def work(client: "CriClient") -> Outcome[Entry]:
        return await for_each(names, lambda name: _inspect(client, name, looks))

    outcome = ask(options, work)
    show_document(outcome.results, output)
    outcome.end()


async def _inspect(client: "CriClient", name: str, looks: dict[str, _Look]) -> Entry:
    for kind, look in looks.items():
        try:
            return {"kind": kind, **await look(client, name)}
        except NotFound:
            continue
    kinds = " or ".join(", ".join(looks).rsplit(", ", 1))
    raise NotFound(f"there is no {kinds} {name}", hint="`vmsandbox pods`, `ps --all` and `images` list what there is")


async def _pod(client: "CriClient", name: str) -> Entry:
    return _flat(await client.inspect_pod_sandbox((await find_pod(client, name)).id))


async def _container(client: "CriClient", name: str) -> Entry:
    return _flat(await client.inspect_container((await find_container(client, name)).id))


async def _image(client: "CriClient", name: str) -> Entry:
    found = await client.images.find(name)
    if found is None:
        raise NotFound(f"there is no image {name}")
    return image_entry(found)


def _flat(document: Any) -> Entry:
    """Put what the CRI holds in `info.info` one level up, as crictl does."""
    info = document.get("info", {})
    return {**document, "info": info.get("info", info)}


_LOOKS: dict[str, _Look] = {"pod": _pod, "container": _container, "image": _image}
