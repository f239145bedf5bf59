"""Completion of names: TAB asks the daemon, for a moment, and offers nothing where it does not answer.

Importing this module imports nothing of the client: help and parsing need the types alone.
"""

import contextlib
from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click
from click.shell_completion import CompletionItem

if TYPE_CHECKING:
    from vmsandbox.cli.commands.lists import Lister
    from vmsandbox.config import Config

DEADLINE = 1.0
"""Seconds in which a runtime has to answer a person who has pressed TAB."""

_Complete = Callable[[click.Context, click.Parameter, str], list[CompletionItem]]
_Names = Callable[["Lister"], Awaitable[Iterable[str]]]


def completing(*kinds: str) -> _Complete:
    """Make the `shell_complete` of an argument that names things of these kinds: pod, container, image."""

    def complete(context: click.Context, parameter: click.Parameter, incomplete: str) -> list[CompletionItem]:
        used = _used(context.params.get(parameter.name or ""))
        found = _ask(context, [_NAMES[kind] for kind in kinds])
        return [CompletionItem(name) for name in found if name.startswith(incomplete) and name not in used]

    return complete


def completing_image_or_file(
    context: click.Context, parameter: click.Parameter, incomplete: str
) -> list[CompletionItem]:
    """Complete the first word of `run`: an image that is here, else a file; further words are files."""
    first = not context.params.get(parameter.name or "")
    images = _ask(context, [_images]) if first else []
    found = [CompletionItem(name) for name in images if name.startswith(incomplete)]
    return found or [CompletionItem(incomplete, type="file")]


def _used(value: Any) -> Sequence[str]:
    """Return the names that the line has already."""
    return value if isinstance(value, tuple) else ()


def _ask(context: click.Context, kinds: Sequence[_Names]) -> list[str]:
    """Return all names, sorted; none where no daemon answers, or this user may not ask it."""
    import logging

    logging.disable()  # A warning would be drawn into the line that is being typed.
    with contextlib.suppress(Exception):
        return _found(context, kinds)
    return []


def _found(context: click.Context, kinds: Sequence[_Names]) -> list[str]:
    from vmsandbox.cli.commands.lists import list_quickly
    from vmsandbox.config import checked, read_file
    from vmsandbox.cri.listing import Unusual

    config = checked(read_file(context.find_root().params.get("config_file")))

    async def collect(client: "Lister") -> list[str]:
        return sorted({name for names in kinds for name in await names(client)})

    try:
        return list_quickly(config, collect, DEADLINE)
    except Unusual:
        return _found_slowly(config, collect)


def _found_slowly(config: "Config", collect: Callable[["Lister"], Awaitable[list[str]]]) -> list[str]:
    """Ask several runtimes, or one that gave no plain answer."""
    import asyncio

    from vmsandbox.cri.client import connected_to_all
    from vmsandbox.node.instance import run_sockets

    async def ask() -> list[str]:
        async with connected_to_all(config.socket, run_sockets(config.run_directory)) as client:
            return await collect(client)

    return asyncio.run(asyncio.wait_for(ask(), DEADLINE))


async def _pods(client: "Lister") -> Iterable[str]:
    return {pod.config.metadata.name for pod in await client.list_pod_sandboxes()}


async def _containers(client: "Lister") -> Iterable[str]:
    pods = {pod.id: pod.config.metadata.name for pod in await client.list_pod_sandboxes()}
    return {f"{pods.get(one.sandbox_id, '')}/{one.config.metadata.name}" for one in await client.list_containers()}


async def _images(client: "Lister") -> Iterable[str]:
    return {name for image in await client.images.list() for name in image.repo_tags or image.repo_digests}


_NAMES: dict[str, _Names] = {"pod": _pods, "container": _containers, "image": _images}
