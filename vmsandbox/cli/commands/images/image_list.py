"""vmsandbox images: those of the daemon, or of this host's store."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

import click

from vmsandbox.cli.commands.daemon import ask_for_lists_if_served
from vmsandbox.cli.commands.entries import Entry, image_entry, short, split_name
from vmsandbox.cli.commands.filters import Filters, Test, begins, filter_option, passes
from vmsandbox.cli.commands.formats import Column, list_options, show
from vmsandbox.cli.commands.lists import Lister
from vmsandbox.cli.options import Global, size
from vmsandbox.model import Image

_UNNAMED = "<none>:<none>"


def _is_called(entry: Entry, value: str) -> bool:
    names = (*entry["repoTags"], *entry["repoDigests"])
    return any(fnmatchcase(name, value) or fnmatchcase(split_name(name)[0], value) for name in names)


IMAGE_TESTS: Mapping[str, Test] = {"name": _is_called, "id": begins("id")}

_COLUMNS = (
    Column("IMAGE", lambda entry: split_name(entry["shown"])[0]),
    Column("TAG", lambda entry: split_name(entry["shown"])[1]),
    Column("IMAGE ID", lambda entry: short(entry["id"])),
    Column("SIZE", lambda entry: size(entry["size"])),
    Column("DIGEST", lambda entry: next(iter(entry["repoDigests"]), "<none>").rpartition("@")[2], wide=True),
    Column("PINNED", lambda entry: "yes" if entry["pinned"] else "no", wide=True),
)


@click.command("list")
@filter_option(IMAGE_TESTS)
@list_options
@click.pass_obj
def list_images(options: Global, filters: Filters, output: str, quiet: bool) -> None:
    """List the images that are here.

    Also those of the daemon's delegate. Example: vmsandbox images --filter "name=*busybox*" -o json
    """

    async def work(client: Lister | None) -> tuple[Image, ...]:
        return await client.images.list() if client is not None else await _held(options)

    show_images(ask_for_lists_if_served(options, work), filters, output, quiet=quiet)


async def _held(options: Global) -> tuple[Image, ...]:
    from vmsandbox.node.images import open_images

    return (await open_images(options.config("warning"))).list()


def show_images(images: Sequence[Image], filters: Filters, output: str, *, quiet: bool) -> None:
    """Print images; a table has a line for each of their names, as crictl does."""
    entries = [entry for entry in map(image_entry, images) if passes(entry, filters, IMAGE_TESTS)]
    entries.sort(key=lambda entry: (entry["repoTags"], entry["id"]))
    if output in ("text", "wide", "name"):
        entries = [{**entry, "shown": name} for entry in entries for name in entry["repoTags"] or [_UNNAMED]]
        entries.sort(key=lambda entry: str(entry["shown"]))
    show(entries, _COLUMNS, _name, output, quiet=quiet)


def _name(entry: Entry) -> str:
    """Return the word by which other commands take an image; one without a tag is named by digest or id."""
    named = entry["shown"] if entry["shown"] != _UNNAMED else next(iter(entry["repoDigests"]), entry["id"])
    return str(named)
