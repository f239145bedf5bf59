"""vmsandbox system df, system prune, image prune: disk space, and what of it nobody needs."""

import asyncio
from dataclasses import asdict

import click

from vmsandbox.cli import execution, terminal
from vmsandbox.cli.commands.formats import Column, field, form_option, show
from vmsandbox.cli.options import Global, size
from vmsandbox.config import Config
from vmsandbox.model import Image
from vmsandbox.node.disk_space import disk_usage, guest_files, remove_guest_files, unused_images
from vmsandbox.node.images import open_images

_COLUMNS = (
    Column("TYPE", field("type")),
    Column("COUNT", field("count")),
    Column("ACTIVE", field("active")),
    Column("SIZE", lambda entry: size(entry["size"])),
    Column("RECLAIMABLE", lambda entry: size(entry["reclaimable"])),
)

_all = click.option("-a", "--all", "everything", is_flag=True, help="Also images that have a name.")
_force = click.option("-f", "--force", is_flag=True, help="Do not ask.")


@click.command()
@form_option(("text", "json", "yaml"))
@click.pass_obj
def df(options: Global, output: str) -> None:
    """Show what takes disk space, and what nobody needs.

    RECLAIMABLE is what `system prune --all` frees. Example: vmsandbox system df
    """
    config = options.config("warning")

    async def work() -> None:
        usages = await disk_usage(config, await open_images(config))
        entries = [{"type": usage.kind, **asdict(usage)} for usage in usages]
        for entry in entries:
            del entry["kind"]
        show(entries, _COLUMNS, lambda entry: str(entry["type"]), output, quiet=False)

    execution.run(work())


@click.command("prune")
@_all
@_force
@click.pass_obj
def prune(options: Global, everything: bool, force: bool) -> None:
    """Remove what nobody uses: images, older guest images.

    An image counts as used as long as a container of any pod on this host is made from it. Images with a name stay,
    except with --all; pinned ones always do. So do volumes.

    Example: vmsandbox system prune --all
    """
    config = options.config("warning")
    images = execution.run(_unused(config, everything))
    guest = guest_files(config)
    for image in images:
        terminal.note(f"image {_name(image)}, {size(image.size)}")
    for path in (*guest.old_images, *guest.old_bases):
        terminal.note(f"guest image {path}")
    if not (images or guest.old_images or guest.old_bases):
        terminal.note("there is nothing that nobody uses")
        return
    _ask(force)
    freed = execution.run(_remove(config, everything))
    freed += remove_guest_files(config).reclaimable if guest.old_images or guest.old_bases else 0
    terminal.result(f"freed {size(freed)}")


@click.command("prune")
@_all
@_force
@click.pass_obj
def prune_images(options: Global, everything: bool, force: bool) -> None:
    """Remove images that no pod uses.

    Those without a name, and with --all the others, too. Pinned images stay. Example: vmsandbox image prune --all
    """
    config = options.config("warning")
    images = execution.run(_unused(config, everything))
    for image in images:
        terminal.note(f"image {_name(image)}, {size(image.size)}")
    if not images:
        terminal.note("there is no image that no pod uses")
        return
    _ask(force)
    terminal.result(f"freed {size(execution.run(_remove(config, everything)))}")


def _ask(force: bool) -> None:
    """Ask whether to remove what was named. Ends the process unless the answer is yes."""
    if not force and not click.confirm("Remove all of this?", err=True):
        raise SystemExit(execution.FAILED)


async def _unused(config: Config, everything: bool) -> tuple[Image, ...]:
    return unused_images(config, await open_images(config), everything=everything)


async def _remove(config: Config, everything: bool) -> int:
    """Remove images that are unused now, after the answer; return the bytes that this frees."""
    store = await open_images(config)
    images = await asyncio.to_thread(unused_images, config, store, everything=everything)
    freed = sum(await asyncio.to_thread(store.freed_by, [image.id for image in images]))
    for image in images:
        await store.remove(image.id)
    return freed


def _name(image: Image) -> str:
    return next(iter(image.repo_tags + image.repo_digests), image.id)
