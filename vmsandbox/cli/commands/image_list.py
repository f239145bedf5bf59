"""A list of images, of the daemon or of this host's store."""

from collections.abc import Mapping, Sequence
from fnmatch import fnmatchcase

from vmsandbox.cli.commands.entries import Entry, image_entry, short, split_name
from vmsandbox.cli.commands.filters import Filters, Test, begins, passes
from vmsandbox.cli.commands.formats import Column, show
from vmsandbox.cli.options import size
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
