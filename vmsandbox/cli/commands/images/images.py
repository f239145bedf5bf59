"""vmsandbox pull, rmi, and image pull, remove, load, inspect: the images of containers."""

import os
import sys
from collections.abc import Awaitable, Callable
from dataclasses import asdict
from pathlib import Path
from typing import TypeVar

import click

from vmsandbox.cli import execution, terminal
from vmsandbox.cli.commands.daemon import ask_if_served
from vmsandbox.cli.commands.each import Outcome, for_each
from vmsandbox.cli.commands.entries import Entry, image_entry
from vmsandbox.cli.commands.formats import form_option, show_document, show_lines
from vmsandbox.cli.commands.names import completing
from vmsandbox.cli.options import Global
from vmsandbox.cri.client import CriClient
from vmsandbox.errors import FailedPrecondition, InvalidArgument, NotFound
from vmsandbox.images import ImageStore, PullProgress, Report
from vmsandbox.model import Image, RegistryAuth
from vmsandbox.node.disk_space import used_images
from vmsandbox.node.images import open_images

T = TypeVar("T")

_FORMS = ("text", "json", "yaml")
_IN_USE = "`vmsandbox rm` it first, or --force: a container that runs keeps the files of its image"


@click.command()
@click.argument("name", shell_complete=completing("image"))
@click.option("--username", default="", help="User name for the registry; the command asks for the password.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@form_option(_FORMS)
@click.pass_obj
def pull(options: Global, name: str, username: str, password_stdin: bool, output: str) -> None:
    """Pull image NAME from its registry: NAME[:TAG] or NAME@DIGEST.

    Mirrors and insecure registries are those of containers-registries.conf(5).

    Example: vmsandbox pull docker.io/library/busybox:1.36
    """
    auth = _ask_password(username, password_stdin)

    async def through_daemon(client: CriClient | None) -> Image:
        with terminal.step(f"Pulling {name}"):
            return await _served(client).images.pull(name, auth)

    async def work(store: ImageStore) -> Image:
        with terminal.step(f"Pulling {name}") as update:
            return await store.pull(name, auth, _report(update))

    pulled = _with_store(options, work) if _owns_store() else ask_if_served(options, through_daemon)
    _print_all((pulled,), output)


@click.command()
@click.argument("archive", type=click.Path(exists=True, path_type=Path))
@click.option("--name", default="", help="Name of the image; by default the name in the archive.")
@form_option(_FORMS)
@click.pass_obj
def load(options: Global, archive: Path, name: str, output: str) -> None:
    """Take in an OCI layout, an OCI archive or a docker archive.

    Example: vmsandbox image load hello.tar
    """

    async def work(store: ImageStore) -> tuple[Image, ...]:
        with terminal.step(f"Loading {archive}") as update:
            return await store.load(archive, name, _report(update))

    _print_all(_with_store(options, work), output)


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=completing("image"))
@click.option("-f", "--force", is_flag=True, help="Also images that containers use; and --ignore.")
@click.option("-i", "--ignore", is_flag=True, help="A name that no image has is not an error.")
@click.pass_obj
def remove(options: Global, names: tuple[str, ...], force: bool, ignore: bool) -> None:
    """Remove images by name, digest or id.

    An image goes with all its names. One that a container uses, also one that has ended, is refused without --force;
    with it the container goes on, and keeps the files of its image until it is removed.

    Example: vmsandbox rmi docker.io/library/busybox:1.36
    """
    config = options.config("warning")

    async def work(client: CriClient | None) -> Outcome[str]:
        store = await open_images(config) if client is None else None
        users: dict[str, str] = {}
        if not force:
            users = await _users(client) if store is None else dict.fromkeys(used_images(config, store), "a pod")

        async def remove_one(name: str) -> str:
            found = store.find(name) if store is not None else await _served(client).images.find(name)
            if found is None:
                raise NotFound(f"there is no image {name}", hint="`vmsandbox images` lists those that are here")
            if found.id in users:
                raise FailedPrecondition(f"image {name} is used by {users[found.id]}", hint=_IN_USE)
            await (_served(client).images.remove(name) if store is None else store.remove(name))
            return name

        return await for_each(names, remove_one, ignore_missing=ignore or force)

    outcome = ask_if_served(options, work)
    show_lines(outcome.results)
    outcome.end()


async def _users(client: CriClient | None) -> dict[str, str]:
    """Name the containers of each image, by its id."""
    users: dict[str, list[str]] = {}
    for container in await _served(client).list_containers():
        for image in {container.image_id, container.image_ref}:
            users.setdefault(image, []).append(container.config.metadata.name)
    return {image: f"container {', '.join(names)}" for image, names in users.items()}


@click.command()
@click.argument("names", nargs=-1, required=True, metavar="NAME...", shell_complete=completing("image"))
@form_option(("json", "yaml"), "json")
@click.pass_obj
def inspect(options: Global, names: tuple[str, ...], output: str) -> None:
    """Print all about images, with their configuration.

    The output is a list. Example: vmsandbox image inspect docker.io/library/busybox:1.36
    """

    async def work(store: ImageStore) -> Outcome[Entry]:
        async def look(name: str) -> Entry:
            image = store.inspect(name)
            config = {_camel(key): _plain(value) for key, value in asdict(image.config).items()}
            return {"kind": "image", **image_entry(image), "config": config}

        return await for_each(names, look)

    outcome = _with_store(options, work)
    show_document(outcome.results, output)
    outcome.end()


def _camel(key: str) -> str:
    first, *rest = key.split("_")
    return first + "".join(word.capitalize() for word in rest)


def _plain(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def _owns_store() -> bool:
    """Whether this user may open the store itself; others go through the daemon, which tells no progress."""
    return os.geteuid() == 0


def _served(client: CriClient | None) -> CriClient:
    if client is None:
        raise NotFound("no daemon serves", hint="start it, `vmsandbox serve`, or run this command with sudo")
    return client


def _with_store(options: Global, work: Callable[[ImageStore], Awaitable[T]]) -> T:
    config = options.config("warning")

    async def opened() -> T:
        return await work(await open_images(config))

    return execution.run(opened())


def _report(update: terminal.Update) -> Report:
    def report(progress: PullProgress) -> None:
        update(progress.phase.value, progress.done, progress.total)

    return report


def _print_all(images: tuple[Image, ...], output: str) -> None:
    if output == "text":
        show_lines(next(iter(one.repo_tags + one.repo_digests), one.id) for one in images)
    else:
        show_document([image_entry(one) for one in images], output)


def _ask_password(username: str, password_stdin: bool) -> RegistryAuth | None:
    if not username:
        if password_stdin:
            execution.fail(InvalidArgument("--password-stdin needs --username"), 2)
        return None
    if password_stdin:
        return RegistryAuth(username, sys.stdin.readline().rstrip("\n"))
    return RegistryAuth(username, click.prompt("Password", hide_input=True, err=True))
