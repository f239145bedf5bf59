"""vmsandbox image: the guest image, and the images of containers."""

import os
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from vmsandbox.cli import execution, terminal
from vmsandbox.cli.commands.entries import image_entry
from vmsandbox.cli.commands.filters import Filters, filter_option
from vmsandbox.cli.commands.formats import list_options
from vmsandbox.cli.commands.image_list import IMAGE_TESTS, show_images
from vmsandbox.cli.options import Global, output_option
from vmsandbox.config import Config
from vmsandbox.errors import InvalidArgument
from vmsandbox.fs import USUAL
from vmsandbox.guestimage import DEFAULT_DIRECTORY, BuiltImage, build_guest_image
from vmsandbox.images import ImageStore, PullProgress, Report
from vmsandbox.model import Image, RegistryAuth
from vmsandbox.node.images import open_images


@click.command("build-guest")
@click.option("--suite", default="trixie", show_default=True, help="Debian suite of the guest.")
@click.option("--mirror", default="", help="URL of a Debian mirror; without it, the mirrors of this host.")
@click.option(
    "--output",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=DEFAULT_DIRECTORY,
    show_default=True,
    help="Directory of guest images.",
)
@click.option("--refresh", is_flag=True, help="Build again, with the current versions of the mirror.")
def build_guest(suite: str, mirror: str, directory: Path, refresh: bool) -> None:
    """Build the guest image from Debian packages.

    If an input has changed since it was built. Prints its directory. `guest-image/README.md` says what is in it.
    """
    os.umask(USUAL)  # QEMU's user reads the image, which holds nothing that is secret; so does Debian's dpkg

    async def build() -> BuiltImage:
        with terminal.step("The guest image") as update:
            return await build_guest_image(
                suite=suite,
                mirror=mirror,
                output=directory,
                refresh=refresh,
                progress=lambda what: update(what, 0, 0),
            )

    terminal.result(str(execution.run(build()).directory))


@click.command()
@click.argument("name")
@click.option("--username", default="", help="User name for the registry; the command asks for the password.")
@click.option("--password-stdin", is_flag=True, help="Read the password from standard input.")
@output_option
@click.pass_obj
def pull(options: Global, name: str, username: str, password_stdin: bool, output: str) -> None:
    """Pull image NAME from its registry: NAME[:TAG] or NAME@DIGEST.

    Mirrors and insecure registries are those of containers-registries.conf(5).
    """
    auth = _ask_password(username, password_stdin)

    async def work(store: ImageStore) -> Image:
        with terminal.step(f"Pulling {name}") as update:
            return await store.pull(name, auth, _report(update))

    pulled = _with_store(options.config("warning"), work)
    _print_one(pulled, output)


@click.command()
@click.argument("archive", type=click.Path(exists=True, path_type=Path))
@click.option("--name", default="", help="Name of the image; by default the name in the archive.")
@output_option
@click.pass_obj
def load(options: Global, archive: Path, name: str, output: str) -> None:
    """Take in an OCI layout, an OCI archive or a docker archive."""

    async def work(store: ImageStore) -> tuple[Image, ...]:
        with terminal.step(f"Loading {archive}") as update:
            return await store.load(archive, name, _report(update))

    loaded = _with_store(options.config("warning"), work)
    if output == "json":
        terminal.result_json([image_entry(one) for one in loaded])
        return
    for one in loaded:
        _print_one(one, output)


@click.command("list")
@filter_option(IMAGE_TESTS)
@list_options
@click.pass_obj
def list_images(options: Global, filters: Filters, output: str, quiet: bool) -> None:
    """List the images that are here.

    Example: vmsandbox image list --filter "name=*busybox*" -o json
    """

    async def work(store: ImageStore) -> tuple[Image, ...]:
        return store.list()

    show_images(_with_store(options.config("warning"), work), filters, output, quiet=quiet)


@click.command()
@click.argument("names", nargs=-1, required=True)
@click.pass_obj
def remove(options: Global, names: tuple[str, ...]) -> None:
    """Remove images by name, digest or id. What runs goes on; an image that does not exist counts as removed."""

    async def work(store: ImageStore) -> None:
        for name in names:
            await store.remove(name)

    _with_store(options.config("warning"), work)


@click.command()
@click.argument("name")
@click.pass_obj
def inspect(options: Global, name: str) -> None:
    """Print what is known of an image, as JSON."""

    async def work(store: ImageStore) -> Image:
        return store.inspect(name)

    terminal.result_json(asdict(_with_store(options.config("warning"), work)))


def _with_store(config: Config, work: Any) -> Any:
    async def opened() -> Any:
        return await work(await open_images(config))

    return execution.run(opened())


def _report(update: terminal.Update) -> Report:
    def report(progress: PullProgress) -> None:
        update(progress.phase.value, progress.done, progress.total)

    return report


def _print_one(one: Image, output: str) -> None:
    if output == "json":
        terminal.result_json(image_entry(one))
    else:
        terminal.result(next(iter(one.repo_tags + one.repo_digests), one.id))


def _ask_password(username: str, password_stdin: bool) -> RegistryAuth | None:
    if not username:
        if password_stdin:
            execution.fail(InvalidArgument("--password-stdin needs --username"), 2)
        return None
    if password_stdin:
        return RegistryAuth(username, sys.stdin.readline().rstrip("\n"))
    return RegistryAuth(username, click.prompt("Password", hide_input=True, err=True))
